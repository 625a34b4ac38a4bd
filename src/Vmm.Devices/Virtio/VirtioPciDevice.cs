using System.Buffers.Binary;
using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Pci;
using Vmm.Devices.Virtio.Queues;
using Vmm.Devices.Virtio.Transport;

namespace Vmm.Devices.Virtio;

/// <summary>What a snapshot holds of a virtio device on PCI.</summary>
/// <param name="Version">1.</param>
/// <param name="Function">The PCI function.</param>
/// <param name="Device">The device behind it.</param>
/// <param name="Selectors">Feature selectors, queue selector and configuration vector.</param>
/// <param name="IsrStatus">Interrupt status.</param>
public sealed record VirtioPciState(int Version, PciFunctionState Function, VirtioDeviceState Device, uint[] Selectors, byte IsrStatus);

/// <summary>
/// A virtio device on PCI without the legacy interface (virtio 1.2, 4.1): BAR 0 holds the common, ISR, device and notification
/// structures, BAR 1 the MSI-X table with a vector for each queue and one for configuration changes.
/// </summary>
public sealed class VirtioPciDevice : PciFunction, IVirtioTransport, IBusDevice, ISnapshotable<VirtioPciState>
{
    private const ushort VirtioVendor = 0x1AF4;
    private const ushort FirstModernDevice = 0x1040;
    private const ushort SubsystemId = 0x1100;
    private const byte ModernRevision = 1;

    private const int CommonOffset = 0x0000, IsrOffset = 0x1000, DeviceOffset = 0x2000, NotifyOffset = 0x3000;
    private const int PageLength = 0x1000;
    private const ulong BarLength = 0x4000;
    private const int NotifyMultiplier = 4;

    // Structure types (4.1.4).
    private const byte CommonType = 1, NotifyType = 2, IsrType = 3, DeviceType = 4, PciAccessType = 5;

    private const byte IsrQueue = 1, IsrConfig = 2;

    private readonly VirtioDevice _device;
    private readonly VirtioPciCommonConfig _common;
    private readonly int _windowOffset;
    private int _isr;

    /// <summary>Gives a device its place on PCI and owns it from now on.</summary>
    /// <param name="msiSink">Where MSI-X messages go: <see cref="PciBus.MsiSink"/>.</param>
    /// <param name="device">The device.</param>
    public VirtioPciDevice(IMsiSink msiSink, VirtioDevice device)
        : base(device.Name, Identity(device), interruptPin: 1)
    {
        _device = device;
        int vectors = device.Queues.Length + 1;
        _common = new VirtioPciCommonConfig(device, vectors);
        AddBar(0, PciBarKind.Memory32, BarLength, this);
        AddMsix(1, new MsixTable(msiSink, vectors));
        AddStructure(CommonType, CommonOffset, VirtioPciCommonConfig.Length);
        AddStructure(NotifyType, NotifyOffset, device.Queues.Length * NotifyMultiplier, NotifyMultiplier);
        AddStructure(IsrType, IsrOffset, 1);
        if (device.ConfigLength != 0)
            AddStructure(DeviceType, DeviceOffset, device.ConfigLength);
        _windowOffset = AddStructure(PciAccessType, 0, 0);
        device.Attach(this);
    }

    bool IVirtioTransport.CanAccessMemory => IsBusMaster;

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        if (size == 8)
            return (uint)Read(offset, 4) | Read(offset + 4, 4) << 32;
        int register = (int)(offset % PageLength);
        return (offset / PageLength) switch
        {
            CommonOffset / PageLength => _common.Read(register, size),
            IsrOffset / PageLength => register == 0 ? ReadIsr() : 0u,
            DeviceOffset / PageLength => _device.ReadConfig(register, size),
            _ => 0u,
        };
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        if (size == 8)
        {
            Write(offset, 4, (uint)value);
            Write(offset + 4, 4, value >> 32);
            return;
        }
        int register = (int)(offset % PageLength);
        switch (offset / PageLength)
        {
            case CommonOffset / PageLength:
                _common.Write(register, size, (uint)value);
                break;
            case DeviceOffset / PageLength:
                _device.WriteConfig(register, size, (uint)value);
                break;
            case NotifyOffset / PageLength:
                _device.Kick(register / NotifyMultiplier);
                break;
        }
    }

    /// <inheritdoc/>
    public override void Pause() => _device.Pause();

    /// <inheritdoc/>
    public override void Resume() => _device.Resume();

    /// <inheritdoc/>
    public override void Reset()
    {
        _device.ResetAndWait();
        base.Reset();
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        _device.Dispose();
    }

    /// <inheritdoc/>
    public VirtioPciState Capture() => new(1, CaptureFunction(), _device.Capture(), _common.Capture(), (byte)_isr);

    /// <inheritdoc/>
    public void Restore(VirtioPciState state)
    {
        if (state.Version != 1 || (state.IsrStatus & ~(IsrQueue | IsrConfig)) != 0 || !_common.TryRestore(state.Selectors))
            throw new InvalidDataException($"The state is not one of {Name}.");
        _isr = state.IsrStatus;
        RestoreFunction(state.Function);
        _device.Restore(state.Device);
    }

    void IVirtioTransport.NotifyQueue(Virtqueue queue) => Interrupt(queue.Vector, IsrQueue);

    void IVirtioTransport.NotifyConfig() => Interrupt(_common.ConfigVector, IsrConfig);

    void IVirtioTransport.OnDeviceReset()
    {
        _common.Reset();
        Interlocked.Exchange(ref _isr, 0);
        SetInterrupt(false);
    }

    /// <inheritdoc/>
    protected internal override uint ReadConfig(int offset, int size)
    {
        if (IsWindow(offset) && TryGetWindow(out uint register, out int length))
        {
            ulong value = Read(register, length);
            return (uint)(value >> (8 * (offset & 3))) & (uint.MaxValue >> (32 - 8 * size));
        }
        return base.ReadConfig(offset, size);
    }

    /// <inheritdoc/>
    protected internal override void WriteConfig(int offset, int size, uint value)
    {
        if (!IsWindow(offset))
            base.WriteConfig(offset, size, value);
        else if ((offset & 3) == 0 && TryGetWindow(out uint register, out int length))
            Write(register, length, value & (uint.MaxValue >> (32 - 8 * length)));
    }

    /// <inheritdoc/>
    protected override void OnBusMasterEnabled() => _device.KickAll();

    private static PciIdentity Identity(VirtioDevice device) => new(
        VirtioVendor,
        (ushort)(FirstModernDevice + device.DeviceType),
        device.PciClassCode,
        ModernRevision,
        VirtioVendor,
        SubsystemId);

    // struct virtio_pci_cap (4.1.4); the notification structure has its multiplier behind, the access window its data.
    private int AddStructure(byte type, int offset, int length, int multiplier = 0)
    {
        bool window = type == PciAccessType;
        byte[] body = new byte[type == NotifyType || window ? 18 : 14];
        byte[] writable = new byte[body.Length];
        body[0] = (byte)(body.Length + 2);
        body[1] = type;
        BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(6), offset);
        BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(10), length);
        if (type == NotifyType)
            BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(14), multiplier);
        if (window)
        {
            writable[2] = 0xFF;
            writable.AsSpan(6, 8).Fill(0xFF);
        }
        return Config.AddCapability(PciRegisters.CapabilityVendor, body, writable);
    }

    private bool IsWindow(int offset) => offset >= _windowOffset + 16 && offset < _windowOffset + 20;

    // The driver reaches BAR 0 through configuration space (4.1.4.9): length 1, 2 or 4, aligned, within the BAR.
    private bool TryGetWindow(out uint register, out int length)
    {
        uint bar = base.ReadConfig(_windowOffset + 4, 1);
        register = base.ReadConfig(_windowOffset + 8, 4);
        length = (int)base.ReadConfig(_windowOffset + 12, 4);
        return bar == 0 && (length is 1 or 2 or 4) && register % length == 0 && register < BarLength;
    }

    private uint ReadIsr()
    {
        uint value = (uint)Interlocked.Exchange(ref _isr, 0);
        // A cause may have come since: the pin follows what is there now, so that none is lost.
        SetInterrupt(Volatile.Read(ref _isr) != 0);
        return value;
    }

    private void Interrupt(ushort vector, int cause)
    {
        if (Msix!.Enabled)
        {
            if (vector != Virtqueue.NoVector)
                Msix.Signal(vector);
            return;
        }
        Interlocked.Or(ref _isr, cause);
        SetInterrupt(true);
    }
}
