using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Reading stacks out of the task-state segment (SDM vol. 3, 8.2.1, 8.6 and 8.7).</summary>
internal static unsafe class TaskState
{
    /// <summary>Reads RSP0–2 of a 64-bit TSS.</summary>
    public static bool TryReadStack64(CpuContext* c, int cpl, out ulong rsp) => TryReadPointer(c, 4 + (8u * (uint)cpl), out rsp);

    /// <summary>Reads IST1–7 of a 64-bit TSS.</summary>
    public static bool TryReadInterruptStack(CpuContext* c, int ist, out ulong rsp) => TryReadPointer(c, 28 + (8u * (uint)ist), out rsp);

    /// <summary>Reads and checks the stack of an inner level from a 16- or 32-bit TSS: #TS, or #SS when it is not present.</summary>
    public static bool TryReadStack(CpuContext* c, int cpl, out SegmentCache ss, out ulong esp)
    {
        ss = default;
        esp = 0;
        ref SegmentCache tr = ref c->Segments[SegmentIndex.Tr];
        bool is32 = (tr.Attributes & 8) != 0;
        uint offset = is32 ? 4 + (8u * (uint)cpl) : 2 + (4u * (uint)cpl);
        // The processor asks for all of the ESP and SS fields: 8 bytes (with the reserved word left out) or 4.
        if (tr.Unusable != 0 || offset + (is32 ? 5u : 3u) > tr.Limit)
            return Segments.Fail(c, Vector.Ts, tr.Selector);
        ushort selector;
        if (is32)
        {
            if (!SystemMemory.TryRead(c, tr.Base + offset, out uint pointer) || !SystemMemory.TryRead(c, tr.Base + offset + 4, out selector))
                return false;
            esp = pointer;
        }
        else
        {
            if (!SystemMemory.TryRead(c, tr.Base + offset, out ushort pointer) || !SystemMemory.TryRead(c, tr.Base + offset + 2, out selector))
                return false;
            esp = pointer;
        }
        return Segments.TryCheckStack(c, selector, cpl, Vector.Ts, out ss);
    }

    private static bool TryReadPointer(CpuContext* c, uint offset, out ulong rsp)
    {
        rsp = 0;
        ref SegmentCache tr = ref c->Segments[SegmentIndex.Tr];
        if (tr.Unusable != 0 || offset + 7 > tr.Limit)
            return Segments.Fail(c, Vector.Ts, tr.Selector);
        if (!SystemMemory.TryRead(c, tr.Base + offset, out rsp))
            return false;
        return SystemMemory.IsCanonical(rsp) || Segments.FailZero(c, Vector.Ss);
    }
}
