using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Delivery of exceptions and interrupts through the IDT (SDM vol. 3, chapter 6).</summary>
internal static unsafe class Events
{
    /// <summary>
    /// Delivers the pending event (<see cref="CpuContext.PendingVector"/>), with RIP at <see cref="CpuContext.Rip"/>. Contributory faults on the way
    /// become #DF, and those the shutdown state (<see cref="CpuContext.MpState"/>).
    /// </summary>
    public static void DeliverPending(CpuContext* c) => throw new InvalidOperationException();

    /// <summary>Delivers an external interrupt.</summary>
    public static void DeliverInterrupt(CpuContext* c, byte vector) => throw new InvalidOperationException();

    /// <summary>Delivers an NMI and blocks further ones until IRET.</summary>
    public static void DeliverNmi(CpuContext* c) => throw new InvalidOperationException();
}
