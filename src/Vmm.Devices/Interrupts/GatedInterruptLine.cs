using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Interrupts;

/// <summary>State of a gate.</summary>
public sealed record GatedInterruptLineState(bool Asserted, bool Connected);

/// <summary>A line that can be cut: what the HPET's legacy replacement does to those of the PIT and the RTC.</summary>
public sealed class GatedInterruptLine : IInterruptLine, ISnapshotable<GatedInterruptLineState>
{
    private readonly Lock _lock = new();
    private readonly IInterruptLine _line;
    private bool _asserted;
    private bool _connected = true;

    /// <summary>Makes the gate, connected.</summary>
    public GatedInterruptLine(IInterruptLine line) => _line = line;

    /// <summary>Whether the device's level reaches the line.</summary>
    public bool Connected
    {
        get => _connected;
        set
        {
            lock (_lock)
            {
                if (_connected == value)
                    return;
                _connected = value;
                if (_asserted)
                    _line.SetLevel(value);
            }
        }
    }

    /// <inheritdoc/>
    public void SetLevel(bool asserted)
    {
        lock (_lock)
        {
            _asserted = asserted;
            if (_connected)
                _line.SetLevel(asserted);
        }
    }

    /// <inheritdoc/>
    public GatedInterruptLineState Capture()
    {
        lock (_lock)
            return new GatedInterruptLineState(_asserted, _connected);
    }

    /// <inheritdoc/>
    public void Restore(GatedInterruptLineState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
            (_asserted, _connected) = (state.Asserted, state.Connected);
    }
}
