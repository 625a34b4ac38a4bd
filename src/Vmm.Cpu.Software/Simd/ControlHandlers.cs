using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>MXCSR, XCR0 and EMMS.</summary>
internal static unsafe class ControlHandlers
{
    /// <summary>LDMXCSR, VLDMXCSR: a reserved bit raises #GP(0).</summary>
    public static Op* LoadMxcsr(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!GuestAccess.TryRead(c, op, out uint value))
            return Flow.Fault(c, op);
        if ((value & ~VectorState.MxcsrMask) != 0)
            return Flow.Raise(c, op, Interpreter.Vector.Gp, 0);
        c->Mxcsr = value;
        return op + 1;
    }

    /// <summary>STMXCSR, VSTMXCSR.</summary>
    public static Op* StoreMxcsr(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return GuestAccess.TryWrite(c, op, c->Mxcsr) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>EMMS: all registers empty.</summary>
    public static Op* Emms(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        X87State.EnterMmx(c);
        X87State.Tags(c) = 0;
        return op + 1;
    }

    /// <summary>XGETBV: XCR0, or with ECX = 1 the components of it that are in use.</summary>
    public static Op* GetXcr(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Osxsave) == 0)
            return Flow.Raise(c, op, Interpreter.Vector.Ud);
        uint number = (uint)c->Gpr[1];
        if (number > 1)
            return Flow.Raise(c, op, Interpreter.Vector.Gp, 0);
        ulong value = number == 0 ? c->Xcr0 : c->Xcr0 & VectorState.InUse(c);
        c->Gpr[0] = (uint)value;
        c->Gpr[2] = value >> 32;
        return op + 1;
    }

    /// <summary>XSETBV (SDM vol. 1, 13.3): x87 always, AVX only with SSE.</summary>
    public static Op* SetXcr(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Osxsave) == 0)
            return Flow.Raise(c, op, Interpreter.Vector.Ud);
        ulong value = (uint)c->Gpr[0] | (c->Gpr[2] << 32);
        bool valid = (value & VectorState.X87) != 0 && (value & ~VectorState.SupportedXcr0) == 0
            && (value & (VectorState.Sse | VectorState.Avx)) != VectorState.Avx;
        if (c->Cpl != 0 || (uint)c->Gpr[1] != 0 || !valid)
            return Flow.Raise(c, op, Interpreter.Vector.Gp, 0);
        c->Xcr0 = value;
        Simd.SimdGate.Update(c);
        return op + 1;
    }
}
