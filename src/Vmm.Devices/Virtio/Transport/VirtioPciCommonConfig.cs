using Vmm.Devices.Virtio.Queues;

namespace Vmm.Devices.Virtio.Transport;

/// <summary>
/// The common configuration structure (virtio 1.2, 4.1.4.3, struct virtio_pci_common_cfg). Fields are read and written with their own
/// width, 64-bit ones also by halves; anything else reads as zero and is dropped.
/// </summary>
internal sealed class VirtioPciCommonConfig(VirtioDevice device, int vectors)
{
    public const int Length = 60;

    private const int DeviceFeatureSelect = 0, DeviceFeature = 4, DriverFeatureSelect = 8, DriverFeature = 12;
    private const int ConfigMsixVector = 16, NumQueues = 18, DeviceStatus = 20, ConfigGeneration = 21, QueueSelect = 22;
    private const int QueueSize = 24, QueueMsixVector = 26, QueueEnable = 28, QueueNotifyOff = 30;
    private const int QueueDesc = 32, QueueDriver = 40, QueueDevice = 48, QueueReset = 58;

    private uint _deviceFeatureSelect;
    private uint _driverFeatureSelect;
    private ushort _queueSelect;
    private ushort _configVector = Virtqueue.NoVector;

    /// <summary>MSI-X vector of configuration changes, or 0xFFFF.</summary>
    public ushort ConfigVector => Volatile.Read(ref _configVector);

    private Virtqueue? Selected => _queueSelect < device.Queues.Length ? device.Queues[_queueSelect] : null;

    public uint Read(int offset, int size)
    {
        switch (offset, size)
        {
            case (DeviceFeatureSelect, 4):
                return _deviceFeatureSelect;
            case (DeviceFeature, 4):
                return _deviceFeatureSelect > 1 ? 0 : (uint)(device.OfferedFeatures >> (32 * (int)_deviceFeatureSelect));
            case (DriverFeatureSelect, 4):
                return _driverFeatureSelect;
            case (DriverFeature, 4):
                return _driverFeatureSelect > 1 ? 0 : device.ReadDriverFeatures((int)_driverFeatureSelect);
            case (ConfigMsixVector, 2):
                return ConfigVector;
            case (NumQueues, 2):
                return (uint)device.Queues.Length;
            case (DeviceStatus, 1):
                return device.Status;
            case (ConfigGeneration, 1):
                return device.Generation;
            case (QueueSelect, 2):
                return _queueSelect;
            default:
                return Selected is { } queue ? ReadQueue(queue, offset, size) : 0;
        }
    }

    public void Write(int offset, int size, uint value)
    {
        switch (offset, size)
        {
            case (DeviceFeatureSelect, 4):
                _deviceFeatureSelect = value;
                break;
            case (DriverFeatureSelect, 4):
                _driverFeatureSelect = value;
                break;
            case (DriverFeature, 4) when _driverFeatureSelect <= 1:
                device.WriteDriverFeatures((int)_driverFeatureSelect, value);
                break;
            case (ConfigMsixVector, 2):
                Volatile.Write(ref _configVector, Vector(value));
                break;
            case (DeviceStatus, 1):
                device.WriteStatus((byte)value);
                break;
            case (QueueSelect, 2):
                _queueSelect = (ushort)value;
                break;
            default:
                if (Selected is { } queue)
                    WriteQueue(queue, offset, size, value);
                break;
        }
    }

    public void Reset()
    {
        _deviceFeatureSelect = _driverFeatureSelect = 0;
        _queueSelect = 0;
        Volatile.Write(ref _configVector, Virtqueue.NoVector);
    }

    public uint[] Capture() => [_deviceFeatureSelect, _driverFeatureSelect, _queueSelect, _configVector];

    public bool TryRestore(uint[] state)
    {
        if (state.Length != 4 || state[2] > ushort.MaxValue || state[3] != Vector(state[3]))
            return false;
        (_deviceFeatureSelect, _driverFeatureSelect, _queueSelect, _configVector) = (state[0], state[1], (ushort)state[2], (ushort)state[3]);
        return true;
    }

    // A vector that does not exist reads back as none (4.1.5.1.2.1).
    private ushort Vector(uint value) => value < (uint)vectors ? (ushort)value : Virtqueue.NoVector;

    private uint ReadQueue(Virtqueue queue, int offset, int size) => (offset, size) switch
    {
        (QueueSize, 2) => device.ReadQueue(queue, static q => q.Size),
        (QueueMsixVector, 2) => device.ReadQueue(queue, static q => q.Vector),
        (QueueEnable, 2) => device.ReadQueue(queue, static q => q.Ring is null ? 0u : 1u),
        (QueueNotifyOff, 2) => (uint)queue.Index,
        (QueueDesc, 4) => device.ReadQueue(queue, static q => (uint)q.Descriptors),
        (QueueDesc + 4, 4) => device.ReadQueue(queue, static q => (uint)(q.Descriptors >> 32)),
        (QueueDriver, 4) => device.ReadQueue(queue, static q => (uint)q.Driver),
        (QueueDriver + 4, 4) => device.ReadQueue(queue, static q => (uint)(q.Driver >> 32)),
        (QueueDevice, 4) => device.ReadQueue(queue, static q => (uint)q.Device),
        (QueueDevice + 4, 4) => device.ReadQueue(queue, static q => (uint)(q.Device >> 32)),
        (QueueReset, 2) => device.ReadQueue(queue, static q => q.ResetPending ? 1u : 0u),
        _ => 0,
    };

    private void WriteQueue(Virtqueue queue, int offset, int size, uint value)
    {
        switch (offset, size)
        {
            case (QueueSize, 2):
                device.UpdateQueue(queue, static (q, v) => q.Size = v <= q.MaxSize ? (ushort)v : q.Size, value);
                break;
            case (QueueMsixVector, 2):
                device.SetQueueVector(queue, Vector(value));
                break;
            case (QueueEnable, 2) when value == 1:
                device.EnableQueue(queue);
                break;
            case (QueueDesc, 4):
                device.UpdateQueue(queue, static (q, v) => q.Descriptors = Low(q.Descriptors, v), value);
                break;
            case (QueueDesc + 4, 4):
                device.UpdateQueue(queue, static (q, v) => q.Descriptors = High(q.Descriptors, v), value);
                break;
            case (QueueDriver, 4):
                device.UpdateQueue(queue, static (q, v) => q.Driver = Low(q.Driver, v), value);
                break;
            case (QueueDriver + 4, 4):
                device.UpdateQueue(queue, static (q, v) => q.Driver = High(q.Driver, v), value);
                break;
            case (QueueDevice, 4):
                device.UpdateQueue(queue, static (q, v) => q.Device = Low(q.Device, v), value);
                break;
            case (QueueDevice + 4, 4):
                device.UpdateQueue(queue, static (q, v) => q.Device = High(q.Device, v), value);
                break;
            case (QueueReset, 2) when value == 1:
                device.ResetQueue(queue);
                break;
        }
    }

    private static ulong Low(ulong old, ulong value) => (old & ~(ulong)uint.MaxValue) | value;

    private static ulong High(ulong old, ulong value) => (uint)old | value << 32;
}
