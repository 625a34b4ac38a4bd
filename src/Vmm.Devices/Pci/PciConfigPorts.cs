using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Pci;

/// <summary>
/// Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2). CONFIG_ADDRESS at offset 0, RW, 32-bit accesses only: bit 31 enable,
/// 23:16 bus, 15:11 device, 10:8 function, 7:2 register. CONFIG_DATA at offset 4, any size.
/// </summary>
internal sealed class PciConfigPorts(PciBus bus) : IBusDevice, IResettable, ISnapshotable<uint>
{
    private const uint Enable = 0x8000_0000;
    private const uint Writable = 0x80FF_FFFC;
    private const int DataOffset = 4;

    private uint _address;

    public ulong Read(ulong offset, int size)
    {
        ulong ones = ulong.MaxValue >> (64 - 8 * size);
        uint address = Volatile.Read(ref _address);
        if (offset == 0 && size == 4)
            return address;
        if (!Selects(address, offset, size))
            return ones;
        return bus.ReadConfig((int)(address >> 8) & 0xFF, Register(address, offset), size);
    }

    public void Write(ulong offset, int size, ulong value)
    {
        uint address = Volatile.Read(ref _address);
        if (offset == 0 && size == 4)
            Volatile.Write(ref _address, (uint)value & Writable);
        else if (Selects(address, offset, size))
            bus.WriteConfig((int)(address >> 8) & 0xFF, Register(address, offset), size, (uint)value);
    }

    public void Reset() => _address = 0;

    public uint Capture() => _address;

    public void Restore(uint state)
    {
        if ((state & ~Writable) != 0)
            throw new InvalidDataException($"CONFIG_ADDRESS cannot hold 0x{state:x8}.");
        _address = state;
    }

    private static bool Selects(uint address, ulong offset, int size) =>
        offset >= DataOffset && offset + (ulong)size <= PciBus.ConfigPortCount && (address & Enable) != 0 && (address >> 16 & 0xFF) == 0;

    private static int Register(uint address, ulong offset) => (int)(address & 0xFC) + (int)(offset - DataOffset);
}
