using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// Which vector and x87 instructions CR0, CR4, XCR0 and the mode forbid now: one bit for each class in <see cref="CpuContext.SimdGate"/>, so that a handler
/// makes one test (SDM vol. 2A, 2.4 "exception types"; vol. 3, 2.5).
/// </summary>
internal static unsafe class SimdGate
{
    /// <summary>Legacy SSE on XMM registers.</summary>
    public const uint Sse = 1;

    /// <summary>VEX-encoded instructions.</summary>
    public const uint Avx = 2;

    /// <summary>x87.</summary>
    public const uint X87 = 4;

    /// <summary>MMX, and SSE on MMX registers.</summary>
    public const uint Mmx = 8;

    /// <summary>WAIT.</summary>
    public const uint Wait = 16;

    /// <summary>The XSAVE family.</summary>
    public const uint Xsave = 32;

    /// <summary>Recomputes <see cref="CpuContext.SimdGate"/>: after a change of CR0, CR4, XCR0, RFLAGS.VM.</summary>
    public static void Update(CpuContext* c)
    {
        bool ts = (c->Cr0 & Mode.Cr0Ts) != 0;
        bool em = (c->Cr0 & Mode.Cr0Em) != 0;
        bool xsave = (c->Cr4 & Mode.Cr4Osxsave) != 0;
        uint gate = 0;
        if (ts || em)
            gate |= Sse | X87 | Mmx;
        if ((c->Cr4 & Mode.Cr4Osfxsr) == 0)
            gate |= Sse;
        if (ts || !xsave || (c->Xcr0 & 6) != 6 || Mode.IsRealOrV86(c))
            gate |= Avx;
        if (ts && (c->Cr0 & Mode.Cr0Mp) != 0)
            gate |= Wait;
        if (ts || !xsave)
            gate |= Xsave;
        c->SimdGate = gate;
    }

    /// <summary>Raises what a closed gate raises: #UD before #NM. An op may have more than one class.</summary>
    public static Op* Fault(CpuContext* c, Op* op, uint gate)
    {
        bool em = (c->Cr0 & Mode.Cr0Em) != 0;
        bool xsave = (c->Cr4 & Mode.Cr4Osxsave) != 0;
        bool undefined = ((gate & Sse) != 0 && (em || (c->Cr4 & Mode.Cr4Osfxsr) == 0))
            || ((gate & Avx) != 0 && (!xsave || (c->Xcr0 & 6) != 6 || Mode.IsRealOrV86(c)))
            || ((gate & Mmx) != 0 && em)
            || ((gate & Xsave) != 0 && !xsave);
        return Flow.Raise(c, op, undefined ? Interpreter.Vector.Ud : Interpreter.Vector.Nm);
    }
}
