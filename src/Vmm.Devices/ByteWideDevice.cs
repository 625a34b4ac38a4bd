using Vmm.Core.Buses;

namespace Vmm.Devices;

/// <summary>
/// A device with 8-bit registers. The bus converter of a PC splits a wider access into byte accesses at ascending addresses.
/// </summary>
public abstract class ByteWideDevice : IBusDevice
{
    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        if (size == 1)
            return ReadByte((uint)offset);
        ulong value = 0;
        for (int i = 0; i < size; i++)
            value |= (ulong)ReadByte((uint)offset + (uint)i) << (8 * i);
        return value;
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        for (int i = 0; i < size; i++)
            WriteByte((uint)offset + (uint)i, (byte)(value >> (8 * i)));
    }

    /// <summary>Reads one register.</summary>
    protected abstract byte ReadByte(uint offset);

    /// <summary>Writes one register.</summary>
    protected abstract void WriteByte(uint offset, byte value);
}
