using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, INT n and kin, FS and GS base access.</summary>
internal static unsafe class SystemCalls
{
    private const ushort Code64 = 0xA09B;
    private const ushort Code32 = 0xC09B;
    private const ushort Data = 0xC093;
    private const ushort User = 0x60;

    /// <summary>
    /// SYSCALL. From compatibility mode it goes to CSTAR, as AMD processors do; in 64-bit mode both vendors agree (APM vol. 3; SDM vol. 2).
    /// </summary>
    public static Op* Syscall(CpuContext* c, Op* op)
    {
        if ((c->Efer & Mode.EferSce) == 0 || !Mode.IsLong(c))
            return Flow.Raise(c, op, Vector.Ud);
        ulong flags = Flags.GetRflags(c) & ~Flags.Rf;
        ulong target = c->CodeBits == 64 ? c->Lstar : c->Cstar;
        c->Gpr[1] = Flow.MaskRip(c, Flow.NextRip(c, op));
        c->Gpr[11] = flags;
        Flags.SetRflags(c, flags & ~c->Fmask);
        ushort cs = (ushort)((c->Star >> 32) & 0xFFFC);
        SetFlat(c, SegmentIndex.Cs, cs, Code64);
        SetFlat(c, SegmentIndex.Ss, (ushort)(cs + 8), Data);
        c->Cpl = 0;
        if ((c->Rflags & Flags.Tf) == 0)
            c->StepTrapCancelled = 1;
        Mode.Update(c);
        // With interrupts off, as every kernel has it here, nothing has to be looked at before the next block.
        return (c->Rflags & (Flags.If | Flags.Tf)) == 0 ? Flow.Goto(c, op, target) : Flow.LeaveTo(c, op, target);
    }

    /// <summary>SYSRET: Extra is 8 for a return to 64-bit mode, else 4.</summary>
    public static Op* Sysret(CpuContext* c, Op* op)
    {
        if ((c->Efer & Mode.EferSce) == 0 || c->CodeBits != 64)
            return Flow.Raise(c, op, Vector.Ud);
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        bool to64 = op->Extra == 8;
        ulong rip = c->Gpr[1];
        if (!to64)
            rip = (uint)rip;
        else if (!SystemMemory.IsCanonical(rip))
            return Flow.Raise(c, op, Vector.Gp, 0);
        ushort selector = (ushort)(c->Star >> 48);
        Flags.SetRflags(c, (c->Gpr[11] & 0x3C7FD7) | 2);
        SetFlat(c, SegmentIndex.Cs, (ushort)((to64 ? selector + 16 : selector) | 3), (ushort)((to64 ? Code64 : Code32) | User));
        SetFlat(c, SegmentIndex.Ss, (ushort)((selector + 8) | 3), Data | User);
        c->Cpl = 3;
        Mode.Update(c);
        return Flow.LeaveTo(c, op, rip);
    }

    /// <summary>SYSENTER, in all protected modes.</summary>
    public static Op* Sysenter(CpuContext* c, Op* op)
    {
        if ((c->Cr0 & Mode.Cr0Pe) == 0 || (c->SysenterCs & 0xFFFC) == 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        bool lng = Mode.IsLong(c);
        c->Rflags &= ~(Flags.Vm | Flags.If | Flags.Rf);
        ushort cs = (ushort)(c->SysenterCs & 0xFFFC);
        SetFlat(c, SegmentIndex.Cs, cs, lng ? Code64 : Code32);
        SetFlat(c, SegmentIndex.Ss, (ushort)(cs + 8), Data);
        c->Cpl = 0;
        c->Gpr[4] = lng ? c->SysenterEsp : (uint)c->SysenterEsp;
        Mode.Update(c);
        return Flow.LeaveTo(c, op, lng ? c->SysenterEip : (uint)c->SysenterEip);
    }

    /// <summary>SYSEXIT: Extra is 8 for a return to 64-bit mode, else 4.</summary>
    public static Op* Sysexit(CpuContext* c, Op* op)
    {
        if ((c->Cr0 & Mode.Cr0Pe) == 0 || (c->SysenterCs & 0xFFFC) == 0 || c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        bool to64 = op->Extra == 8;
        ulong rip = c->Gpr[2];
        ulong rsp = c->Gpr[1];
        if (to64 && (!SystemMemory.IsCanonical(rip) || !SystemMemory.IsCanonical(rsp)))
            return Flow.Raise(c, op, Vector.Gp, 0);
        ushort cs = (ushort)((c->SysenterCs & 0xFFFC) + (to64 ? 32u : 16u));
        SetFlat(c, SegmentIndex.Cs, (ushort)(cs | 3), (ushort)((to64 ? Code64 : Code32) | User));
        SetFlat(c, SegmentIndex.Ss, (ushort)((cs + 8) | 3), Data | User);
        c->Cpl = 3;
        c->Gpr[4] = to64 ? rsp : (uint)rsp;
        Mode.Update(c);
        return Flow.LeaveTo(c, op, to64 ? rip : (uint)rip);
    }

    /// <summary>SWAPGS.</summary>
    public static Op* Swapgs(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ref SegmentCache gs = ref c->Segments[SegmentIndex.Gs];
        (gs.Base, c->KernelGsBase) = (c->KernelGsBase, gs.Base);
        return op + 1;
    }

    /// <summary>INT n: Imm is the vector.</summary>
    public static Op* IntN(CpuContext* c, Op* op)
    {
        if ((c->Rflags & Flags.Vm) != 0 && (c->Rflags & Flags.Iopl) != Flags.Iopl)
            return Flow.Raise(c, op, Vector.Gp, 0);
        return Interrupt(c, op, (int)op->Imm, PendingEventKind.SoftwareInterrupt);
    }

    /// <summary>INT3.</summary>
    public static Op* Int3(CpuContext* c, Op* op) => Interrupt(c, op, Vector.Bp, PendingEventKind.SoftwareInterrupt);

    /// <summary>INTO.</summary>
    public static Op* Into(CpuContext* c, Op* op)
        => Flags.GetOf(c) ? Interrupt(c, op, Vector.Of, PendingEventKind.SoftwareInterrupt) : Flow.Leave(c, op);

    /// <summary>INT1.</summary>
    public static Op* Int1(CpuContext* c, Op* op) => Interrupt(c, op, Vector.Db, PendingEventKind.PrivilegedSoftware);

    /// <summary>RDFSBASE and RDGSBASE: Imm is the segment, Extra the size.</summary>
    public static Op* ReadBase(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Fsgsbase) == 0)
            return Flow.Raise(c, op, Vector.Ud);
        SegmentInstructions.SetRegister(c, op->Dst, c->Segments[(int)op->Imm].Base, (int)op->Extra);
        return op + 1;
    }

    /// <summary>WRFSBASE and WRGSBASE.</summary>
    public static Op* WriteBase(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Fsgsbase) == 0)
            return Flow.Raise(c, op, Vector.Ud);
        ulong value = op->Extra == 8 ? Operands.Get<ulong>(c, op->Src) : Operands.Get<uint>(c, op->Src);
        if (!SystemMemory.IsCanonical(value))
            return Flow.Raise(c, op, Vector.Gp, 0);
        SetBase(c, (int)op->Imm, value);
        return op + 1;
    }

    /// <summary>Changes a segment's base alone.</summary>
    public static void SetBase(CpuContext* c, int index, ulong value)
    {
        ref SegmentCache s = ref c->Segments[index];
        s.Base = value;
        s.Flat = Segments.IsFlat(s) ? 1 : 0;
    }

    // Delivered here rather than by the run loop: when the gate refuses, the fault is at the instruction, not behind it.
    private static Op* Interrupt(CpuContext* c, Op* op, int vector, int kind)
    {
        ulong next = Flow.MaskRip(c, Flow.NextRip(c, op));
        if (!Events.TryDeliver(c, vector, kind, hasError: false, 0, next))
            return Flow.Fault(c, op);
        c->Retired += op->Ordinal + 1u;
        return null;
    }

    private static void SetFlat(CpuContext* c, int index, ushort selector, ushort attributes)
    {
        ref SegmentCache s = ref c->Segments[index];
        s.Base = 0;
        s.Limit = uint.MaxValue;
        s.Selector = selector;
        s.Attributes = attributes;
        s.Unusable = 0;
        s.Flat = index == SegmentIndex.Cs ? 0 : 1;
    }
}
