using Vmm.Core.Interrupts;

namespace Vmm.Devices.Pci;

/// <summary>
/// MSI with 64-bit address and per-vector masking (PCI Local Bus 3.0, 6.8.1). Its registers live in the configuration space, under
/// the function's lock.
/// </summary>
internal sealed class MsiCapability
{
    private const int Control = 2, AddressLow = 4, AddressHigh = 8, Data = 12, Mask = 16, Pending = 20;
    private const int ControlEnable = 1;
    private const int Control64Bit = 1 << 7;
    private const int ControlMaskable = 1 << 8;

    private readonly PciConfigSpace _config;
    private readonly int _offset;
    private readonly int _log2Vectors;

    /// <summary>Adds the capability.</summary>
    /// <param name="config">Configuration space.</param>
    /// <param name="log2Vectors">Vectors, as a power of two: 0 to 5.</param>
    public MsiCapability(PciConfigSpace config, int log2Vectors)
    {
        _config = config;
        _log2Vectors = log2Vectors;
        int control = Control64Bit | ControlMaskable | log2Vectors << 1;
        uint vectors = uint.MaxValue >> (32 - (1 << log2Vectors));
        byte[] body = new byte[22];
        byte[] writable = new byte[22];
        (body[0], body[1]) = ((byte)control, (byte)(control >> 8));
        writable[0] = ControlEnable | 7 << 4;
        writable[2] = 0xFC;
        writable.AsSpan(3, 9).Fill(0xFF);
        writable.AsSpan(10, 2).Fill(0xFF);
        for (int i = 0; i < 4; i++)
            writable[Mask - 2 + i] = (byte)(vectors >> (8 * i));
        _offset = config.AddCapability(PciRegisters.CapabilityMsi, body, writable);
    }

    public bool Enabled => (_config.Get16(_offset + Control) & ControlEnable) != 0;

    /// <summary>Signals a vector. Under the function's lock.</summary>
    /// <returns>Whether the message is to be sent now.</returns>
    public bool TrySignal(int vector, bool busMaster, out MsiMessage message)
    {
        message = default;
        int allocated = Math.Min((_config.Get16(_offset + Control) >> 4) & 7, _log2Vectors);
        if (!Enabled || (uint)vector >= 1u << _log2Vectors)
            return false;
        vector &= (1 << allocated) - 1;
        if (!busMaster || (_config.Get32(_offset + Mask) >> vector & 1) != 0)
        {
            _config.Set32(_offset + Pending, _config.Get32(_offset + Pending) | 1u << vector);
            return false;
        }
        uint data = _config.Get16(_offset + Data) & ~((1u << allocated) - 1) | (uint)vector;
        message = new MsiMessage(_config.Get32(_offset + AddressLow) | (ulong)_config.Get32(_offset + AddressHigh) << 32, data);
        return true;
    }

    /// <summary>Takes one pending vector that may be sent now. Under the function's lock.</summary>
    public bool TakePending(bool busMaster, out MsiMessage message)
    {
        message = default;
        uint ready = _config.Get32(_offset + Pending) & ~_config.Get32(_offset + Mask);
        if (!Enabled || !busMaster || ready == 0)
            return false;
        int vector = System.Numerics.BitOperations.TrailingZeroCount(ready);
        _config.Set32(_offset + Pending, _config.Get32(_offset + Pending) & ~(1u << vector));
        return TrySignal(vector, busMaster, out message);
    }
}
