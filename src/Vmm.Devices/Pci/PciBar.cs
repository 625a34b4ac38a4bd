using Vmm.Core.Buses;

namespace Vmm.Devices.Pci;

/// <summary>A base address register: decodes a naturally aligned range of a power of two.</summary>
internal sealed class PciBar(int index, PciBarKind kind, ulong size, string name, IBusDevice device)
{
    // BARs lose against board devices: see Bus.Map.
    private const int Priority = -1;

    private BusMapping? _mapping;

    public int Index => index;

    public PciBarKind Kind => kind;

    public ulong Size => size;

    public bool Is64 => kind is PciBarKind.Memory64 or PciBarKind.PrefetchableMemory64;

    /// <summary>The low, read-only bits: type and prefetchability (6.2.5.1).</summary>
    public uint TypeBits => kind switch
    {
        PciBarKind.Io => 0x1,
        PciBarKind.Memory64 => 0x4,
        PciBarKind.PrefetchableMemory64 => 0xC,
        _ => 0,
    };

    public void Define(PciConfigSpace config)
    {
        ulong mask = ~(size - 1);
        config.Define(PciRegisters.Bar0 + 4 * index, 4, TypeBits, (uint)mask & (kind == PciBarKind.Io ? ~0x3u : ~0xFu));
        if (Is64)
            config.Define(PciRegisters.Bar0 + 4 * index + 4, 4, 0, (uint)(mask >> 32));
    }

    public ulong Address(PciConfigSpace config)
    {
        ulong low = config.Get32(PciRegisters.Bar0 + 4 * index) & (kind == PciBarKind.Io ? ~0x3u : ~0xFu);
        return Is64 ? low | (ulong)config.Get32(PciRegisters.Bar0 + 4 * index + 4) << 32 : low;
    }

    public void SetAddress(PciConfigSpace config, ulong address)
    {
        config.Set32(PciRegisters.Bar0 + 4 * index, (uint)address | TypeBits);
        if (Is64)
            config.Set32(PciRegisters.Bar0 + 4 * index + 4, (uint)(address >> 32));
    }

    /// <summary>Puts the range on the bus, moves it, or takes it off, as COMMAND and the register now say.</summary>
    public void Update(Bus bus, PciConfigSpace config)
    {
        ushort enable = kind == PciBarKind.Io ? PciRegisters.CommandIo : PciRegisters.CommandMemory;
        ulong address = Address(config);
        bool decodes = (config.Get16(PciRegisters.Command) & enable) != 0 && IsUsable(address, bus);
        if (_mapping is { } mapping)
        {
            if (decodes && mapping.Start == address)
                return;
            _mapping = null;
            mapping.Dispose();
        }
        if (decodes)
            _mapping = bus.Map(name, address, size, device, Priority);
    }

    public void Unmap()
    {
        _mapping?.Dispose();
        _mapping = null;
    }

    // Zero is "not assigned", and a range that ends at the very top is software asking for the size while decoding is on.
    private bool IsUsable(ulong address, Bus bus)
    {
        ulong last = address + (size - 1);
        return address != 0 && last >= address && last <= bus.LastAddress && (Is64 || kind == PciBarKind.Io || last < uint.MaxValue);
    }
}
