using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>RETF and IRET in all modes (SDM vol. 2, RET and IRET).</summary>
internal static unsafe class FarReturn
{
    /// <summary>RETF: Extra is the operand size, Imm the parameter bytes to release.</summary>
    public static Op* Retf(CpuContext* c, Op* op)
    {
        int size = (int)op->Extra;
        int release = (int)op->Imm;
        var stack = GuestStack.Current(c);
        if (!stack.TryPop(c, out ulong rip, size) || !stack.TryPop(c, out ulong selector, size))
            return Flow.Fault(c, op);
        ushort cs = (ushort)selector;
        if (Mode.IsRealOrV86(c))
        {
            if (rip > c->Segments[SegmentIndex.Cs].Limit)
                return Flow.Raise(c, op, Vector.Gp, 0);
            stack.Move(release);
            stack.CommitPointer(c);
            Segments.SetRealOrV86(c, SegmentIndex.Cs, cs);
            Mode.Update(c);
            return Flow.LeaveTo(c, op, rip);
        }
        if (!TryCheckReturnCode(c, cs, rip, out Descriptor d))
            return Flow.Fault(c, op);
        stack.Move(release);
        int cpl = cs & 3;
        if (cpl == c->Cpl)
        {
            stack.CommitPointer(c);
            FarTransfer.SetCode(c, cs, d, cpl);
            Mode.Update(c);
            return Flow.LeaveTo(c, op, rip);
        }
        if (!stack.TryPop(c, out ulong rsp, size) || !stack.TryPop(c, out ulong ssSelector, size))
            return Flow.Fault(c, op);
        if (!TryCheckReturnStack(c, (ushort)ssSelector, d, cpl, out SegmentCache ss))
            return Flow.Fault(c, op);
        CommitOuter(c, cs, d, ss, rsp, release);
        return Flow.LeaveTo(c, op, rip);
    }

    /// <summary>IRET, IRETD, IRETQ: Extra is the operand size.</summary>
    public static Op* Iret(CpuContext* c, Op* op)
    {
        int size = (int)op->Extra;
        if (Mode.IsRealOrV86(c))
            return IretReal(c, op, size);
        if ((c->Rflags & Flags.Nt) != 0)
            return Mode.IsLong(c) ? Flow.Raise(c, op, Vector.Gp, 0) : TaskSwitch.ReturnToPrevious(c, op);
        var stack = GuestStack.Current(c);
        if (!stack.TryPop(c, out ulong rip, size) || !stack.TryPop(c, out ulong selector, size) || !stack.TryPop(c, out ulong flags, size))
            return Flow.Fault(c, op);
        if (size == 4 && (flags & Flags.Vm) != 0 && c->Cpl == 0 && !Mode.IsLong(c))
            return IretToV86(c, op, stack, rip, (ushort)selector, flags);
        ushort cs = (ushort)selector;
        if (!TryCheckReturnCode(c, cs, rip, out Descriptor d))
            return Flow.Fault(c, op);
        int cpl = cs & 3;
        bool pops = cpl != c->Cpl || c->CodeBits == 64;
        if (pops)
        {
            if (!stack.TryPop(c, out ulong rsp, size) || !stack.TryPop(c, out ulong ssSelector, size))
                return Flow.Fault(c, op);
            if (!TryCheckReturnStack(c, (ushort)ssSelector, d, cpl, out SegmentCache ss))
                return Flow.Fault(c, op);
            LoadFlags(c, flags, size);
            CommitOuter(c, cs, d, ss, rsp, 0);
        }
        else
        {
            LoadFlags(c, flags, size);
            stack.CommitPointer(c);
            FarTransfer.SetCode(c, cs, d, cpl);
            Mode.Update(c);
        }
        c->NmiBlocked = 0;
        return Flow.LeaveTo(c, op, rip);
    }

    /// <summary>Loads the flags that IRET may change at this privilege (before CPL changes).</summary>
    private static void LoadFlags(CpuContext* c, ulong value, int size)
    {
        ulong mask = Flags.Arithmetic | Flags.Tf | Flags.Df | Flags.Nt;
        if (size > 2)
            mask |= Flags.Rf | Flags.Ac | Flags.Id;
        if (c->Cpl <= (int)((c->Rflags & Flags.Iopl) >> 12))
            mask |= Flags.If;
        if (c->Cpl == 0)
            mask |= size > 2 ? Flags.Iopl | Flags.Vif | Flags.Vip : Flags.Iopl;
        FlagInstructions.Load(c, value, mask);
    }

    private static bool TryCheckReturnCode(CpuContext* c, ushort cs, ulong rip, out Descriptor d)
    {
        d = default;
        if ((cs & 0xFFFC) == 0)
            return Segments.FailZero(c, Vector.Gp);
        if (!Segments.TryFetch(c, cs, Vector.Gp, out d))
            return false;
        int rpl = cs & 3;
        if (!d.IsCode || rpl < c->Cpl || (d.IsConforming ? d.Dpl > rpl : d.Dpl != rpl) || (Mode.IsLong(c) && d.IsLong && d.IsDefault32))
            return Segments.Fail(c, Vector.Gp, cs);
        if (!d.Present)
            return Segments.Fail(c, Vector.Np, cs);
        return FarTransfer.TryCheckOffset(c, d, rip) && Segments.TryMarkAccessed(c, cs, ref d);
    }

    // SS of the level returned to; null is permitted when that is 64-bit code below level 3.
    private static bool TryCheckReturnStack(CpuContext* c, ushort selector, Descriptor code, int cpl, out SegmentCache ss)
    {
        if ((selector & 0xFFFC) != 0)
            return Segments.TryCheckStack(c, selector, cpl, Vector.Gp, out ss);
        ss = new SegmentCache { Selector = selector, Unusable = 1, Attributes = (ushort)(cpl << 5) };
        if (!Mode.IsLong(c) || !code.IsLong || cpl == 3)
            return Segments.FailZero(c, Vector.Gp);
        return (selector & 3) == cpl || Segments.Fail(c, Vector.Gp, selector);
    }

    private static void CommitOuter(CpuContext* c, ushort cs, Descriptor d, in SegmentCache ss, ulong rsp, int release)
    {
        bool outer = (cs & 3) != c->Cpl;
        FarTransfer.SetCode(c, cs, d, cs & 3);
        Segments.Set(c, SegmentIndex.Ss, ss);
        Mode.Update(c);
        // With a 16-bit stack only SP is loaded.
        ulong mask = c->StackMask;
        ulong pointer = mask == 0xFFFF ? (c->Gpr[4] & ~mask) | (rsp & mask) : rsp & mask;
        c->Gpr[4] = release == 0 ? pointer : (pointer & ~mask) | ((pointer + (ulong)release) & mask);
        if (outer)
            Segments.DropInnerSegments(c, cs & 3);
    }

    private static Op* IretReal(CpuContext* c, Op* op, int size)
    {
        bool v86 = (c->Rflags & Flags.Vm) != 0;
        if (v86 && (c->Rflags & Flags.Iopl) != Flags.Iopl)
            return Flow.Raise(c, op, Vector.Gp, 0);
        var stack = GuestStack.Current(c);
        if (!stack.TryPop(c, out ulong rip, size) || !stack.TryPop(c, out ulong cs, size) || !stack.TryPop(c, out ulong flags, size))
            return Flow.Fault(c, op);
        if (rip > c->Segments[SegmentIndex.Cs].Limit)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong mask = Flags.Arithmetic | Flags.Tf | Flags.Df | Flags.Nt | Flags.If;
        if (!v86)
            mask |= Flags.Iopl;
        if (size == 4)
            mask |= Flags.Rf | Flags.Ac | Flags.Id;
        FlagInstructions.Load(c, flags, mask);
        stack.CommitPointer(c);
        Segments.SetRealOrV86(c, SegmentIndex.Cs, (ushort)cs);
        c->NmiBlocked = 0;
        Mode.Update(c);
        return Flow.LeaveTo(c, op, rip);
    }

    private static Op* IretToV86(CpuContext* c, Op* op, GuestStack stack, ulong rip, ushort cs, ulong flags)
    {
        if (rip > 0xFFFF)
            return Flow.Raise(c, op, Vector.Gp, 0);
        if (!stack.TryPop(c, out ulong esp, 4) || !stack.TryPop(c, out ulong ss, 4) || !stack.TryPop(c, out ulong es, 4)
            || !stack.TryPop(c, out ulong ds, 4) || !stack.TryPop(c, out ulong fs, 4) || !stack.TryPop(c, out ulong gs, 4))
            return Flow.Fault(c, op);
        FlagInstructions.Load(c, flags, Flags.Vm | Flags.Arithmetic | Flags.Tf | Flags.Df | Flags.Nt | Flags.If | Flags.Iopl
            | Flags.Rf | Flags.Ac | Flags.Id | Flags.Vif | Flags.Vip);
        Segments.SetV86(c, SegmentIndex.Cs, cs);
        Segments.SetV86(c, SegmentIndex.Ss, (ushort)ss);
        Segments.SetV86(c, SegmentIndex.Es, (ushort)es);
        Segments.SetV86(c, SegmentIndex.Ds, (ushort)ds);
        Segments.SetV86(c, SegmentIndex.Fs, (ushort)fs);
        Segments.SetV86(c, SegmentIndex.Gs, (ushort)gs);
        c->Gpr[4] = (uint)esp;
        c->Cpl = 3;
        c->NmiBlocked = 0;
        Mode.Update(c);
        return Flow.LeaveTo(c, op, rip);
    }
}
