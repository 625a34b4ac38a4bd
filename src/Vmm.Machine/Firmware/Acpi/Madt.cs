namespace Vmm.Machine.Firmware.Acpi;

/// <summary>Multiple APIC Description Table (ACPI 6.5, 5.2.12).</summary>
internal static class Madt
{
    private const uint PcAtCompatible = 1;
    private const uint Enabled = 1;

    // Interrupt source override flags (table 5.25): active high, level-triggered.
    private const ushort ActiveHighLevel = 0b1101;

    // An xAPIC ID of 255 is the broadcast address: that processor and all later ones need x2APIC entries.
    private const int FirstX2ApicId = 255;

    public static byte[] Create(int cpus)
    {
        var body = new ByteWriter().U32((uint)AddressMap.LocalApic).U32(PcAtCompatible);
        for (int id = 0; id < cpus; id++)
        {
            if (id < FirstX2ApicId)
                body.U8(0).U8(8).U8((byte)id).U8((byte)id).U32(Enabled);
            else
                body.U8(9).U8(16).U16(0).U32((uint)id).U32(Enabled).U32((uint)id);
        }
        body.U8(1).U8(12).U8(AddressMap.IoApicId).U8(0).U32((uint)AddressMap.IoApic).U32(0);
        body.U8(2).U8(10).U8(0).U8(AddressMap.PitIrq).U32(AddressMap.PitGsi).U16(0);
        body.U8(2).U8(10).U8(0).U8(AddressMap.SciIrq).U32(AddressMap.SciIrq).U16(ActiveHighLevel);
        // LINT1 of all processors is NMI.
        body.U8(4).U8(6).U8(0xFF).U16(0).U8(1);
        if (cpus > FirstX2ApicId)
            body.U8(0x0A).U8(12).U16(0).U32(0xFFFF_FFFF).U8(1).Zeros(3);
        return AcpiTable.Create("APIC", 5, body.Written);
    }
}
