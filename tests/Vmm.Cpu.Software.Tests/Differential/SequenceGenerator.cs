using Iced.Intel;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>An instruction of a sequence, and which flags are undefined before it.</summary>
internal readonly record struct GeneratedInstruction(Instruction Instruction, RflagsBits UndefinedBefore);

/// <summary>A sequence of random instructions with the roles that its registers must play.</summary>
internal sealed class Sequence
{
    /// <summary>The bytes; execution starts at <see cref="EntryOffset"/> and ends at one of three UD2: two before the entry (branch targets), one behind the end.</summary>
    public required byte[] Bytes { get; init; }

    public required List<GeneratedInstruction> Instructions { get; init; }

    /// <summary>Registers that hold addresses of the data window.</summary>
    public required Register[] Pointers { get; init; }

    /// <summary>The register that holds a small index.</summary>
    public required Register Index { get; init; }

    /// <summary>Whether pointers and displacements are kept aligned to 32 bytes.</summary>
    public required bool Aligned { get; init; }

    /// <summary>Flags undefined at the end.</summary>
    public required RflagsBits UndefinedAtEnd { get; init; }

    public const int EntryOffset = 4;
}

/// <summary>Makes sequences from a pool of codes. Deterministic for a seed.</summary>
internal sealed class SequenceGenerator(Random random, Code[] pool, int bits)
{
    private const ulong Window = UserModeHarness.DataAddress;
    private const RflagsBits ArithmeticFlags = RflagsBits.CF | RflagsBits.PF | RflagsBits.AF | RflagsBits.ZF | RflagsBits.SF | RflagsBits.OF;
    private static readonly Register[] PointerCandidates =
        [Register.RBX, Register.RBP, Register.R8, Register.R9, Register.R10, Register.R11, Register.R12, Register.R13, Register.R14, Register.R15];

    private int Registers => bits == 64 ? 16 : 8;

    private readonly InstructionInfoFactory _infos = new();
    private Register[] _pointers = [];
    private Register _index;
    private bool _aligned;
    private ulong _start;

    /// <summary>The vector register that holds small numbers, for gathers.</summary>
    public int SmallVector => Registers - 1;

    public Sequence Next(ulong address, int maximum)
    {
        ChooseRoles();
        (_aligned, _start) = (random.Next(10) < 6, address);
        var bytes = new List<byte> { 0x0F, 0x0B, 0x0F, 0x0B };
        var list = new List<GeneratedInstruction>();
        var undefined = RflagsBits.None;
        var written = new HashSet<Register>();
        int count = 1 + random.Next(maximum);
        for (int tries = 0; list.Count < count && tries < count * 20; tries++)
        {
            Code code = pool[random.Next(pool.Length)];
            ulong rip = address + (ulong)bytes.Count;
            if (!TryMake(code, rip, out Instruction instruction, out byte[] encoded) || !IsUsable(instruction, undefined, written))
                continue;
            bool loadedSelectors = list.Exists(g => g.Instruction.Mnemonic is Mnemonic.Fldenv or Mnemonic.Frstor);
            if (loadedSelectors && instruction.Mnemonic is (Mnemonic.Fnstenv or Mnemonic.Fnsave))
                continue;
            list.Add(new GeneratedInstruction(instruction, undefined));
            bytes.AddRange(encoded);
            undefined &= ~(instruction.RflagsWritten | instruction.RflagsCleared | instruction.RflagsSet) | Conditional(instruction);
            undefined |= instruction.RflagsUndefined & ArithmeticFlags;
            // What it stored differs in the selectors, so nothing may read it.
            if (instruction.Mnemonic is Mnemonic.Fnstenv or Mnemonic.Fnsave)
                break;
        }
        bytes.AddRange([0x0F, 0x0B]);
        return new Sequence
        {
            Bytes = [.. bytes],
            Instructions = list,
            Pointers = _pointers,
            Index = _index,
            Aligned = _aligned,
            UndefinedAtEnd = undefined,
        };
    }

    private void ChooseRoles()
    {
        if (bits == 32)
        {
            (_pointers, _index) = ([Register.RBX, Register.RBP], random.Next(2) == 0 ? Register.RSI : Register.RDI);
            return;
        }
        Register[] shuffled = [.. PointerCandidates.OrderBy(_ => random.Next())];
        (_pointers, _index) = (shuffled[..2], shuffled[2]);
    }

    // Instructions that may leave the flags alone do not make undefined flags defined.
    private static RflagsBits Conditional(in Instruction i) => i.Mnemonic switch
    {
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr or Mnemonic.Shld
            or Mnemonic.Shrd => ArithmeticFlags,
        _ => i.HasRepPrefix || i.HasRepnePrefix || !i.Code.ToOpCode().IsInstruction ? ArithmeticFlags : RflagsBits.None,
    };

    private bool IsUsable(in Instruction i, RflagsBits undefined, HashSet<Register> written)
    {
        if ((i.RflagsRead & undefined) != 0)
            return false;
        bool stack = i.Mnemonic is Mnemonic.Push or Mnemonic.Pop or Mnemonic.Call or Mnemonic.Ret or Mnemonic.Enter or Mnemonic.Leave or Mnemonic.Pushfq
            or Mnemonic.Pushf;
        bool usesString = false;
        for (int n = 0; n < i.OpCount; n++)
            usesString |= i.GetOpKind(n) is OpKind.MemorySegRSI or OpKind.MemoryESRDI or OpKind.MemorySegRDI or OpKind.MemorySegESI or OpKind.MemoryESEDI
                or OpKind.MemorySegEDI;
        if (usesString && (written.Contains(Register.RSI) || written.Contains(Register.RDI) || written.Contains(Register.RCX)))
            return false;
        var writes = new List<Register>();
        foreach (UsedRegister used in _infos.GetInfo(i).GetUsedRegisters())
        {
            if (used.Access is OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess or OpAccess.None)
                continue;
            Register full = used.Register.GetFullRegister();
            if (full == _index || Array.IndexOf(_pointers, full) >= 0 || full == Register.ZMM0 + SmallVector || (full == Register.RSP && !stack))
                return false;
            writes.Add(full);
        }
        written.UnionWith(writes);
        return true;
    }

    private bool TryMake(Code code, ulong rip, out Instruction instruction, out byte[] bytes)
    {
        instruction = default;
        bytes = [];
        Instruction i = default;
        i.Code = code;
        OpCodeInfo o = code.ToOpCode();
        for (int n = 0; n < o.OpCount; n++)
        {
            if (!TryOperand(ref i, n, o.GetOpKind(n), o))
                return false;
        }
        if (o.CanUseLockPrefix && i.Op0Kind == OpKind.Memory && random.Next(3) == 0)
            i.HasLockPrefix = true;
        if (i.IsStringInstruction && random.Next(2) == 0)
        {
            if (random.Next(2) == 0 || !o.CanUseRepnePrefix)
                i.HasRepPrefix = o.CanUseRepPrefix;
            else
                i.HasRepnePrefix = true;
        }
        var writer = new ByteWriter();
        if (!Encoder.Create(bits, writer).TryEncode(i, rip, out _, out _))
            return false;
        bytes = writer.ToArray();
        var decoder = Iced.Intel.Decoder.Create(bits, new ByteArrayCodeReader(bytes), rip);
        decoder.Decode(out instruction);
        return instruction.Code == code && instruction.Length == bytes.Length && !IsVendorSpecific(instruction);
    }

    // Undefined results; and vendors differ: SHA with a misaligned operand faults on Intel only; CVTPI2PS from memory enters the MMX state on Intel only.
    private bool IsVendorSpecific(in Instruction i)
    {
        // With a count above 16, SHLD and SHRD of 16 bits give an undefined result (SDM vol. 2).
        if (i.Code is Code.Shld_rm16_r16_CL or Code.Shrd_rm16_r16_CL || (i.Code is Code.Shld_rm16_r16_imm8 or Code.Shrd_rm16_r16_imm8 && (i.Immediate8 & 31) > 16))
            return true;
        if (i.Op1Kind != OpKind.Memory)
            return false;
        bool sha = Array.IndexOf(i.Code.CpuidFeatures(), CpuidFeature.SHA) >= 0;
        return i.Mnemonic == Mnemonic.Cvtpi2ps || (sha && (!_aligned || Array.IndexOf(_pointers, i.MemoryBase.GetFullRegister()) < 0));
    }

    private bool TryOperand(ref Instruction i, int n, OpCodeOperandKind kind, OpCodeInfo o)
    {
        switch (kind)
        {
            case OpCodeOperandKind.mem or OpCodeOperandKind.mem_mib or OpCodeOperandKind.sibmem:
                Memory(ref i, n, o);
                return true;
            case OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r64_or_mem
                or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.ymm_or_mem
                or OpCodeOperandKind.r32_or_mem_mpx or OpCodeOperandKind.r64_or_mem_mpx:
                if (random.Next(2) == 0)
                    Memory(ref i, n, o);
                else
                    SetRegister(ref i, n, RegisterFor(kind));
                return true;
            case OpCodeOperandKind.mem_vsib32x or OpCodeOperandKind.mem_vsib64x:
                Memory(ref i, n, o);
                i.MemoryIndex = Register.XMM0 + (random.Next(8) == 0 ? random.Next(Registers) : SmallVector);
                return i.MemoryBase is >= Register.EAX and <= Register.R15;
            case OpCodeOperandKind.mem_vsib32y or OpCodeOperandKind.mem_vsib64y:
                Memory(ref i, n, o);
                i.MemoryIndex = Register.YMM0 + (random.Next(8) == 0 ? random.Next(Registers) : SmallVector);
                return i.MemoryBase is >= Register.EAX and <= Register.R15;
            case OpCodeOperandKind.mem_offs:
                i.SetOpKind(n, OpKind.Memory);
                i.MemoryDisplSize = bits / 8;
                i.MemoryDisplacement64 = Window + 0x1000 + (ulong)random.Next(0x1F00);
                return true;
            case OpCodeOperandKind.imm8 or OpCodeOperandKind.imm4_m2z:
                return Immediate(ref i, n, OpKind.Immediate8, (byte)random.Next(256));
            case OpCodeOperandKind.imm8_const_1:
                return Immediate(ref i, n, OpKind.Immediate8, 1);
            case OpCodeOperandKind.imm8sex16:
                return Immediate(ref i, n, OpKind.Immediate8to16, (ulong)(sbyte)random.Next(256));
            case OpCodeOperandKind.imm8sex32:
                return Immediate(ref i, n, OpKind.Immediate8to32, (ulong)(sbyte)random.Next(256));
            case OpCodeOperandKind.imm8sex64:
                return Immediate(ref i, n, OpKind.Immediate8to64, (ulong)(sbyte)random.Next(256));
            case OpCodeOperandKind.imm16:
                return Immediate(ref i, n, OpKind.Immediate16, (ushort)random.Next(65536));
            case OpCodeOperandKind.imm32:
                return Immediate(ref i, n, OpKind.Immediate32, (uint)random.NextInt64());
            case OpCodeOperandKind.imm32sex64:
                return Immediate(ref i, n, OpKind.Immediate32to64, (ulong)(int)random.NextInt64());
            case OpCodeOperandKind.imm64:
                return Immediate(ref i, n, OpKind.Immediate64, (ulong)random.NextInt64(long.MinValue, long.MaxValue));
            case OpCodeOperandKind.br64_1 or OpCodeOperandKind.br64_4:
                i.SetOpKind(n, OpKind.NearBranch64);
                i.NearBranch64 = _start + (ulong)(random.Next(2) * 2);
                return true;
            case OpCodeOperandKind.br32_1 or OpCodeOperandKind.br32_4:
                i.SetOpKind(n, OpKind.NearBranch32);
                i.NearBranch32 = (uint)(_start + (ulong)(random.Next(2) * 2));
                return true;
            case OpCodeOperandKind.seg_rSI:
                i.SetOpKind(n, bits == 64 ? OpKind.MemorySegRSI : OpKind.MemorySegESI);
                return true;
            case OpCodeOperandKind.es_rDI:
                i.SetOpKind(n, bits == 64 ? OpKind.MemoryESRDI : OpKind.MemoryESEDI);
                return true;
            case OpCodeOperandKind.seg_rDI:
                i.SetOpKind(n, bits == 64 ? OpKind.MemorySegRDI : OpKind.MemorySegEDI);
                return true;
            case OpCodeOperandKind.seg_rBX_al:
                i.SetOpKind(n, OpKind.Memory);
                (i.MemoryBase, i.MemoryIndex, i.MemoryIndexScale) = (bits == 64 ? Register.RBX : Register.EBX, Register.AL, 1);
                return true;
            default:
                Register r = RegisterFor(kind);
                if (r == Register.None)
                    return false;
                SetRegister(ref i, n, r);
                return true;
        }
    }

    private Register RegisterFor(OpCodeOperandKind kind) => kind switch
    {
        OpCodeOperandKind.r8_or_mem or OpCodeOperandKind.r8_reg or OpCodeOperandKind.r8_opcode => Byte(),
        OpCodeOperandKind.r16_or_mem or OpCodeOperandKind.r16_reg or OpCodeOperandKind.r16_rm or OpCodeOperandKind.r16_opcode => Register.AX + random.Next(Registers),
        OpCodeOperandKind.r32_or_mem or OpCodeOperandKind.r32_reg or OpCodeOperandKind.r32_rm or OpCodeOperandKind.r32_opcode or OpCodeOperandKind.r32_vvvv
            => Register.EAX + random.Next(Registers),
        OpCodeOperandKind.r64_or_mem or OpCodeOperandKind.r64_reg or OpCodeOperandKind.r64_rm or OpCodeOperandKind.r64_opcode or OpCodeOperandKind.r64_vvvv
            => Register.RAX + random.Next(Registers),
        OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_rm => Register.MM0 + random.Next(8),
        OpCodeOperandKind.xmm_or_mem or OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_vvvv or OpCodeOperandKind.xmm_is4
            => Register.XMM0 + random.Next(Registers),
        OpCodeOperandKind.ymm_or_mem or OpCodeOperandKind.ymm_reg or OpCodeOperandKind.ymm_rm or OpCodeOperandKind.ymm_vvvv or OpCodeOperandKind.ymm_is4
            => Register.YMM0 + random.Next(Registers),
        OpCodeOperandKind.sti_opcode => Register.ST0 + random.Next(8),
        OpCodeOperandKind.st0 => Register.ST0,
        OpCodeOperandKind.al => Register.AL,
        OpCodeOperandKind.cl => Register.CL,
        OpCodeOperandKind.ax => Register.AX,
        OpCodeOperandKind.dx => Register.DX,
        OpCodeOperandKind.eax => Register.EAX,
        OpCodeOperandKind.rax => Register.RAX,
        _ => Register.None,
    };

    private Register Byte() => bits == 32 ? Register.AL + random.Next(8) : random.Next(5) == 0 ? Register.AH + random.Next(4) : random.Next(2) == 0 ? Register.AL + random.Next(4) : Register.SPL + random.Next(12);

    private void Memory(ref Instruction i, int n, OpCodeInfo o)
    {
        i.SetOpKind(n, OpKind.Memory);
        i.MemoryIndexScale = 1;
        int displacement = random.Next(16) == 0 ? random.Next(-0x1800, 0x1800) : random.Next(-128, 128);
        if (_aligned)
            displacement &= ~31;
        int form = random.Next(100);
        if (form < 8 && bits == 64)
        {
            // RIP-relative.
            i.MemoryBase = Register.RIP;
            i.MemoryDisplSize = 8;
            i.MemoryDisplacement64 = Window + 0x1800 + (ulong)displacement;
            return;
        }
        if (form < 14)
        {
            // Absolute.
            i.MemoryDisplSize = bits / 8;
            i.MemoryDisplacement64 = Window + 0x1800 + (ulong)displacement;
            return;
        }
        Register pointer = form < 17 ? Register.RAX + random.Next(Registers) : _pointers[random.Next(2)];
        bool address32 = bits == 32 || form is >= 17 and < 25;
        i.MemoryBase = address32 ? Register.EAX + (pointer - Register.RAX) : pointer;
        if (random.Next(3) == 0)
        {
            i.MemoryIndex = address32 ? Register.EAX + (_index - Register.RAX) : _index;
            i.MemoryIndexScale = 1 << random.Next(4);
        }
        i.MemoryDisplacement64 = address32 ? (uint)displacement : (ulong)displacement;
        i.MemoryDisplSize = displacement == 0 ? 0 : displacement is >= -128 and < 128 ? 1 : address32 ? 4 : 8;
    }

    private static void SetRegister(ref Instruction i, int n, Register r)
    {
        i.SetOpKind(n, OpKind.Register);
        i.SetOpRegister(n, r);
    }

    private static bool Immediate(ref Instruction i, int n, OpKind kind, ulong value)
    {
        // A second immediate (ENTER, EXTRQ) has a kind of its own.
        if (kind == OpKind.Immediate8 && n > 0 && i.GetOpKind(n - 1) is OpKind.Immediate8 or OpKind.Immediate16)
            kind = OpKind.Immediate8_2nd;
        i.SetOpKind(n, kind);
        i.SetImmediate(n, value);
        return true;
    }

    private sealed class ByteWriter : CodeWriter
    {
        private readonly List<byte> _bytes = [];

        public override void WriteByte(byte value) => _bytes.Add(value);

        public byte[] ToArray() => [.. _bytes];
    }
}
