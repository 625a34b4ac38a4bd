using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Far JMP and CALL, call gates included (SDM vol. 2, JMP and CALL; vol. 3, 5.8).</summary>
internal static unsafe class FarTransfer
{
    /// <summary>Executes a far jump.</summary>
    /// <param name="c">The CPU.</param>
    /// <param name="op">The instruction.</param>
    /// <param name="selector">Code segment, call gate, task gate or TSS.</param>
    /// <param name="offset">Offset; ignored with gates.</param>
    public static Op* Jump(CpuContext* c, Op* op, ushort selector, ulong offset)
    {
        if (Mode.IsRealOrV86(c))
        {
            if (offset > c->Segments[SegmentIndex.Cs].Limit)
                return Flow.Raise(c, op, Vector.Gp, 0);
            Segments.SetRealOrV86(c, SegmentIndex.Cs, selector);
            return Finish(c, op, offset);
        }
        if (!TryFetchTarget(c, selector, out Descriptor d))
            return Flow.Fault(c, op);
        if (!d.IsSegment)
            return JumpThroughGate(c, op, selector, d);
        return TryCheckCode(c, selector, ref d, c->Cpl, rplCounts: true) && TryCheckOffset(c, d, offset)
            ? Commit(c, op, selector, d, offset)
            : Flow.Fault(c, op);
    }

    /// <summary>Executes a far call; <paramref name="size"/> is the operand size in bytes.</summary>
    public static Op* Call(CpuContext* c, Op* op, ushort selector, ulong offset, int size)
    {
        bool real = Mode.IsRealOrV86(c);
        Descriptor d = default;
        if (real)
        {
            if (offset > c->Segments[SegmentIndex.Cs].Limit)
                return Flow.Raise(c, op, Vector.Gp, 0);
        }
        else
        {
            if (!TryFetchTarget(c, selector, out d))
                return Flow.Fault(c, op);
            if (!d.IsSegment)
                return CallThroughGate(c, op, selector, d);
            if (!TryCheckCode(c, selector, ref d, c->Cpl, rplCounts: true) || !TryCheckOffset(c, d, offset))
                return Flow.Fault(c, op);
        }
        var stack = GuestStack.Current(c);
        if (!stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, size) || !stack.TryPush(c, Flow.NextRip(c, op), size))
            return Flow.Fault(c, op);
        stack.CommitPointer(c);
        if (!real)
            return Commit(c, op, selector, d, offset);
        Segments.SetRealOrV86(c, SegmentIndex.Cs, selector);
        return Finish(c, op, offset);
    }

    /// <summary>Checks a code descriptor for a transfer that stays at a privilege level, and marks it accessed.</summary>
    public static bool TryCheckCode(CpuContext* c, ushort selector, ref Descriptor d, int cpl, bool rplCounts)
    {
        if (!d.IsCode || (Mode.IsLong(c) && d.IsLong && d.IsDefault32))
            return Segments.Fail(c, Vector.Gp, selector);
        bool permitted = d.IsConforming ? d.Dpl <= cpl : d.Dpl == cpl && (!rplCounts || (selector & 3) <= cpl);
        if (!permitted)
            return Segments.Fail(c, Vector.Gp, selector);
        if (!d.Present)
            return Segments.Fail(c, Vector.Np, selector);
        return Segments.TryMarkAccessed(c, selector, ref d);
    }

    /// <summary>Checks an instruction pointer against its new code segment: #GP(0).</summary>
    public static bool TryCheckOffset(CpuContext* c, Descriptor d, ulong offset)
    {
        bool valid = Mode.IsLong(c) && d.IsLong ? SystemMemory.IsCanonical(offset) : offset <= d.Limit;
        return valid || Segments.FailZero(c, Vector.Gp);
    }

    /// <summary>Loads CS with a new RPL and privilege level.</summary>
    public static void SetCode(CpuContext* c, ushort selector, Descriptor d, int cpl)
    {
        Segments.Set(c, SegmentIndex.Cs, d.ToCache((ushort)((selector & 0xFFFC) | cpl)));
        c->Cpl = cpl;
    }

    private static bool TryFetchTarget(CpuContext* c, ushort selector, out Descriptor d)
    {
        d = default;
        return (selector & 0xFFFC) == 0 ? Segments.FailZero(c, Vector.Gp) : Segments.TryFetch(c, selector, Vector.Gp, out d);
    }

    private static Op* Commit(CpuContext* c, Op* op, ushort selector, Descriptor d, ulong offset)
    {
        SetCode(c, selector, d, c->Cpl);
        return Finish(c, op, offset);
    }

    private static Op* Finish(CpuContext* c, Op* op, ulong rip)
    {
        Mode.Update(c);
        return Flow.LeaveTo(c, op, rip);
    }

    private static Op* JumpThroughGate(CpuContext* c, Op* op, ushort selector, Descriptor gate)
    {
        if (!TryGateKind(c, selector, gate, out bool isCallGate))
            return Flow.Fault(c, op);
        if (!isCallGate)
            return TaskSwitch.Transfer(c, op, selector, gate, TaskSwitch.Reason.Jump);
        if (!TryReadCallGate(c, selector, gate, out ushort target, out ulong offset) || !TryFetchTarget(c, target, out Descriptor d))
            return Flow.Fault(c, op);
        if (!TryCheckGateMode(c, target, d) || !TryCheckCode(c, target, ref d, c->Cpl, rplCounts: false) || !TryCheckOffset(c, d, offset))
            return Flow.Fault(c, op);
        return Commit(c, op, target, d, offset);
    }

    private static Op* CallThroughGate(CpuContext* c, Op* op, ushort selector, Descriptor gate)
    {
        if (!TryGateKind(c, selector, gate, out bool isCallGate))
            return Flow.Fault(c, op);
        if (!isCallGate)
            return TaskSwitch.Transfer(c, op, selector, gate, TaskSwitch.Reason.Call);
        if (!TryReadCallGate(c, selector, gate, out ushort target, out ulong offset) || !TryFetchTarget(c, target, out Descriptor d))
            return Flow.Fault(c, op);
        int size = Mode.IsLong(c) ? 8 : gate.Type == Descriptor.CallGate ? 4 : 2;
        bool inner = d.IsCode && !d.IsConforming && d.Dpl < c->Cpl;
        if (!TryCheckGateMode(c, target, d) || !TryCheckCode(c, target, ref d, inner ? d.Dpl : c->Cpl, rplCounts: false))
            return Flow.Fault(c, op);
        if (!TryCheckOffset(c, d, offset))
            return Flow.Fault(c, op);
        return inner ? CallInner(c, op, target, d, offset, size, (int)(gate.Raw >> 32) & 31) : CallSame(c, op, target, d, offset, size);
    }

    private static Op* CallSame(CpuContext* c, Op* op, ushort target, Descriptor d, ulong offset, int size)
    {
        var stack = GuestStack.Current(c);
        // In long mode a call through a gate pushes to a 64-bit stack even from compatibility mode.
        if (size == 8)
            stack = GuestStack.Long(c, c->Gpr[4] & c->StackMask, c->Cpl);
        if (!stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, size) || !stack.TryPush(c, Flow.NextRip(c, op), size))
            return Flow.Fault(c, op);
        stack.CommitPointer(c);
        return Commit(c, op, target, d, offset);
    }

    private static Op* CallInner(CpuContext* c, Op* op, ushort target, Descriptor d, ulong offset, int size, int parameters)
    {
        int cpl = d.Dpl;
        GuestStack stack;
        SegmentCache ss;
        if (size == 8)
        {
            if (!TaskState.TryReadStack64(c, cpl, out ulong rsp))
                return Flow.Fault(c, op);
            stack = GuestStack.Long(c, rsp, cpl);
            ss = new SegmentCache { Selector = (ushort)cpl, Unusable = 1, Attributes = (ushort)(cpl << 5) };
            parameters = 0;
        }
        else if (TaskState.TryReadStack(c, cpl, out ss, out ulong esp))
        {
            stack = GuestStack.Inner(c, ss, esp, cpl);
        }
        else
        {
            return Flow.Fault(c, op);
        }
        if (!TryPushCaller(c, op, ref stack, size, parameters))
            return Flow.Fault(c, op);
        SetCode(c, target, d, cpl);
        Segments.Set(c, SegmentIndex.Ss, ss);
        stack.CommitPointer(c);
        return Finish(c, op, offset);
    }

    private static bool TryPushCaller(CpuContext* c, Op* op, ref GuestStack stack, int size, int parameters)
    {
        var old = GuestStack.Current(c);
        if (!stack.TryPush(c, c->Segments[SegmentIndex.Ss].Selector, size) || !stack.TryPush(c, c->Gpr[4], size))
            return false;
        for (int i = parameters - 1; i >= 0; i--)
        {
            if (!old.TryPeek(c, i * size, out ulong value, size) || !stack.TryPush(c, value, size))
                return false;
        }
        return stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, size) && stack.TryPush(c, Flow.NextRip(c, op), size);
    }

    // Which system descriptors a far transfer may name, and whether at this privilege (SDM vol. 2, JMP: "CALL-GATE", "TASK-GATE", "TASK-STATE-SEGMENT").
    private static bool TryGateKind(CpuContext* c, ushort selector, Descriptor gate, out bool isCallGate)
    {
        bool lng = Mode.IsLong(c);
        isCallGate = gate.Type == Descriptor.CallGate || (!lng && gate.Type == Descriptor.CallGate16);
        bool isTask = !lng && gate.Type is Descriptor.TaskGate or Descriptor.TssAvailable or Descriptor.TssAvailable16;
        if ((!isCallGate && !isTask) || (lng && !isCallGate) || gate.Dpl < c->Cpl || gate.Dpl < (selector & 3))
            return Segments.Fail(c, Vector.Gp, selector);
        return gate.Present || Segments.Fail(c, Vector.Np, selector);
    }

    private static bool TryReadCallGate(CpuContext* c, ushort selector, Descriptor gate, out ushort target, out ulong offset)
    {
        target = gate.GateSelector;
        offset = gate.Type == Descriptor.CallGate16 ? gate.GateOffset & 0xFFFF : gate.GateOffset;
        if (!Mode.IsLong(c))
            return true;
        if (!Segments.TryFetchUpper(c, selector, Vector.Gp, out ulong upper))
            return false;
        offset |= upper << 32;
        return ((upper >> 40) & 0x1F) == 0 || Segments.Fail(c, Vector.Gp, selector);
    }

    // A 64-bit call gate leads to 64-bit code only.
    private static bool TryCheckGateMode(CpuContext* c, ushort target, Descriptor d)
        => !Mode.IsLong(c) || (d.IsCode && d.IsLong && !d.IsDefault32) || Segments.Fail(c, Vector.Gp, target);
}
