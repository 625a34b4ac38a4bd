using Vmm.Core.Interrupts;

namespace Vmm.Devices;

/// <summary>
/// The interrupt pin of a device that has a lock. The device sets the pin's level under its lock; the wire behind it is driven by
/// <see cref="Flush"/> after the lock is released. Edges keep their order and a short low pulse between two high levels is not
/// lost, whichever threads flush.
/// </summary>
internal sealed class InterruptPin
{
    private readonly IInterruptLine _line;

    // Both count edges; an odd number means asserted. The device owns the first, the thread that flushes owns the second.
    private uint _edgesSet;
    private uint _edgesDriven;
    private int _flushing;

    /// <summary>Makes a pin at the low level.</summary>
    public InterruptPin(IInterruptLine line)
    {
        _line = line;
    }

    /// <summary>The level last set.</summary>
    public bool Level => (Volatile.Read(ref _edgesSet) & 1) != 0;

    /// <summary>Sets the level. Only under the device's lock; nothing is driven before <see cref="Flush"/>.</summary>
    public void Set(bool asserted)
    {
        if (asserted != ((_edgesSet & 1) != 0))
            Volatile.Write(ref _edgesSet, _edgesSet + 1);
    }

    /// <summary>Makes sure that the wire sees a rising edge, and leaves the pin high. As <see cref="Set"/>.</summary>
    public void Raise()
    {
        Set(false);
        Set(true);
    }

    /// <summary>Drives the wire to the level last set, with the device's lock released.</summary>
    public void Flush()
    {
        if (Volatile.Read(ref _edgesSet) == Volatile.Read(ref _edgesDriven))
            return;
        // One thread drives at a time; one that finds another at work leaves a note for it, so that edges stay in order.
        if (Interlocked.Increment(ref _flushing) != 1)
            return;
        int seen = 1;
        do
        {
            Drive();
            seen = Interlocked.Add(ref _flushing, -seen);
        }
        while (seen != 0);
    }

    /// <summary>Puts the level of a snapshot back without driving the wire: the interrupt controller restores its own view of it.</summary>
    public void Restore(bool asserted)
    {
        _edgesSet = _edgesDriven = asserted ? 1u : 0u;
    }

    private void Drive()
    {
        uint target = Volatile.Read(ref _edgesSet);
        // Of many edges only the last pulse matters; pairs before it are left out.
        uint behind = target - _edgesDriven;
        if (behind > 2)
            _edgesDriven += (behind - 1) & ~1u;
        while (_edgesDriven != target)
        {
            _line.SetLevel((_edgesDriven & 1) == 0);
            Volatile.Write(ref _edgesDriven, _edgesDriven + 1);
        }
    }
}
