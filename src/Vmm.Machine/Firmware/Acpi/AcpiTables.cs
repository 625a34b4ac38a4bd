namespace Vmm.Machine.Firmware.Acpi;

/// <summary>
/// All ACPI tables of a machine, laid out for an address: the FACS alone, since the operating system writes to it, and then the rest.
/// </summary>
internal sealed class AcpiTables
{
    private const int FacsSpace = 0x1000;
    private const int Alignment = 64;

    private readonly List<(ulong Address, byte[] Bytes)> _tables = [];

    private AcpiTables(ulong address, ulong end)
    {
        (Address, End) = (address, end);
    }

    /// <summary>First byte; a page that holds the FACS (e820: NVS).</summary>
    public ulong Address { get; }

    /// <summary>Where the tables begin that the operating system only reads (e820: ACPI data).</summary>
    public ulong DataAddress => Address + FacsSpace;

    /// <summary>First byte behind the tables; a multiple of the page size.</summary>
    public ulong End { get; }

    /// <summary>The tables by address, without the RSDP.</summary>
    public IReadOnlyList<(ulong Address, byte[] Bytes)> Tables => _tables;

    /// <summary>The RSDP, for <see cref="AddressMap.Rsdp"/>.</summary>
    public byte[] Rsdp { get; private set; } = [];

    /// <summary>Makes the tables so that they end at <paramref name="end"/>.</summary>
    /// <param name="options">The machine.</param>
    /// <param name="end">First address behind them: the end of low memory; a multiple of the page size.</param>
    public static AcpiTables CreateBelow(FirmwareOptions options, ulong end)
    {
        byte[] dsdt = Dsdt.Create(options);
        byte[] madt = Madt.Create(options.Cpus);
        byte[][] rest = [madt, SmallTables.Mcfg(), SmallTables.Hpet()];
        int pointed = rest.Length + 1;
        ulong size = Align(dsdt.Length) + Align(Fadt.Size) + Align(AcpiTable.HeaderSize + (4 * pointed)) + Align(AcpiTable.HeaderSize + (8 * pointed));
        foreach (byte[] table in rest)
            size += Align(table.Length);
        ulong start = ((end - size) & ~0xFFFUL) - FacsSpace;
        var tables = new AcpiTables(start, end);
        tables.Build(dsdt, rest);
        return tables;
    }

    private void Build(byte[] dsdt, byte[][] rest)
    {
        ulong next = DataAddress;
        _tables.Add((Address, SmallTables.Facs()));
        ulong dsdtAddress = Add(dsdt, ref next);
        var pointed = new ulong[rest.Length + 1];
        pointed[0] = Add(Fadt.Create(Address, dsdtAddress), ref next);
        for (int i = 0; i < rest.Length; i++)
            pointed[i + 1] = Add(rest[i], ref next);
        ulong rsdt = Add(SmallTables.Rsdt(pointed), ref next);
        ulong xsdt = Add(SmallTables.Xsdt(pointed), ref next);
        Rsdp = SmallTables.Rsdp(rsdt, xsdt);
    }

    private ulong Add(byte[] table, ref ulong next)
    {
        ulong address = next;
        _tables.Add((address, table));
        next += Align(table.Length);
        return address;
    }

    private static ulong Align(int size) => ((ulong)size + (Alignment - 1)) & ~(ulong)(Alignment - 1);
}
