using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <content>Delivery in protected and virtual-8086 mode (SDM vol. 3, 6.12, 6.13 and 21.3).</content>
internal static unsafe partial class Events
{
    private static bool TryDeliverProtected(CpuContext* c, int vector, int kind, bool hasError, uint error, ulong rip, ulong flags)
    {
        uint offset = (uint)vector * 8;
        if (offset + 7 > c->IdtrLimit)
            return FailGate(c, Vector.Gp, vector);
        if (!SystemMemory.TryRead(c, c->IdtrBase + offset, out ulong raw))
            return false;
        var gate = new Descriptor(raw);
        bool known = !gate.IsSegment && gate.Type is Descriptor.TaskGate or Descriptor.InterruptGate16 or Descriptor.TrapGate16
            or Descriptor.InterruptGate or Descriptor.TrapGate;
        if (!known || gate.IsSegment || (kind == PendingEventKind.SoftwareInterrupt && gate.Dpl < c->Cpl))
            return FailGate(c, Vector.Gp, vector);
        if (!gate.Present)
            return FailGate(c, Vector.Np, vector);
        if (gate.Type == Descriptor.TaskGate)
            return TaskSwitch.TryDeliver(c, gate, hasError, error, rip, flags);

        ushort selector = gate.GateSelector;
        if (!TryFetchGateTarget(c, selector, out Descriptor code))
            return false;
        bool is32 = (gate.Type & 8) != 0;
        ulong target = is32 ? gate.GateOffset : gate.GateOffset & 0xFFFF;
        bool inner = !code.IsConforming && code.Dpl < c->Cpl;
        bool v86 = (flags & Flags.Vm) != 0;
        if (v86 && (!inner || code.Dpl != 0))
            return Segments.Fail(c, Vector.Gp, selector);
        var frame = new Frame { Rip = rip, Flags = flags, HasError = hasError, Error = error, Size = is32 ? 4 : 2 };
        bool done = inner
            ? TryEnterInner(c, selector, code, target, frame, v86)
            : TryEnterSame(c, selector, code, target, frame);
        if (!done)
            return false;
        FinishProtected(c, (gate.Type & 1) == 0);
        c->Rip = target;
        return true;
    }

    private static bool TryEnterSame(CpuContext* c, ushort selector, Descriptor code, ulong target, in Frame frame)
    {
        var stack = GuestStack.Current(c);
        if (!TryPushFrame(c, ref stack, frame) || !FarTransfer.TryCheckOffset(c, code, target))
            return false;
        stack.CommitPointer(c);
        FarTransfer.SetCode(c, selector, code, c->Cpl);
        return true;
    }

    private static bool TryEnterInner(CpuContext* c, ushort selector, Descriptor code, ulong target, in Frame frame, bool v86)
    {
        int cpl = code.Dpl;
        if (!TaskState.TryReadStack(c, cpl, out SegmentCache ss, out ulong esp))
            return false;
        var stack = GuestStack.Inner(c, ss, esp, cpl);
        if (v86 && !TryPushDataSegments(c, ref stack, frame.Size))
            return false;
        if (!stack.TryPush(c, c->Segments[SegmentIndex.Ss].Selector, frame.Size) || !stack.TryPush(c, c->Gpr[4], frame.Size))
            return false;
        if (!TryPushFrame(c, ref stack, frame) || !FarTransfer.TryCheckOffset(c, code, target))
            return false;
        if (v86)
        {
            Segments.SetNull(c, SegmentIndex.Gs, 0);
            Segments.SetNull(c, SegmentIndex.Fs, 0);
            Segments.SetNull(c, SegmentIndex.Ds, 0);
            Segments.SetNull(c, SegmentIndex.Es, 0);
        }
        FarTransfer.SetCode(c, selector, code, cpl);
        Segments.Set(c, SegmentIndex.Ss, ss);
        stack.CommitPointer(c);
        return true;
    }

    private static bool TryPushDataSegments(CpuContext* c, ref GuestStack stack, int size)
        => stack.TryPush(c, c->Segments[SegmentIndex.Gs].Selector, size)
            && stack.TryPush(c, c->Segments[SegmentIndex.Fs].Selector, size)
            && stack.TryPush(c, c->Segments[SegmentIndex.Ds].Selector, size)
            && stack.TryPush(c, c->Segments[SegmentIndex.Es].Selector, size);

    private static bool TryPushFrame(CpuContext* c, ref GuestStack stack, in Frame frame)
        => stack.TryPush(c, frame.Flags, frame.Size)
            && stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, frame.Size)
            && stack.TryPush(c, frame.Rip, frame.Size)
            && (!frame.HasError || stack.TryPush(c, frame.Error, frame.Size));

    private struct Frame
    {
        public ulong Rip;
        public ulong Flags;
        public bool HasError;
        public uint Error;
        public int Size;
    }
}
