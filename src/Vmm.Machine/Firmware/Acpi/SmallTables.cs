namespace Vmm.Machine.Firmware.Acpi;

/// <summary>The tables that are a few fields each.</summary>
internal static class SmallTables
{
    /// <summary>Bytes of an RSDP of revision 2.</summary>
    public const int RsdpSize = 36;

    /// <summary>Bytes of a FACS.</summary>
    public const int FacsSize = 64;

    /// <summary>Root System Description Pointer (ACPI 6.5, 5.2.5.3).</summary>
    public static byte[] Rsdp(ulong rsdt, ulong xsdt)
    {
        var writer = new ByteWriter()
            .Ascii("RSD PTR ", 8)
            .U8(0)
            .Ascii(AcpiTable.OemId, 6)
            .U8(2)
            .U32(checked((uint)rsdt))
            .U32(RsdpSize)
            .U64(xsdt)
            .U8(0)
            .Zeros(3);
        Checksum.Seal(writer.Written[..20], 8);
        Checksum.Seal(writer.Written, 32);
        return writer.ToArray();
    }

    /// <summary>Root System Description Table (5.2.7).</summary>
    public static byte[] Rsdt(ReadOnlySpan<ulong> tables)
    {
        var body = new ByteWriter();
        foreach (ulong address in tables)
            body.U32(checked((uint)address));
        return AcpiTable.Create("RSDT", 1, body.Written);
    }

    /// <summary>Extended System Description Table (5.2.8).</summary>
    public static byte[] Xsdt(ReadOnlySpan<ulong> tables)
    {
        var body = new ByteWriter();
        foreach (ulong address in tables)
            body.U64(address);
        return AcpiTable.Create("XSDT", 1, body.Written);
    }

    /// <summary>Firmware ACPI Control Structure (5.2.10).</summary>
    public static byte[] Facs() =>
        new ByteWriter().Ascii("FACS", 4).U32(FacsSize).Zeros(24).U8(2).Zeros(FacsSize - 33).ToArray();

    /// <summary>Memory-mapped configuration space of segment 0, buses 0 to 255 (PCI Firmware Specification 3.2, 4.1.2).</summary>
    public static byte[] Mcfg() =>
        AcpiTable.Create("MCFG", 1, new ByteWriter().Zeros(8).U64(AddressMap.Ecam).U16(0).U8(0).U8(255).Zeros(4).Written);

    /// <summary>HPET description table (IA-PC HPET 1.0a, 3.2.4).</summary>
    public static byte[] Hpet() =>
        AcpiTable.Create("HPET", 1, new ByteWriter()
            .U32(Vmm.Devices.Timers.Hpet.EventTimerBlockId)
            .Memory(AddressMap.Hpet, 64, GenericAddress.Access.Undefined)
            .U8(0).U16(100).U8(0).Written);
}
