namespace Vmm.Machine.Firmware;

/// <summary>Address range types of the BIOS memory map (ACPI 6.5, 15.1, table 15.1).</summary>
internal enum E820Type : uint
{
    /// <summary>Usable by the operating system.</summary>
    Ram = 1,

    /// <summary>Not usable.</summary>
    Reserved = 2,

    /// <summary>ACPI tables: usable once they were read.</summary>
    AcpiData = 3,

    /// <summary>ACPI NVS: to be kept.</summary>
    AcpiNvs = 4,
}

/// <summary>One range of the memory map.</summary>
internal readonly record struct E820Entry(ulong Address, ulong Size, E820Type Type)
{
    /// <summary>First address behind the range.</summary>
    public ulong End => Address + Size;
}

/// <summary>The memory map that kernels are given, by ascending address.</summary>
internal static class E820Map
{
    /// <summary>Makes the map of a machine.</summary>
    /// <param name="memory">Bytes of RAM.</param>
    /// <param name="acpi">The tables at the end of low memory.</param>
    public static E820Entry[] Create(ulong memory, Acpi.AcpiTables acpi)
    {
        var map = new List<E820Entry>
        {
            Range(0, AddressMap.ExtendedBiosDataArea, E820Type.Ram),
            Range(AddressMap.ExtendedBiosDataArea, AddressMap.ConventionalMemoryEnd, E820Type.Reserved),
            Range(AddressMap.BiosArea, AddressMap.ExtendedMemory, E820Type.Reserved),
            Range(AddressMap.ExtendedMemory, acpi.Address, E820Type.Ram),
            Range(acpi.Address, acpi.DataAddress, E820Type.AcpiNvs),
            Range(acpi.DataAddress, acpi.End, E820Type.AcpiData),
            new(AddressMap.Ecam, AddressMap.EcamSize, E820Type.Reserved),
            new(AddressMap.IoApic, AddressMap.IoApicSize, E820Type.Reserved),
            new(AddressMap.LocalApic, AddressMap.LocalApicSize, E820Type.Reserved),
        };
        if (AddressMap.HighMemorySize(memory) is var high and > 0)
            map.Add(new(AddressMap.HighMemory, high, E820Type.Ram));
        return [.. map];
    }

    /// <summary>The last address behind usable memory that is not above <paramref name="limit"/>, of the range that holds it.</summary>
    public static ulong UsableEndBelow(ReadOnlySpan<E820Entry> map, ulong limit)
    {
        ulong end = 0;
        foreach (var entry in map)
        {
            if (entry.Type == E820Type.Ram && entry.Address < limit)
                end = Math.Min(entry.End, limit);
        }
        return end;
    }

    private static E820Entry Range(ulong start, ulong end, E820Type type) => new(start, end - start, type);
}
