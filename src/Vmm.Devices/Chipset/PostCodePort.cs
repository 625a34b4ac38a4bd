using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Chipset;

/// <summary>
/// Port 0x80: firmware writes progress codes to it, and guests write to it to wait about a microsecond. It reads back what was written,
/// as the spare DMA page register that it is on a PC/AT.
/// </summary>
public sealed class PostCodePort : ByteWideDevice, IResettable, ISnapshotable<byte>
{
    /// <summary>The port.</summary>
    public const ushort Port = 0x80;

    private volatile byte _last;

    /// <summary>The code last written.</summary>
    public byte LastCode => _last;

    /// <summary>Puts it on the port bus.</summary>
    public BusMapping Map(Bus ports) => ports.Map("post-80", Port, 1, this);

    /// <inheritdoc/>
    public void Reset() => _last = 0;

    /// <inheritdoc/>
    public byte Capture() => _last;

    /// <inheritdoc/>
    public void Restore(byte state) => _last = state;

    /// <inheritdoc/>
    protected override byte ReadByte(uint offset) => _last;

    /// <inheritdoc/>
    protected override void WriteByte(uint offset, byte value) => _last = value;
}
