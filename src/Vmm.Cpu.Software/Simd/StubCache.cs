using System.Runtime.InteropServices;
using Iced.Intel;
using Vmm.Cpu.Software.State;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// The host stubs of one machine, shared by its vCPUs. A stub loads the operands of one vector or x87 instruction, runs it on the host's processor and
/// stores the results. Operands are renamed to fixed registers and memory to [RSI], so a stub depends only on the instruction code, its immediate and which
/// operand is in memory: their number is bounded whatever the guest executes.
/// </summary>
internal sealed unsafe class StubCache : IDisposable
{
    private const int ChunkSize = 128 * 1024;
    private const int MaximumStub = 160;

    private static readonly int VectorsOffset = (int)Marshal.OffsetOf<CpuContext>(nameof(CpuContext.Vectors));
    private static readonly int MxcsrOffset = (int)Marshal.OffsetOf<CpuContext>(nameof(CpuContext.Mxcsr));
    private static readonly int FxOffset = (int)Marshal.OffsetOf<CpuContext>(nameof(CpuContext.Fx));

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, nint> _stubs = [];
    private readonly VectorForm?[] _forms = new VectorForm?[Enum.GetValues<Code>().Length];
    private readonly bool[] _known = new bool[Enum.GetValues<Code>().Length];
    private readonly List<CodeMemory> _chunks = [];
    private int _free;

    /// <summary>Makes an empty cache.</summary>
    /// <exception cref="VmmSystemException">The host gives no memory for code.</exception>
    public StubCache() => AddChunk();

    /// <summary>How many stubs there are.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _stubs.Count;
        }
    }

    /// <summary>What is known of a code, or null when it is not for a stub.</summary>
    public VectorForm? FindForm(Code code)
    {
        lock (_lock)
        {
            if (!_known[(int)code])
            {
                _forms[(int)code] = VectorForm.TryCreate(code);
                _known[(int)code] = true;
            }
            return _forms[(int)code];
        }
    }

    /// <summary>The stub of a vector instruction; made when there is none. 0 when the instruction cannot be encoded.</summary>
    public nint GetVector(in Instruction instruction, VectorForm form)
    {
        ulong key = Key(instruction);
        lock (_lock)
        {
            if (!_stubs.TryGetValue(key, out nint stub))
            {
                stub = EmitVector(instruction, form);
                _stubs.Add(key, stub);
            }
            return stub;
        }
    }

    /// <summary>The stub of an x87 instruction on the image in the context.</summary>
    public nint GetX87(in Instruction instruction)
    {
        ulong key = Key(instruction);
        if (instruction.Op0Kind == OpKind.Register)
            key |= (ulong)(instruction.Op0Register - Register.ST0) << 40;
        if (instruction.OpCount > 1)
            key |= (ulong)(instruction.Op1Register - Register.ST0) << 44;
        lock (_lock)
        {
            if (!_stubs.TryGetValue(key, out nint stub))
            {
                stub = EmitX87(instruction);
                _stubs.Add(key, stub);
            }
            return stub;
        }
    }

    /// <summary>A stub that loads the x87 image and stores it again, so that the processor makes it consistent (FSW.ES and B).</summary>
    public nint GetX87Normalizer()
    {
        lock (_lock)
        {
            if (!_stubs.TryGetValue(0, out nint stub))
            {
                StubEmitter e = new(stackalloc byte[MaximumStub]);
                e.FxImage(FxOffset, store: false);
                e.FxImage(FxOffset, store: true);
                e.Bytes([0xDB, 0xE3]);
                e.Return();
                stub = Place(e.Code);
                _stubs.Add(0, stub);
            }
            return stub;
        }
    }

    /// <summary>Unmaps the stubs. No block that refers to one may run any more.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            foreach (CodeMemory chunk in _chunks)
                chunk.Dispose();
            _chunks.Clear();
            _stubs.Clear();
        }
    }

    /// <summary>Whether an x87 instruction reads or writes the arithmetic flags: its stub takes them in RSI and gives them in RAX.</summary>
    public static bool UsesFlags(in Instruction instruction)
        => ((instruction.RflagsRead | instruction.RflagsModified) & (RflagsBits.CF | RflagsBits.ZF | RflagsBits.PF)) != 0;

    private static ulong Key(in Instruction i)
    {
        ulong key = (ulong)i.Code | (1UL << 63);
        for (int n = 0; n < i.OpCount; n++)
        {
            OpKind kind = i.GetOpKind(n);
            if (kind == OpKind.Memory)
                key |= 1UL << (16 + n);
            else if (kind == OpKind.Immediate8)
                key |= (ulong)i.Immediate8 << 24;
        }
        return key;
    }

    private nint EmitVector(in Instruction original, VectorForm form)
    {
        InstructionInfo info = new InstructionInfoFactory().GetInfo(original, InstructionInfoOptions.NoMemoryUsage | InstructionInfoOptions.NoRegisterUsage);
        Instruction renamed = Normalize(original);
        StubEmitter e = new(stackalloc byte[MaximumStub]);
        for (int n = 0; n < original.OpCount; n++)
        {
            if (original.GetOpKind(n) != OpKind.Register)
                continue;
            Register r = original.GetOpRegister(n);
            renamed.SetOpRegister(n, Rename(r, n));
            Load(ref e, r, n, form);
        }
        if (form.ImplicitXmm0)
            e.MoveVector0(VectorsOffset, ymm: false, store: false);
        if (form.ExplicitLength)
        {
            e.MoveContext(0, 0, store: false);
            e.MoveContext(2, 16, store: false);
        }
        if (form.Mxcsr)
            e.Mxcsr(MxcsrOffset, store: false);
        if (!TryEncode(ref e, renamed))
            return 0;
        if (form.WritesFlags)
            e.FlagsToRax();
        for (int n = 0; n < original.OpCount; n++)
        {
            bool writes = info.GetOpAccess(n) is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
            if (writes && original.GetOpKind(n) == OpKind.Register)
                Store(ref e, original.GetOpRegister(n), n, form);
        }
        EmitStringResult(ref e, form);
        EmitEnd(ref e, form);
        return Place(e.Code);
    }

    private static void EmitStringResult(ref StubEmitter e, VectorForm form)
    {
        if (form.MaskResult)
            e.MoveVector0(VectorsOffset, form.Vex, store: true);
        else if (form.StringCompare)
            e.MoveContext(1, 8, store: true);
    }

    private static void EmitEnd(ref StubEmitter e, VectorForm form)
    {
        if (form.Mxcsr)
        {
            e.Mxcsr(MxcsrOffset, store: true);
            e.Mxcsr(FxOffset + 24, store: false);
            if (!form.WritesFlags)
                e.ZeroRax();
        }
        else if (form.Mmx)
        {
            e.ZeroRax();
        }
        if (form.Mmx)
            e.Emms();
        if (form.Vex)
            e.ZeroUpper();
        e.Return();
    }

    private static void Load(ref StubEmitter e, Register r, int n, VectorForm form)
    {
        if (r.IsMM())
            e.MoveMmx(n + 1, n, store: false);
        else if (r.IsVectorRegister())
            e.MoveVector(n + 1, n, form.Vex, store: false);
        else
            e.MoveRax(n, store: false);
    }

    private static void Store(ref StubEmitter e, Register r, int n, VectorForm form)
    {
        if (r.IsMM())
            e.MoveMmx(n + 1, n, store: true);
        else if (r.IsVectorRegister())
            e.MoveVector(n + 1, n, form.Vex, store: true);
        else
            e.MoveRax(n, store: true);
    }

    private static Register Rename(Register r, int n)
    {
        if (r.IsMM())
            return Register.MM1 + n;
        if (r.IsXMM())
            return Register.XMM1 + n;
        if (r.IsYMM())
            return Register.YMM1 + n;
        return r.IsGPR64() ? Register.RAX : Register.EAX;
    }

    private static Instruction Normalize(in Instruction original)
    {
        Instruction i = original;
        i.SegmentPrefix = Register.None;
        i.HasRepPrefix = false;
        i.HasRepnePrefix = false;
        i.HasLockPrefix = false;
        i.HasXacquirePrefix = false;
        i.HasXreleasePrefix = false;
        i.MemoryBase = Register.None;
        i.MemoryIndex = Register.None;
        i.MemoryIndexScale = 1;
        i.MemoryDisplacement64 = 0;
        i.MemoryDisplSize = 0;
        for (int n = 0; n < i.OpCount; n++)
        {
            if (i.GetOpKind(n) == OpKind.Memory)
                i.MemoryBase = Register.RSI;
        }
        return i;
    }

    private nint EmitX87(in Instruction original)
    {
        bool flags = UsesFlags(original);
        StubEmitter e = new(stackalloc byte[MaximumStub]);
        e.FxImage(FxOffset, store: false);
        if (flags)
            e.Bytes([0x56, 0x9D]);
        if (!TryEncode(ref e, Normalize(original)))
            return 0;
        if (flags)
            e.FlagsToRax();
        e.FxImage(FxOffset, store: true);
        e.Bytes([0xDB, 0xE3]);
        e.Return();
        return Place(e.Code);
    }

    private static bool TryEncode(ref StubEmitter e, in Instruction instruction)
    {
        BufferWriter writer = new();
        if (!Iced.Intel.Encoder.Create(64, writer).TryEncode(instruction, 0, out _, out _))
            return false;
        e.Bytes(writer.Bytes);
        return true;
    }

    private nint Place(ReadOnlySpan<byte> code)
    {
        if (_free + code.Length > ChunkSize)
            AddChunk();
        CodeMemory chunk = _chunks[^1];
        code.CopyTo(new Span<byte>((byte*)chunk.Writable + _free, code.Length));
        nint address = chunk.Executable + _free;
        _free = (_free + code.Length + 15) & ~15;
        return address;
    }

    // Each chunk begins with the exit of stubs whose instruction raised a SIMD floating-point exception: RDI is still the context.
    private void AddChunk()
    {
        CodeMemory chunk = new(ChunkSize);
        StubEmitter e = new(new Span<byte>((byte*)chunk.Writable, ChunkSize));
        e.Mxcsr(MxcsrOffset, store: true);
        e.Mxcsr(FxOffset + 24, store: false);
        e.Emms();
        if (HostFeatures.Avx)
            e.ZeroUpper();
        e.Bytes([0x48, 0xC7, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF]);
        e.Return();
        _free = (e.Code.Length + 15) & ~15;
        chunk.RegisterFaultExit(0);
        _chunks.Add(chunk);
    }

    private sealed class BufferWriter : CodeWriter
    {
        private readonly byte[] _bytes = new byte[16];
        private int _count;

        public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _count);

        public override void WriteByte(byte value) => _bytes[_count++] = value;
    }
}
