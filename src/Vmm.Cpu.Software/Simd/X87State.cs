using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Simd;

/// <summary>The x87 registers in <see cref="CpuContext.Fx"/>, an FXSAVE64 image (SDM vol. 1, 10.5.1): data registers in stack order, tags in physical order.</summary>
internal static unsafe class X87State
{
    /// <summary>FSW: error summary.</summary>
    public const ushort ErrorSummary = 0x80;

    /// <summary>FSW: busy, a copy of <see cref="ErrorSummary"/>.</summary>
    public const ushort Busy = 0x8000;

    /// <summary>The control word.</summary>
    public static ref ushort ControlWord(CpuContext* c) => ref *(ushort*)&c->Fx;

    /// <summary>The status word.</summary>
    public static ref ushort StatusWord(CpuContext* c) => ref *(ushort*)(&c->Fx.First + 2);

    /// <summary>The abridged tag word: a bit for each physical register, set when not empty.</summary>
    public static ref byte Tags(CpuContext* c) => ref *(&c->Fx.First + 4);

    /// <summary>Last opcode.</summary>
    public static ref ushort LastOpcode(CpuContext* c) => ref *(ushort*)(&c->Fx.First + 6);

    /// <summary>Address of the last instruction.</summary>
    public static ref ulong LastInstruction(CpuContext* c) => ref *(ulong*)(&c->Fx.First + 8);

    /// <summary>Address of the last memory operand.</summary>
    public static ref ulong LastData(CpuContext* c) => ref *(ulong*)(&c->Fx.First + 16);

    /// <summary>ST(<paramref name="i"/>), 80 bits in 16 bytes.</summary>
    public static byte* StackRegister(CpuContext* c, int i) => &c->Fx.First + 32 + (i * 16);

    /// <summary>TOP.</summary>
    public static int Top(CpuContext* c) => (StatusWord(c) >> 11) & 7;

    /// <summary>R<paramref name="n"/>, which MMX register MM<paramref name="n"/> is the low part of.</summary>
    public static byte* PhysicalRegister(CpuContext* c, int n) => StackRegister(c, (n - Top(c)) & 7);

    /// <summary>Whether an unmasked exception waits for the next waiting instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsExceptionPending(CpuContext* c) => (StatusWord(c) & ErrorSummary) != 0;

    /// <summary>What an MMX instruction does to the x87 state besides its work: TOP becomes 0, every tag valid (SDM vol. 1, 9.5.1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void EnterMmx(CpuContext* c)
    {
        if ((StatusWord(c) & 0x3800) != 0)
            SetTop(c, 0);
        Tags(c) = 0xFF;
    }

    /// <summary>Changes TOP with each physical register keeping its content.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void SetTop(CpuContext* c, int newTop)
    {
        int top = Top(c);
        UInt128* registers = (UInt128*)StackRegister(c, 0);
        UInt128* physical = stackalloc UInt128[8];
        for (int i = 0; i < 8; i++)
            physical[(i + top) & 7] = registers[i];
        for (int i = 0; i < 8; i++)
            registers[i] = physical[(i + newTop) & 7];
        StatusWord(c) = (ushort)((StatusWord(c) & 0xC7FF) | (newTop << 11));
    }

    /// <summary>The tag word with two bits a register: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1, 8.1.7).</summary>
    public static ushort GetFullTags(CpuContext* c)
    {
        int result = 0;
        for (int n = 0; n < 8; n++)
            result |= ((Tags(c) >> n) & 1) == 0 ? 3 << (n * 2) : Classify(PhysicalRegister(c, n)) << (n * 2);
        return (ushort)result;
    }

    /// <summary>Takes a tag word of two bits a register; only empty or not counts.</summary>
    public static void SetFullTags(CpuContext* c, ushort tags)
    {
        int abridged = 0;
        for (int n = 0; n < 8; n++)
            abridged |= ((tags >> (n * 2)) & 3) == 3 ? 0 : 1 << n;
        Tags(c) = (byte)abridged;
    }

    private static int Classify(byte* register)
    {
        ulong significand = *(ulong*)register;
        int exponent = *(ushort*)(register + 8) & 0x7FFF;
        if (exponent == 0)
            return significand == 0 ? 1 : 2;
        return exponent == 0x7FFF || (long)significand >= 0 ? 2 : 0;
    }

    /// <summary>
    /// Lets the processor make a loaded image consistent: ES and B follow from the flags and masks. Processors without a pending exception may forget the
    /// pointers (AMD APM vol. 2, FXSAVE), so these are kept here.
    /// </summary>
    public static void Normalize(CpuContext* c)
    {
        ushort opcode = LastOpcode(c);
        ulong instruction = LastInstruction(c);
        ulong data = LastData(c);
        ((delegate* unmanaged[SuppressGCTransition]<CpuContext*, void>)SoftwareCpu.From(c).Stubs.GetX87Normalizer())(c);
        LastOpcode(c) = opcode;
        LastInstruction(c) = instruction;
        LastData(c) = data;
    }
}
