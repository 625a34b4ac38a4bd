namespace Vmm.Core.Interrupts;

/// <summary>
/// A wire from a device to an interrupt controller. The board decides what stands behind it. Any thread may drive it; the
/// implementation serializes. A device drives a line only when its level changes, and never holds a lock of its own that it
/// also takes in a register access while doing so.
/// </summary>
public interface IInterruptLine
{
    /// <summary>Drives the wire.</summary>
    /// <param name="asserted">True asserts the interrupt, whatever the electrical polarity is.</param>
    void SetLevel(bool asserted);
}

/// <summary>Conveniences on <see cref="IInterruptLine"/>.</summary>
public static class InterruptLineExtensions
{
    /// <summary>Asserts and deasserts: one edge.</summary>
    public static void Pulse(this IInterruptLine line)
    {
        line.SetLevel(true);
        line.SetLevel(false);
    }
}

/// <summary>A message-signalled interrupt: a 32-bit write to the local APICs' address range (Intel SDM vol. 3, 11.11).</summary>
/// <param name="Address">Message address, 0xFEExxxxx for a local APIC.</param>
/// <param name="Data">Message data: vector, delivery mode, trigger mode.</param>
public readonly record struct MsiMessage(ulong Address, uint Data);

/// <summary>Takes message-signalled interrupts: the managed local APICs, or KVM.</summary>
public interface IMsiSink
{
    /// <summary>Delivers a message. Any thread.</summary>
    void Send(MsiMessage message);
}
