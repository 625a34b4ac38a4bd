using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Random general-purpose instructions, register and memory forms, against the host's processor.</summary>
public sealed unsafe class NativeComparisonTests
{
    private const int DataBytes = 256;
    private const ulong GuestData = TestMachine.DataAddress;

    private static readonly byte[] OneByte =
    [
        .. Enumerable.Range(0, 0x40).Where(b => (b & 7) < 6).Select(b => (byte)b),
        0x63, 0x69, 0x6B, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8D, 0x91, 0x93, 0x98, 0x99, 0x9E, 0x9F, 0xA8, 0xA9,
        0xB1, 0xB7, 0xB8, 0xBF, 0xC0, 0xC1, 0xC6, 0xC7, 0xD0, 0xD1, 0xD2, 0xD3, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFE, 0xFF,
    ];

    private static readonly byte[] TwoByte =
    [
        .. Enumerable.Range(0x40, 0x10).Select(b => (byte)b), .. Enumerable.Range(0x90, 0x10).Select(b => (byte)b),
        0xA3, 0xA4, 0xA5, 0xAB, 0xAC, 0xAD, 0xAF, 0xB0, 0xB1, 0xB3, 0xB6, 0xB7, 0xB8, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE, 0xBF, 0xC0, 0xC1, 0xC3, 0xC7,
        0xC8, 0xC9, 0xCB, 0xCE, 0xCF,
    ];

    private static readonly HashSet<Mnemonic> Excluded =
    [
        Mnemonic.Rdrand, Mnemonic.Rdseed, Mnemonic.Rdpid, Mnemonic.Push, Mnemonic.Pop, Mnemonic.Xsavec, Mnemonic.Xsaves, Mnemonic.Xrstors,
    ];

    private static readonly bool Amd = IsAmd();

    private readonly InstructionInfoFactory _info = new();

    [Test]
    public void RandomInstructions([Range(1, 4)] int seed)
    {
        if (!Bmi2.X64.IsSupported || !Lzcnt.IsSupported || !Sse42.IsSupported)
            Assert.Ignore("The processor lacks BMI2, LZCNT or SSE4.2.");
        using var guest = new SingleInstruction();
        using var native = new NativeInstruction();
        byte* data = (byte*)NativeMemory.AlignedAlloc(DataBytes, 64);
        var random = new Random(seed);
        var failures = new Dictionary<string, string>();
        var codes = new HashSet<Code>();
        try
        {
            for (int n = 0; n < 20000; n++)
            {
                byte[] bytes = Generate(random);
                if (!TryDecode(bytes, out var instruction))
                    continue;
                byte[] exact = bytes[..instruction.Length];
                guest.Encode(exact);
                native.Load(exact);
                for (int k = 0; k < 6; k++)
                {
                    codes.Add(instruction.Code);
                    string? difference = Compare(guest, native, data, random, instruction);
                    if (difference != null)
                        failures.TryAdd(instruction.Code.ToString(), $"{instruction} ({Convert.ToHexString(exact)}): {difference}");
                }
            }
        }
        finally
        {
            NativeMemory.AlignedFree(data);
        }
        Assert.That(codes, Has.Count.GreaterThan(350));
        Assert.That(failures.Values, Is.Empty);
    }

    private static string? Compare(SingleInstruction guest, NativeInstruction native, byte* data, Random random, in Instruction instruction)
    {
        CpuContext* c = guest.Context;
        NativeRegisters registers = default;
        for (int r = 0; r < 16; r++)
            registers.Gpr[r] = Interesting(random);
        for (int b = 0; b < DataBytes; b += 8)
            *(ulong*)(data + b) = Interesting(random);
        if (random.Next(3) == 0)
        {
            // So that CMPXCHG and its wider forms also succeed.
            *(ulong*)(data + 64) = registers.Gpr[0];
            *(ulong*)(data + 72) = registers.Gpr[2];
        }
        registers.Rflags = 0x202 | ((ulong)random.NextInt64() & Flags.Arithmetic);
        for (int r = 0; r < 16; r++)
            c->Gpr[r] = registers.Gpr[r];
        c->Gpr[14] = GuestData + 64;
        registers.Gpr[14] = (ulong)(data + 64);
        guest.Arithmetic = registers.Rflags;
        guest.Write(GuestData, new ReadOnlySpan<byte>(data, DataBytes));
        bool done = guest.Execute();
        if (!done)
        {
            // Where the processor faults too; the test cannot let it.
            bool expected = guest.Fault == Interpreter.Vector.De && instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv;
            expected |= guest.Fault == Interpreter.Vector.Gp && instruction.Mnemonic == Mnemonic.Cmpxchg16b;
            return expected ? null : $"fault {guest.Fault}";
        }
        ulong before = registers.Rflags;
        native.Execute(&registers);
        for (int r = 0; r < 14; r++)
        {
            if (r != 4 && c->Gpr[r] != registers.Gpr[r])
                return $"register {r} is {c->Gpr[r]:X}, should be {registers.Gpr[r]:X}";
        }
        ulong defined = Flags.Arithmetic & ~Undefined(instruction);
        if (((guest.Arithmetic ^ registers.Rflags) & defined) != 0)
            return $"flags are {guest.Arithmetic:X}, should be {registers.Rflags & Flags.Arithmetic:X}, were {before & Flags.Arithmetic:X}";
        byte[] after = IntegerProgram.Read(guest.Machine, GuestData, DataBytes);
        return after.AsSpan().SequenceEqual(new ReadOnlySpan<byte>(data, DataBytes)) ? null : "memory differs";
    }

    // The vendor's name in EBX, EDX, ECX of CPUID leaf 0: "AuthenticAMD".
    private static bool IsAmd() => X86Base.CpuId(0, 0) is (_, 0x68747541, 0x444D4163, 0x69746E65);

    // Flags that the manuals leave undefined. The interpreter does what AMD's processors do, so there all are compared.
    private static ulong Undefined(in Instruction instruction)
    {
        if (Amd)
            return 0;
        ulong flags = 0;
        RflagsBits undefined = instruction.RflagsUndefined;
        void Add(RflagsBits bit, ulong flag) => flags |= (undefined & bit) != 0 ? flag : 0;
        Add(RflagsBits.CF, Flags.Cf);
        Add(RflagsBits.OF, Flags.Of);
        Add(RflagsBits.AF, Flags.Af);
        Add(RflagsBits.ZF, Flags.Zf);
        Add(RflagsBits.SF, Flags.Sf);
        Add(RflagsBits.PF, Flags.Pf);
        return flags;
    }

    private bool TryDecode(byte[] bytes, out Instruction instruction)
    {
        var decoder = Iced.Intel.Decoder.Create(64, new ByteArrayCodeReader(bytes), DecoderOptions.AMD);
        decoder.Decode(out instruction);
        if (instruction.IsInvalid || instruction.FlowControl != FlowControl.Next || instruction.IsPrivileged || Excluded.Contains(instruction.Mnemonic))
            return false;
        foreach (var feature in instruction.CpuidFeatures)
        {
            if (feature is not (CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.X64
                or CpuidFeature.BMI1 or CpuidFeature.BMI2 or CpuidFeature.ADX or CpuidFeature.MOVBE or CpuidFeature.POPCNT or CpuidFeature.LZCNT
                or CpuidFeature.SSE4_2 or CpuidFeature.CMOV or CpuidFeature.CX8 or CpuidFeature.CMPXCHG16B or CpuidFeature.SSE2
                or CpuidFeature.INTEL8086_ONLY))
            {
                return false;
            }
        }
        bool memory = false;
        for (int n = 0; n < instruction.OpCount; n++)
        {
            if (instruction.GetOpKind(n) == OpKind.Memory)
                memory = true;
            else if (instruction.GetOpKind(n) is >= OpKind.MemorySegSI and < OpKind.Memory)
                return false;
            else if (instruction.GetOpKind(n) == OpKind.Register && !instruction.GetOpRegister(n).IsGPR())
                return false;
        }
        if (memory)
        {
            if (instruction.MemoryBase != Register.R14 || instruction.MemoryIndex != Register.None || instruction.SegmentPrefix >= Register.FS)
                return false;
            if (instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && instruction.Op1Kind == OpKind.Register)
                return false;
            if (instruction.Mnemonic == Mnemonic.Lea)
                return false;
        }
        foreach (var used in _info.GetInfo(instruction).GetUsedRegisters())
        {
            Register full = used.Register.GetFullRegister();
            if (full is Register.RSP or Register.R15 || (full == Register.R14 && (!memory || used.Access != OpAccess.Read)))
                return false;
        }
        for (int n = 0; n < instruction.OpCount; n++)
        {
            if (instruction.GetOpKind(n) == OpKind.Register && instruction.GetOpRegister(n).GetFullRegister() == Register.R14)
                return false;
        }
        return true;
    }

    private static byte[] Generate(Random random)
    {
        var bytes = new List<byte>(15);
        bool memory = random.Next(2) == 0;
        byte rex = (byte)(0x40 | random.Next(16));
        byte modRm = (byte)(0xC0 | random.Next(64));
        if (memory)
        {
            modRm = (byte)((modRm & 0x38) | 0x46);
            rex = (byte)((rex & ~2) | 1);
        }
        if (random.Next(5) == 0 && !memory)
            rex = 0;
        switch (random.Next(8))
        {
            case 0:
                // VEX, maps 2 and 3, BMI.
                bool third = random.Next(6) == 0;
                byte[] opcodes = third ? [0xF0] : [0xF2, 0xF3, 0xF5, 0xF6, 0xF7];
                bytes.AddRange([0xC4, (byte)((random.Next(2) << 7) | 0x40 | (memory ? 0 : random.Next(2) << 5) | (third ? 3 : 2)),
                    (byte)((random.Next(2) << 7) | (random.Next(16) << 3) | random.Next(4)), opcodes[random.Next(opcodes.Length)]]);
                break;
            case 1:
                if (random.Next(2) == 0)
                    bytes.Add(0x66);
                if (random.Next(2) == 0)
                    bytes.Add((byte)(0xF2 + random.Next(2)));
                AddRex(bytes, rex);
                bytes.AddRange([0x0F, 0x38, (byte)(random.Next(3) == 0 ? 0xF6 : 0xF0 + random.Next(2))]);
                break;
            case 2 or 3 or 4:
                AddPrefixes(bytes, random, memory);
                AddRex(bytes, rex);
                bytes.AddRange([0x0F, TwoByte[random.Next(TwoByte.Length)]]);
                break;
            default:
                AddPrefixes(bytes, random, memory);
                AddRex(bytes, rex);
                bytes.Add(OneByte[random.Next(OneByte.Length)]);
                break;
        }
        bytes.Add(modRm);
        // A displacement of a few bytes (16-byte aligned often, for CMPXCHG16B), then immediates.
        if (memory)
            bytes.Add((byte)(random.Next(3) == 0 ? random.Next(64) : 0));
        while (bytes.Count < 15)
            bytes.Add((byte)random.Next(256));
        return [.. bytes];
    }

    private static void AddPrefixes(List<byte> bytes, Random random, bool memory)
    {
        if (random.Next(4) == 0)
            bytes.Add(0x66);
        if (memory && random.Next(4) == 0)
            bytes.Add(0xF0);
        else if (random.Next(5) == 0)
            bytes.Add(0xF3);
    }

    private static void AddRex(List<byte> bytes, byte rex)
    {
        if (rex != 0)
            bytes.Add(rex);
    }

    private static ulong Interesting(Random random) => random.Next(6) switch
    {
        0 => (ulong)random.Next(-3, 4),
        1 => 1UL << random.Next(64),
        2 => (1UL << random.Next(64)) - 1,
        3 => (ulong)random.NextInt64() >> random.Next(63),
        4 => 0 - ((ulong)random.NextInt64() >> random.Next(63)),
        _ => (ulong)random.NextInt64() << random.Next(64) | (uint)random.Next(),
    };
}
