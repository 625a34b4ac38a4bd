using System.Buffers.Binary;

namespace Vmm.Devices.Pci;

/// <summary>
/// The 256 bytes of a function's configuration space, each bit of which software may write, clear by writing one, or only read
/// (PCI Local Bus 3.0, 6.1). Knows neither bus nor lock.
/// </summary>
internal sealed class PciConfigSpace
{
    private readonly byte[] _values = new byte[PciRegisters.ConfigSize];
    private readonly byte[] _resetValues = new byte[PciRegisters.ConfigSize];
    private readonly byte[] _writable = new byte[PciRegisters.ConfigSize];
    private int _capabilityEnd = PciRegisters.FirstCapability;
    private int _lastCapabilityLink = PciRegisters.CapabilitiesPointer;

    public ReadOnlySpan<byte> Values => _values;

    public byte Get8(int offset) => _values[offset];

    public ushort Get16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_values.AsSpan(offset));

    public uint Get32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_values.AsSpan(offset));

    public void Set16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_values.AsSpan(offset), value);

    public void Set32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_values.AsSpan(offset), value);

    /// <summary>Defines a register's power-on value and which of its bits software can write.</summary>
    public void Define(int offset, int size, uint value, uint writable = 0)
    {
        for (int i = 0; i < size; i++)
        {
            _values[offset + i] = _resetValues[offset + i] = (byte)(value >> (8 * i));
            _writable[offset + i] = (byte)(writable >> (8 * i));
        }
    }

    /// <summary>Appends a capability to the list (6.7) and returns its offset.</summary>
    /// <param name="id">Capability ID.</param>
    /// <param name="body">What follows ID and link.</param>
    /// <param name="writable">Writable bits of the body, or empty for none.</param>
    public int AddCapability(byte id, ReadOnlySpan<byte> body, ReadOnlySpan<byte> writable = default)
    {
        int offset = _capabilityEnd;
        int end = (offset + 2 + body.Length + 3) & ~3;
        if (end > PciRegisters.ConfigSize)
            throw new InvalidOperationException("The capabilities do not fit into the configuration space.");
        Define(offset, 1, id);
        Define(_lastCapabilityLink, 1, (uint)offset);
        for (int i = 0; i < body.Length; i++)
            Define(offset + 2 + i, 1, body[i], i < writable.Length ? writable[i] : 0u);
        Define(PciRegisters.Status, 2, (uint)(Get16(PciRegisters.Status) | PciRegisters.StatusCapabilities));
        _lastCapabilityLink = offset + 1;
        _capabilityEnd = end;
        return offset;
    }

    /// <summary>Reads 1, 2 or 4 bytes; what lies behind the space reads as zero.</summary>
    public uint Read(int offset, int size)
    {
        uint value = 0;
        for (int i = 0; i < size && offset + i < _values.Length; i++)
            value |= (uint)_values[offset + i] << (8 * i);
        return value;
    }

    /// <summary>Writes 1, 2 or 4 bytes as far as their bits are writable.</summary>
    public void Write(int offset, int size, uint value)
    {
        for (int i = 0; i < size && offset + i < _values.Length; i++)
        {
            byte mask = _writable[offset + i];
            _values[offset + i] = (byte)((_values[offset + i] & ~mask) | ((byte)(value >> (8 * i)) & mask));
        }
    }

    public void Reset() => _resetValues.CopyTo(_values, 0);

    /// <summary>Puts a captured space back; a read-only bit that differs means another device.</summary>
    public bool TryRestore(ReadOnlySpan<byte> values)
    {
        if (values.Length != _values.Length)
            return false;
        for (int i = 0; i < values.Length; i++)
        {
            // The interrupt status bit is read-only for software but moves with the device.
            int moving = i == PciRegisters.Status ? PciRegisters.StatusInterrupt : 0;
            if (((values[i] ^ _values[i]) & ~(_writable[i] | moving)) != 0)
                return false;
        }
        values.CopyTo(_values);
        return true;
    }
}
