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
            SetTopZero(c);
        Tags(c) = 0xFF;
    }

    /// <summary>Makes TOP 0 with each physical register keeping its content.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void SetTopZero(CpuContext* c)
    {
        int top = Top(c);
        UInt128* registers = (UInt128*)StackRegister(c, 0);
        UInt128* copy = stackalloc UInt128[8];
        for (int i = 0; i < 8; i++)
            copy[(i + top) & 7] = registers[i];
        for (int i = 0; i < 8; i++)
            registers[i] = copy[i];
        StatusWord(c) &= 0xC7FF;
    }

    /// <summary>Lets the processor make a loaded image consistent: ES and B follow from the flags and masks.</summary>
    public static void Normalize(CpuContext* c)
        => ((delegate* unmanaged[SuppressGCTransition]<CpuContext*, void>)SoftwareCpu.From(c).Stubs.GetX87Normalizer())(c);
}
