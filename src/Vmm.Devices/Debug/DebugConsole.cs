using Vmm.Core.Buses;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Debug;

/// <summary>
/// The debug console of Bochs and QEMU (isa-debugcon): each byte written to port 0xE9 or 0x402 is output. Both read 0xE9, by which firmware
/// finds it. It cannot hold the guest up, so what a slow backend has no room for is lost.
/// </summary>
public sealed class DebugConsole : ByteWideDevice, ICharacterFrontend
{
    /// <summary>The port of Bochs.</summary>
    public const ushort BochsPort = 0xE9;

    /// <summary>The port of SeaBIOS and OVMF.</summary>
    public const ushort FirmwarePort = 0x402;

    private const byte Present = 0xE9;

    private readonly ICharacterBackend _backend;

    /// <summary>Makes the device and attaches it to its backend, which stays the caller's to dispose.</summary>
    public DebugConsole(ICharacterBackend backend)
    {
        _backend = backend;
        backend.Attach(this);
    }

    /// <summary>Puts it on the port bus, at both ports.</summary>
    public void Map(Bus ports)
    {
        ports.Map("debugcon-e9", BochsPort, 1, this);
        ports.Map("debugcon-402", FirmwarePort, 1, this);
    }

    /// <inheritdoc/>
    void ICharacterFrontend.InputAvailable()
    {
        // Output only.
    }

    /// <inheritdoc/>
    void ICharacterFrontend.OutputReady()
    {
        // Nothing is held back.
    }

    /// <inheritdoc/>
    protected override byte ReadByte(uint offset) => Present;

    /// <inheritdoc/>
    protected override void WriteByte(uint offset, byte value) => _backend.TryWrite(value);
}
