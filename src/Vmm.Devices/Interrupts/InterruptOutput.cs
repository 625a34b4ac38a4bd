using Vmm.Core.Interrupts;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// Carries a device's level from under its lock to a line outside of it. The level is set with the lock held and driven by
/// <see cref="Flush"/> without; when threads race, the line ends at the level set last.
/// </summary>
internal sealed class InterruptOutput(IInterruptLine line)
{
    private int _wanted;
    private int _pulses;
    private int _driven;
    private int _draining;

    /// <summary>The level set last.</summary>
    public bool Level => Volatile.Read(ref _wanted) != 0;

    /// <summary>Sets the level. Under the device's lock.</summary>
    public void Set(bool asserted) => Volatile.Write(ref _wanted, asserted ? 1 : 0);

    /// <summary>Makes sure that the line sees a rising edge before it takes the level set last. Edges not yet driven merge.</summary>
    public void RaiseEdge() => Volatile.Write(ref _pulses, 1);

    /// <summary>Drives the line. Without any lock of the device.</summary>
    public void Flush()
    {
        while (Volatile.Read(ref _wanted) != Volatile.Read(ref _driven) || Volatile.Read(ref _pulses) != 0)
        {
            // Whoever is driving looks again after letting go, so this level is not lost.
            if (Interlocked.CompareExchange(ref _draining, 1, 0) != 0)
                return;
            Drive();
            Interlocked.Exchange(ref _draining, 0);
        }
    }

    private void Drive()
    {
        if (Interlocked.Exchange(ref _pulses, 0) != 0)
        {
            if (_driven != 0)
                line.SetLevel(false);
            line.SetLevel(true);
            Volatile.Write(ref _driven, 1);
        }
        int wanted = Volatile.Read(ref _wanted);
        if (wanted == _driven)
            return;
        line.SetLevel(wanted != 0);
        Volatile.Write(ref _driven, wanted);
    }
}
