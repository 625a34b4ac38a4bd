using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// An 82093AA-compatible I/O APIC of 24 pins, version 0x20. Maps 4 KiB of MMIO; sends its messages as MSIs. Pins may be driven from
/// any thread.
/// </summary>
public sealed class IoApic : IBusDevice, IEoiListener, IResettable, ISnapshotable<IoApicState>
{
    /// <summary>Where a PC has its first I/O APIC.</summary>
    public const ulong DefaultBase = 0xFEC00000;

    /// <summary>Bytes of MMIO.</summary>
    public const ulong RegisterLength = 0x1000;

    /// <summary>Interrupt inputs.</summary>
    public const int PinCount = IoApicChip.PinCount;

    private const ulong OffsetSelect = 0x00;
    private const ulong OffsetWindow = 0x10;
    private const ulong OffsetEoi = 0x40;

    private readonly IoApicChip _chip = new();
    private readonly Lock _lock = new();
    private readonly IMsiSink _sink;

    /// <summary>Makes the I/O APIC in its reset state.</summary>
    /// <param name="sink">Takes its messages.</param>
    public IoApic(IMsiSink sink)
    {
        ArgumentNullException.ThrowIfNull(sink);
        _sink = sink;
    }

    /// <summary>Puts the registers on the MMIO bus.</summary>
    public void Map(Bus mmio, ulong address = DefaultBase)
    {
        ArgumentNullException.ThrowIfNull(mmio);
        mmio.Map("I/O APIC", address, RegisterLength, this);
    }

    /// <summary>Drives a pin.</summary>
    public void SetPin(int pin, bool asserted)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(pin);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(pin, PinCount);
        lock (_lock)
            _chip.SetPin(pin, asserted);
        SendMessages();
    }

    /// <inheritdoc/>
    public void EndOfInterrupt(byte vector)
    {
        lock (_lock)
            _chip.EndOfInterrupt(vector);
        SendMessages();
    }

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        lock (_lock)
        {
            return offset switch
            {
                OffsetSelect => _chip.Select,
                OffsetWindow => _chip.ReadWindow(),
                _ => 0,
            };
        }
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case OffsetSelect:
                    _chip.Select = (byte)value;
                    return;
                case OffsetWindow when size >= 4:
                    _chip.WriteWindow((uint)value);
                    break;
                case OffsetEoi:
                    _chip.EndOfInterrupt((byte)value);
                    break;
                default:
                    return;
            }
        }
        SendMessages();
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
            _chip.Reset();
    }

    /// <inheritdoc/>
    public IoApicState Capture()
    {
        lock (_lock)
            return _chip.Capture();
    }

    /// <inheritdoc/>
    public void Restore(IoApicState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
            _chip.Restore(state);
    }

    // Each pin is taken under the lock and sent outside of it; at most one message a pin is waiting.
    private void SendMessages()
    {
        for (int i = 0; i < PinCount; i++)
        {
            MsiMessage message;
            lock (_lock)
            {
                if (!_chip.TryTakeMessage(out message))
                    return;
            }
            _sink.Send(message);
        }
    }
}
