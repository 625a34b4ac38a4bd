using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>
/// Hardware task switches outside long mode (SDM vol. 3, 8.3). Up to the point where the new task's registers are loaded a fault belongs to the old
/// task; checks of the new task's segments fault in the new one.
/// </summary>
internal static unsafe partial class TaskSwitch
{
    /// <summary>What starts a task switch.</summary>
    public enum Reason
    {
        Jump,
        Call,
        Return,
        Event,
    }

    private const int ImageSize = 104;
    private const uint BusyBit = 1u << 9;

    /// <summary>JMP or CALL to a TSS or task gate whose privilege and presence have been checked.</summary>
    public static Op* Transfer(CpuContext* c, Op* op, ushort selector, Descriptor d, Reason reason)
    {
        if (d.Type == Descriptor.TaskGate)
        {
            selector = d.GateSelector;
            if (!TryFetchTss(c, selector, Vector.Gp, busy: false, out d))
                return Flow.Fault(c, op);
        }
        ulong next = Flow.MaskRip(c, Flow.NextRip(c, op));
        return Finish(c, op, TrySwitch(c, selector, d, reason, next, Flags.GetRflags(c), out bool switched), switched);
    }

    /// <summary>IRET with NT set: back to the task that the link field names.</summary>
    public static Op* ReturnToPrevious(CpuContext* c, Op* op)
    {
        ref SegmentCache tr = ref c->Segments[SegmentIndex.Tr];
        if (!SystemMemory.TryRead(c, tr.Base, out ushort link))
            return Flow.Fault(c, op);
        if (!TryFetchTss(c, link, Vector.Ts, busy: true, out Descriptor d))
            return Flow.Fault(c, op);
        ulong next = Flow.MaskRip(c, Flow.NextRip(c, op));
        bool done = TrySwitch(c, link, d, Reason.Return, next, Flags.GetRflags(c) & ~Flags.Nt, out bool switched);
        if (switched)
            c->NmiBlocked = 0;
        return Finish(c, op, done, switched);
    }

    /// <summary>Delivers an event through a task gate of the IDT.</summary>
    public static bool TryDeliver(CpuContext* c, Descriptor gate, bool hasError, uint error, ulong rip, ulong flags)
    {
        ushort selector = gate.GateSelector;
        if (!TryFetchTss(c, selector, Vector.Gp, busy: false, out Descriptor d))
            return false;
        if (!TrySwitch(c, selector, d, Reason.Event, rip, flags, out _))
            return false;
        if (!hasError)
            return true;
        var stack = GuestStack.Current(c);
        bool is32 = (c->Segments[SegmentIndex.Tr].Attributes & 8) != 0;
        if (!stack.TryPush(c, error, is32 ? 4 : 2))
            return false;
        stack.CommitPointer(c);
        return true;
    }

    // A fault in the new task leaves RIP there; one before the switch leaves it on the instruction.
    private static Op* Finish(CpuContext* c, Op* op, bool done, bool switched)
    {
        if (!done && !switched)
            return Flow.Fault(c, op);
        c->Retired += op->Ordinal + 1u;
        return null;
    }

    private static bool TryFetchTss(CpuContext* c, ushort selector, int vector, bool busy, out Descriptor d)
    {
        d = default;
        if ((selector & 4) != 0 || (selector & 0xFFFC) == 0)
            return Segments.Fail(c, vector, selector);
        if (!Segments.TryFetch(c, selector, vector, out d))
            return false;
        int type = busy ? d.Type & ~2 : d.Type;
        bool isBusy = (d.Type & 2) != 0;
        if (d.IsSegment || type is not (Descriptor.TssAvailable or Descriptor.TssAvailable16) || isBusy != busy)
            return Segments.Fail(c, vector, selector);
        return d.Present || Segments.Fail(c, Vector.Np, selector);
    }

    private static bool TrySwitch(CpuContext* c, ushort selector, Descriptor d, Reason reason, ulong rip, ulong flags, out bool switched)
    {
        switched = false;
        bool is32 = (d.Type & 8) != 0;
        if (d.Limit < (is32 ? 0x67u : 0x2B))
            return Segments.Fail(c, Vector.Ts, selector);
        byte* image = stackalloc byte[ImageSize];
        bool nests = reason is Reason.Call or Reason.Event;
        // Nested tasks have their link field written: asked for first, so that a fault comes before anything has changed.
        Access access = nests ? Access.Supervisor | Access.Write : Access.Supervisor;
        if (!SlowAccess.TryRead(c, d.Base, image, is32 ? ImageSize : 44, access))
            return false;
        SegmentCache old = c->Segments[SegmentIndex.Tr];
        if (!TrySave(c, old, rip, flags) || !TryMark(c, selector, old.Selector, reason))
            return false;
        if (nests && !SystemMemory.TryWrite(c, d.Base, old.Selector))
            return false;

        switched = true;
        var tr = new Descriptor(d.Raw | (1UL << 41)).ToCache((ushort)(selector & 0xFFF8));
        Segments.Set(c, SegmentIndex.Tr, tr);
        c->Cr0 |= Mode.Cr0Ts;
        c->StepTrapCancelled = 1;
        bool traps = is32 && (image[0x64] & 1) != 0;
        bool done = is32 ? TryLoad32(c, image, nests) : TryLoad16(c, image, nests);
        Mode.Update(c);
        if (done && traps && reason != Reason.Event)
            Debugging.Raise(c, 1UL << 15);
        return done;
    }

    // Busy bits: a task that is left for good loses it, one that is entered gets it (it has it already when returned to).
    private static bool TryMark(CpuContext* c, ushort entered, ushort left, Reason reason)
    {
        if (reason is Reason.Jump or Reason.Return && !SystemMemory.TryClearBits(c, c->GdtrBase + (left & 0xFFF8u) + 4, BusyBit))
            return false;
        return reason == Reason.Return || SystemMemory.TrySetBits(c, c->GdtrBase + (entered & 0xFFF8u) + 4, BusyBit);
    }

    private static bool TrySave(CpuContext* c, in SegmentCache tr, ulong rip, ulong flags)
    {
        bool is32 = (tr.Attributes & 8) != 0;
        int start = is32 ? 0x20 : 0x0E;
        int length = is32 ? 0x40 : 0x1C;
        int step = is32 ? 4 : 2;
        byte* image = stackalloc byte[0x40];
        if (!SlowAccess.TryRead(c, tr.Base + (ulong)start, image, length, Access.Supervisor | Access.Write))
            return false;
        Put(image, 0, rip, step);
        Put(image, 1, flags, step);
        for (int i = 0; i < 8; i++)
            Put(image, 2 + i, c->Gpr[i], step);
        for (int i = 0; i < (is32 ? 6 : 4); i++)
            *(ushort*)(image + ((10 + i) * step)) = c->Segments[i].Selector;
        return SlowAccess.TryWrite(c, tr.Base + (ulong)start, image, length, Access.Supervisor);
    }

    private static void Put(byte* image, int index, ulong value, int size)
    {
        if (size == 4)
            *(uint*)(image + (index * 4)) = (uint)value;
        else
            *(ushort*)(image + (index * 2)) = (ushort)value;
    }
}
