using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Delivery of exceptions and interrupts through the IDT (SDM vol. 3, chapter 6). Nothing is committed before all checks have passed.</summary>
internal static unsafe partial class Events
{
    /// <summary>
    /// Delivers the pending event (<see cref="CpuContext.PendingVector"/>), with RIP at <see cref="CpuContext.Rip"/>. Contributory faults on the way
    /// become #DF, and those the shutdown state (<see cref="CpuContext.MpState"/>).
    /// </summary>
    public static void DeliverPending(CpuContext* c)
    {
        // A failed delivery escalates: benign, contributory, double fault, shutdown; so this ends.
        while (true)
        {
            int vector = c->PendingVector;
            int kind = c->PendingKind;
            uint error = c->PendingErrorCode;
            bool hasError = c->PendingHasErrorCode != 0;
            if (TryDeliver(c, vector, kind, hasError, error, c->Rip))
                return;
            if (kind != PendingEventKind.Exception || !Escalate(c, vector))
                continue;
            c->PendingVector = -1;
            c->MpState = (int)Core.Cpu.MpState.Shutdown;
            return;
        }
    }

    /// <summary>Delivers an external interrupt.</summary>
    public static void DeliverInterrupt(CpuContext* c, byte vector)
    {
        if (!TryDeliver(c, vector, PendingEventKind.External, hasError: false, 0, c->Rip))
            DeliverPending(c);
    }

    /// <summary>Delivers an NMI and blocks further ones until IRET.</summary>
    public static void DeliverNmi(CpuContext* c)
    {
        c->NmiBlocked = 1;
        if (!TryDeliver(c, Vector.Nmi, PendingEventKind.External, hasError: false, 0, c->Rip))
            DeliverPending(c);
    }

    /// <summary>Delivers one event, in any mode.</summary>
    /// <param name="c">The CPU.</param>
    /// <param name="vector">0–255.</param>
    /// <param name="kind">One of <see cref="PendingEventKind"/>.</param>
    /// <param name="hasError">An error code is pushed (never in real mode).</param>
    /// <param name="error">The error code.</param>
    /// <param name="rip">The return address to push.</param>
    /// <returns>False with another exception pending; then no register has changed.</returns>
    public static bool TryDeliver(CpuContext* c, int vector, int kind, bool hasError, uint error, ulong rip)
    {
        ulong flags = Flags.GetRflags(c);
        // Faults restart their instruction with RF set, so that an instruction breakpoint does not hit again (vol. 3, 18.3.1.1).
        if (kind == PendingEventKind.Exception && vector != Vector.Db && vector != Vector.Df)
            flags |= Flags.Rf;
        c->PendingVector = -1;
        bool done;
        if (Mode.IsLong(c))
            done = TryDeliver64(c, vector, kind, hasError, error, rip, flags);
        else if ((c->Cr0 & Mode.Cr0Pe) == 0)
            done = TryDeliverReal(c, vector, rip, flags);
        else
            done = TryDeliverProtected(c, vector, kind, hasError, error, rip, flags);
        if (done)
        {
            c->PendingVector = -1;
            c->Shadow = 0;
            c->PendingNonCanonical = 0;
            c->StepTrapCancelled = 1;
            // A trap behind HLT ends it.
            if (c->MpState == (int)Core.Cpu.MpState.Halted)
                c->MpState = (int)Core.Cpu.MpState.Runnable;
            if (vector == Vector.Db)
                c->Dr7 &= ~Debugging.GeneralDetect;
            return true;
        }
        c->PendingNonCanonical = 0;
        // The EXT bit: the event did not come from an INT n of the program (vol. 3, 6.13).
        if (kind != PendingEventKind.SoftwareInterrupt && c->PendingVector is Vector.Ts or Vector.Np or Vector.Ss or Vector.Gp)
            c->PendingErrorCode |= 1;
        return false;
    }

    /// <summary>
    /// Decides what becomes of a fault (now pending) that the delivery of an exception raised: vol. 3, table 6-5.
    /// </summary>
    /// <returns>True when the processor shuts down.</returns>
    private static bool Escalate(CpuContext* c, int first)
    {
        int second = c->PendingVector;
        bool secondSerious = IsContributory(second) || second == Vector.Pf;
        if (first == Vector.Df)
            return secondSerious;
        if ((IsContributory(first) && IsContributory(second)) || (first == Vector.Pf && secondSerious))
            Flow.SetPending(c, Vector.Df, 0);
        return false;
    }

    private static bool IsContributory(int vector) => vector is Vector.De or Vector.Ts or Vector.Np or Vector.Ss or Vector.Gp;

    // Real mode: a far pointer at IDTR.base + 4 * vector (vol. 3, 21.1.4). No error codes.
    private static bool TryDeliverReal(CpuContext* c, int vector, ulong rip, ulong flags)
    {
        uint offset = (uint)vector * 4;
        if (offset + 3 > c->IdtrLimit)
            return Segments.FailZero(c, Vector.Gp);
        if (!SystemMemory.TryRead(c, c->IdtrBase + offset, out uint pointer))
            return false;
        var stack = GuestStack.Current(c);
        if (!stack.TryPush(c, flags, 2) || !stack.TryPush(c, c->Segments[SegmentIndex.Cs].Selector, 2) || !stack.TryPush(c, rip, 2))
            return false;
        stack.CommitPointer(c);
        Flags.SetRflags(c, Flags.GetRflags(c) & ~(Flags.If | Flags.Tf | Flags.Ac | Flags.Rf));
        Segments.SetReal(c, SegmentIndex.Cs, (ushort)(pointer >> 16));
        Mode.Update(c);
        c->Rip = (ushort)pointer;
        return true;
    }

    // The error code that names an IDT entry.
    private static bool FailGate(CpuContext* c, int exception, int vector)
    {
        Flow.SetPending(c, exception, ((uint)vector * 8) | 2);
        return false;
    }

    // Fetches the code segment of a gate and checks it; DPL above the CPL is refused, the rest is the caller's.
    private static bool TryFetchGateTarget(CpuContext* c, ushort selector, out Descriptor d)
    {
        d = default;
        if ((selector & 0xFFFC) == 0)
            return Segments.FailZero(c, Vector.Gp);
        if (!Segments.TryFetch(c, selector, Vector.Gp, out d))
            return false;
        if (!d.IsCode || d.Dpl > c->Cpl)
            return Segments.Fail(c, Vector.Gp, selector);
        if (!d.Present)
            return Segments.Fail(c, Vector.Np, selector);
        return Segments.TryMarkAccessed(c, selector, ref d);
    }
}
