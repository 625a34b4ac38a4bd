using Vmm.Core.Interrupts;

namespace Vmm.Devices.Pci;

/// <summary>A wire that several level-triggered INTx pins pull (PCI Local Bus 3.0, 2.2.6): asserted while at least one does.</summary>
internal sealed class SharedInterruptLine(IInterruptLine line)
{
    private readonly Lock _lock = new();
    private readonly InterruptPin _pin = new(line);
    private int _asserted;

    /// <summary>One pin changed. Call on changes only, with no lock held.</summary>
    public void Change(bool asserted)
    {
        lock (_lock)
        {
            _asserted += asserted ? 1 : -1;
            _pin.Set(_asserted > 0);
        }
        _pin.Flush();
    }

    /// <summary>Counts a restored pin without driving the wire.</summary>
    public void Restore(bool before, bool after)
    {
        lock (_lock)
        {
            _asserted += (after ? 1 : 0) - (before ? 1 : 0);
            _pin.Restore(_asserted > 0);
        }
    }
}
