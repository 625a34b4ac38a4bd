using Vmm.Core.Buses;

namespace Vmm.Devices.Interrupts;

/// <summary>A device of eight-bit registers: wider accesses are done byte by byte, lowest first, as the ISA bus does.</summary>
internal abstract class BytePortDevice : IBusDevice
{
    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        ulong value = ReadByte((uint)offset);
        for (int i = 1; i < size; i++)
            value |= (ulong)ReadByte((uint)offset + (uint)i) << (8 * i);
        return value;
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        for (int i = 0; i < size; i++)
            WriteByte((uint)offset + (uint)i, (byte)(value >> (8 * i)));
    }

    protected abstract byte ReadByte(uint offset);

    protected abstract void WriteByte(uint offset, byte value);
}
