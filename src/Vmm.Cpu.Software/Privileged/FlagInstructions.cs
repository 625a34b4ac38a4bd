using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>PUSHF, POPF, CLI, STI, CLAC, STAC (SDM vol. 2; CR4.VME and CR4.PVI do not exist here).</summary>
internal static unsafe class FlagInstructions
{
    /// <summary>
    /// Replaces the flags under <paramref name="mask"/>. The caller ends the block, and updates the mode unless VM and AC stay.
    /// </summary>
    public static void Load(CpuContext* c, ulong value, ulong mask)
    {
        // RF does nothing but hold off instruction breakpoints for one instruction; it is dropped when there are none, so
        // that nothing has to clear it again.
        if ((c->Dr7 & Debugging.EnableBits) == 0)
            value &= ~Flags.Rf;
        else if ((value & mask & Flags.Rf) != 0)
            c->RfLoaded = 1;
        Flags.SetRflags(c, (Flags.GetRflags(c) & ~mask) | (value & mask));
        if ((mask & (Flags.Ac | Flags.Vm)) != 0)
            Mode.UpdatePrivilege(c);
    }

    /// <summary>PUSHF, PUSHFD, PUSHFQ: Extra is the operand size.</summary>
    public static Op* Pushf(CpuContext* c, Op* op)
    {
        if (IsLockedV86(c))
            return Flow.Raise(c, op, Vector.Gp, 0);
        var stack = GuestStack.Current(c);
        if (!stack.TryPush(c, Flags.GetRflags(c) & ~(Flags.Rf | Flags.Vm), (int)op->Extra))
            return Flow.Fault(c, op);
        stack.CommitPointer(c);
        return op + 1;
    }

    /// <summary>PUSHFQ in 64-bit mode, which kernels do all the time.</summary>
    public static Op* Pushfq(CpuContext* c, Op* op)
    {
        ulong rsp = c->Gpr[4] - 8;
        if (!GuestAccess.TryWriteLinear(c, rsp, Flags.GetRflags(c) & ~(Flags.Rf | Flags.Vm)))
            return Flow.Fault(c, op);
        c->Gpr[4] = rsp;
        return op + 1;
    }

    /// <summary>POPF, POPFD, POPFQ: Extra is the operand size.</summary>
    public static Op* Popf(CpuContext* c, Op* op)
    {
        if (IsLockedV86(c))
            return Flow.Raise(c, op, Vector.Gp, 0);
        int size = (int)op->Extra;
        var stack = GuestStack.Current(c);
        if (!stack.TryPop(c, out ulong value, size))
            return Flow.Fault(c, op);
        ulong mask = Flags.Arithmetic | Flags.Tf | Flags.Df | Flags.Nt;
        if (size > 2)
            mask |= Flags.Ac | Flags.Id;
        if (c->Cpl <= (int)((c->Rflags & Flags.Iopl) >> 12))
            mask |= Flags.If;
        bool v86 = (c->Rflags & Flags.Vm) != 0;
        if (c->Cpl == 0 && !v86)
            mask |= Flags.Iopl;
        if (size > 2)
        {
            // POPFD clears RF, and VIF and VIP too (vol. 2, table 4-21), except from virtual-8086 mode.
            mask |= v86 ? Flags.Rf : Flags.Rf | Flags.Vif | Flags.Vip;
            value &= ~(Flags.Rf | Flags.Vif | Flags.Vip);
        }
        ulong before = c->Rflags;
        Load(c, value, mask);
        stack.CommitPointer(c);
        // The run loop has something to look at only when interrupts or traps were switched on.
        bool leaves = (c->Rflags & ~before & (Flags.If | Flags.Tf)) != 0;
        return leaves ? Flow.Leave(c, op) : Flow.Goto(c, op, Flow.MaskRip(c, Flow.NextRip(c, op)));
    }

    /// <summary>CLI. Does not end the block: interrupts are looked at only between blocks.</summary>
    public static Op* Cli(CpuContext* c, Op* op)
    {
        if (!MayChangeIf(c))
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->Rflags &= ~Flags.If;
        return op + 1;
    }

    /// <summary>STI: interrupts are held off for one more instruction if they were off.</summary>
    public static Op* Sti(CpuContext* c, Op* op)
    {
        if (!MayChangeIf(c))
            return Flow.Raise(c, op, Vector.Gp, 0);
        if ((c->Rflags & Flags.If) == 0)
        {
            c->Rflags |= Flags.If;
            c->Shadow = 1;
        }
        return Flow.Leave(c, op);
    }

    /// <summary>CLAC.</summary>
    public static Op* Clac(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0 || (c->Cr0 & Mode.Cr0Pe) == 0)
            return Flow.Raise(c, op, Vector.Ud);
        c->Rflags &= ~Flags.Ac;
        Mode.UpdatePrivilege(c);
        return op + 1;
    }

    /// <summary>STAC.</summary>
    public static Op* Stac(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0 || (c->Cr0 & Mode.Cr0Pe) == 0)
            return Flow.Raise(c, op, Vector.Ud);
        c->Rflags |= Flags.Ac;
        Mode.UpdatePrivilege(c);
        return op + 1;
    }

    // In real mode CPL is 0; in virtual-8086 mode it is 3, so that IOPL alone decides.
    private static bool MayChangeIf(CpuContext* c) => c->Cpl <= (int)((c->Rflags & Flags.Iopl) >> 12);

    private static bool IsLockedV86(CpuContext* c)
        => (c->Rflags & Flags.Vm) != 0 && (c->Rflags & Flags.Iopl) != Flags.Iopl;
}
