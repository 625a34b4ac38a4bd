using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Chipset;

/// <summary>
/// System control port A, port 0x92, RW (IBM PS/2 hardware reference; Intel ICH "fast A20 and INIT register"). Bit 0: a change from 0 to 1
/// resets. Bit 1: A20 gate; kept for the guest to read back, the address line itself is always open. Other bits are kept.
/// </summary>
public sealed class SystemControlPortA : ByteWideDevice, IResettable, ISnapshotable<byte>
{
    /// <summary>The port.</summary>
    public const ushort Port = 0x92;

    private const int FastReset = 0x01;
    private const int A20Gate = 0x02;

    private readonly IMachineControl _control;
    private int _value = A20Gate;

    /// <summary>Makes the port.</summary>
    public SystemControlPortA(IMachineControl control)
    {
        _control = control;
    }

    /// <summary>Puts it on the port bus.</summary>
    public BusMapping Map(Bus ports) => ports.Map("port-92", Port, 1, this);

    /// <inheritdoc/>
    public void Reset() => _value = A20Gate;

    /// <inheritdoc/>
    public byte Capture() => (byte)_value;

    /// <inheritdoc/>
    public void Restore(byte state) => _value = state;

    /// <inheritdoc/>
    protected override byte ReadByte(uint offset) => (byte)Volatile.Read(ref _value);

    /// <inheritdoc/>
    protected override void WriteByte(uint offset, byte value)
    {
        int old = Interlocked.Exchange(ref _value, value);
        if ((value & ~old & FastReset) != 0)
            _control.Request(new MachineRequest(MachineRequestKind.Reset));
    }
}
