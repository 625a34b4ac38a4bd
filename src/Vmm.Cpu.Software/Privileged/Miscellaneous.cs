using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>CPUID, HLT, PAUSE, MONITOR, MWAIT, cache control, BOUND, and what is undefined on purpose.</summary>
internal static unsafe class Miscellaneous
{
    /// <summary>An instruction without effect.</summary>
    public static Op* Nothing(CpuContext* c, Op* op) => op + 1;

    /// <summary>UD0, UD1, UD2, RSM outside SMM, hypercalls without a hypervisor.</summary>
    public static Op* Undefined(CpuContext* c, Op* op) => Flow.Raise(c, op, Vector.Ud);

    /// <summary>CPUID.</summary>
    public static Op* CpuId(CpuContext* c, Op* op)
    {
        var leaf = Cpuid.Query(c, (uint)c->Gpr[0], (uint)c->Gpr[1]);
        c->Gpr[0] = leaf.Eax;
        c->Gpr[3] = leaf.Ebx;
        c->Gpr[1] = leaf.Ecx;
        c->Gpr[2] = leaf.Edx;
        return op + 1;
    }

    /// <summary>HLT.</summary>
    public static Op* Hlt(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->MpState = (int)MpState.Halted;
        return Flow.Leave(c, op);
    }

    /// <summary>WBINVD, WBNOINVD, INVD: memory is coherent, so only the privilege counts.</summary>
    public static Op* Wbinvd(CpuContext* c, Op* op) => c->Cpl != 0 ? Flow.Raise(c, op, Vector.Gp, 0) : op + 1;

    /// <summary>CLFLUSH, CLFLUSHOPT, CLWB: faults as a byte read would.</summary>
    public static Op* Clflush(CpuContext* c, Op* op)
        => GuestAccess.TryRead(c, op, out byte _) ? op + 1 : Flow.Fault(c, op);

    /// <summary>MONITOR: ECX must be 0 (no extensions), the address readable.</summary>
    public static Op* Monitor(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Ud);
        if ((uint)c->Gpr[1] != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        return GuestAccess.TryRead(c, op, out byte _) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>MWAIT: ends at once, which the definition permits. ECX bit 0 asks for interrupts to break it though IF is off.</summary>
    public static Op* Mwait(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Ud);
        return ((uint)c->Gpr[1] & ~1u) != 0 ? Flow.Raise(c, op, Vector.Gp, 0) : op + 1;
    }

    /// <summary>BOUND: Extra is the operand size.</summary>
    public static Op* Bound(CpuContext* c, Op* op)
    {
        int size = (int)op->Extra;
        if (!GuestAccess.TryLinear(c, op, 2 * size, write: false, out ulong linear)
            || !SegmentInstructions.TryReadSized(c, linear, size, out ulong lower)
            || !SegmentInstructions.TryReadSized(c, (uint)(linear + (ulong)size), size, out ulong upper))
            return Flow.Fault(c, op);
        int index = size == 2 ? Operands.Get<short>(c, op->Dst) : Operands.Get<int>(c, op->Dst);
        int low = size == 2 ? (short)lower : (int)lower;
        int high = size == 2 ? (short)upper : (int)upper;
        return index < low || index > high ? Flow.Raise(c, op, Vector.Br) : op + 1;
    }
}
