using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <content>Delivery in IA-32e mode (SDM vol. 3, 6.14).</content>
internal static unsafe partial class Events
{
    private static bool TryDeliver64(CpuContext* c, int vector, int kind, bool hasError, uint error, ulong rip, ulong flags)
    {
        uint offset = (uint)vector * 16;
        if (offset + 15 > c->IdtrLimit)
            return FailGate(c, Vector.Gp, vector);
        if (!SystemMemory.TryRead(c, c->IdtrBase + offset, out ulong raw) || !SystemMemory.TryRead(c, c->IdtrBase + offset + 8, out ulong upper))
            return false;
        var gate = new Descriptor(raw);
        if (gate.IsSegment || gate.Type is not (Descriptor.InterruptGate or Descriptor.TrapGate))
            return FailGate(c, Vector.Gp, vector);
        if (kind == PendingEventKind.SoftwareInterrupt && gate.Dpl < c->Cpl)
            return FailGate(c, Vector.Gp, vector);
        if (!gate.Present)
            return FailGate(c, Vector.Np, vector);
        ushort selector = gate.GateSelector;
        if (!TryFetchGateTarget(c, selector, out Descriptor code))
            return false;
        if (!code.IsLong || code.IsDefault32)
            return Segments.Fail(c, Vector.Gp, selector);
        ulong target = gate.GateOffset | (upper << 32);
        int cpl = code.IsConforming ? c->Cpl : code.Dpl;
        if (!TryChooseStack64(c, cpl, (int)(raw >> 32) & 7, out GuestStack stack))
            return false;
        if (!TryPushFrame64(c, ref stack, rip, flags, hasError, error))
            return false;
        if (!SystemMemory.IsCanonical(target))
            return Segments.FailZero(c, Vector.Gp);
        if (cpl != c->Cpl)
            Segments.SetNull(c, SegmentIndex.Ss, (ushort)cpl, cpl);
        FarTransfer.SetCode(c, selector, code, cpl);
        c->Gpr[4] = stack.Pointer;
        FinishProtected(c, gate.Type == Descriptor.InterruptGate);
        c->Rip = target;
        return true;
    }

    private static bool TryChooseStack64(CpuContext* c, int cpl, int ist, out GuestStack stack)
    {
        stack = default;
        ulong rsp = c->Gpr[4];
        if (ist != 0)
        {
            if (!TaskState.TryReadInterruptStack(c, ist, out rsp))
                return false;
        }
        else if (cpl != c->Cpl)
        {
            if (!TaskState.TryReadStack64(c, cpl, out rsp))
                return false;
        }
        else if (c->CodeBits != 64)
        {
            rsp &= c->StackMask;
        }
        stack = GuestStack.Long(c, rsp & ~15UL, cpl);
        return true;
    }

    private static bool TryPushFrame64(CpuContext* c, ref GuestStack stack, ulong rip, ulong flags, bool hasError, uint error)
        => stack.TryPush(c, c->Segments[SegmentIndex.Ss].Selector, 8)
            && stack.TryPush(c, c->Gpr[4], 8)
            && stack.TryPush(c, flags, 8)
            && stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, 8)
            && stack.TryPush(c, rip, 8)
            && (!hasError || stack.TryPush(c, error, 8));

    // TF, NT, RF and VM are cleared by every gate, IF by interrupt gates.
    private static void FinishProtected(CpuContext* c, bool interruptGate)
    {
        ulong cleared = Flags.Tf | Flags.Nt | Flags.Rf | Flags.Vm | (interruptGate ? Flags.If : 0);
        c->Rflags &= ~cleared;
        Mode.Update(c);
    }
}
