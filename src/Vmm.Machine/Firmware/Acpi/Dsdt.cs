using Vmm.Machine.Firmware.Aml;

namespace Vmm.Machine.Firmware.Acpi;

/// <summary>Differentiated System Description Table (ACPI 6.5, 5.2.11.1): the board's devices in AML.</summary>
internal static class Dsdt
{
    // "PCI Host Bridge Device" (PCI Firmware Specification 3.2, 4.5.1).
    private const string HostBridgeOscUuid = "33DB4D5B-1FF7-401C-9657-7441C03DD766";

    public static byte[] Create(FirmwareOptions options)
    {
        var aml = new AmlBuilder()
            .Name(@"\_S5", a => a.Package(AddressMap.SleepTypeS5, AddressMap.SleepTypeS5, 0, 0))
            .Name(@"\PICF", 0)
            .Method(@"\_PIC", 1, m => m.Store(a => a.Arg(0), a => a.Path(@"\PICF")))
            .Scope(@"\_SB", sb =>
            {
                AddProcessors(sb, options.Cpus);
                AddHostBridge(sb, options);
                AddReservedResources(sb);
                AddLegacyDevices(sb, options.SerialPorts);
                AddParavirtualDevices(sb);
            });
        return AcpiTable.Create("DSDT", 2, aml.Written);
    }

    // Processors as devices (8.4), with the UIDs of the MADT.
    private static void AddProcessors(AmlBuilder sb, int cpus)
    {
        for (int i = 0; i < cpus; i++)
        {
            int id = i;
            sb.Device($"C{i:X3}", d => d.Name("_HID", a => a.String("ACPI0007")).Name("_UID", (ulong)id));
        }
    }

    private static void AddHostBridge(AmlBuilder sb, FirmwareOptions options) => sb.Device("PCI0", d => d
        .Name("_HID", a => a.EisaId("PNP0A08"))
        .Name("_CID", a => a.EisaId("PNP0A03"))
        .Name("_UID", 0)
        .Name("_SEG", 0)
        .Name("_BBN", 0)
        .Name("_CBA", AddressMap.Ecam)
        .Name("_CRS", a => a.Resources(r => r
            .WordBusNumber(0, 255)
            .Io(AddressMap.PciConfigAddress, 8)
            .WordIo(0, AddressMap.PciConfigAddress - 1)
            .WordIo(AddressMap.PciConfigAddress + 8, 0xFFFF)
            .DWordMemory(AddressMap.Pci32Window, AddressMap.Pci32WindowSize)
            .DWordMemory(AddressMap.Pci32UpperWindow, AddressMap.Pci32UpperWindowSize)
            .QWordMemory(AddressMap.Pci64Window(options.Memory), AddressMap.Pci64WindowSize)))
        .Name("PRTP", a => AddRouting(a, options.PciSlots, AddressMap.PciIsaIrq))
        .Name("PRTA", a => AddRouting(a, options.PciSlots, AddressMap.PciGsi))
        .Method("_PRT", 0, m => m.If(c => c.Path(@"\PICF"), then => then.Return(a => a.Path("PRTA"))).Return(a => a.Path("PRTP")))
        .Method("_OSC", 4, AddOperatingSystemCapabilities, serialized: true));

    // PCI routing table (6.2.13): device << 16 | all functions, pin, 0 for a hard-wired global interrupt, its number.
    private static void AddRouting(AmlBuilder aml, int slots, Func<int, int, int> interrupt)
    {
        var entries = new List<Action<AmlBuilder>>();
        for (int device = 0; device < Math.Min(slots, 32); device++)
        {
            for (int pin = 0; pin < 4; pin++)
            {
                ulong address = ((ulong)device << 16) | 0xFFFF, p = (ulong)pin, gsi = (ulong)interrupt(device, pin);
                entries.Add(e => e.Package(address, p, 0, gsi));
            }
        }
        aml.Package(entries.ToArray());
    }

    // _OSC (6.2.11): grants what the bridge can hand over - PCI Express hot plug, PME, AER, capability structure - and no more.
    private static void AddOperatingSystemCapabilities(AmlBuilder m) => m
        .CreateDWordField(a => a.Arg(3), 0, "CDW1")
        .If(
            c => c.LEqual(a => a.Arg(0), a => a.Uuid(HostBridgeOscUuid)),
            then => then
                .CreateDWordField(a => a.Arg(3), 8, "CDW3")
                .And(a => a.Path("CDW3"), a => a.Integer(0x1F), a => a.Local(0))
                .If(c => c.LNot(a => a.LEqual(x => x.Arg(1), x => x.Integer(1))), t => SetBits(t, 0x08))
                .If(c => c.LNot(a => a.LEqual(x => x.Path("CDW3"), x => x.Local(0))), t => SetBits(t, 0x10))
                .Store(a => a.Local(0), a => a.Path("CDW3")),
            otherwise => SetBits(otherwise, 0x04))
        .Return(a => a.Arg(3));

    private static void SetBits(AmlBuilder aml, ulong bits) =>
        aml.Or(a => a.Path("CDW1"), a => a.Integer(bits), a => a.Path("CDW1"));

    // Address ranges that no operating system may give to a device: the ECAM must stand here to be trusted.
    private static void AddReservedResources(AmlBuilder sb) => sb.Device("RSRV", d => d
        .Name("_HID", a => a.EisaId("PNP0C02"))
        .Name("_UID", 0)
        .Name("_CRS", a => a.Resources(r => r
            .Memory32Fixed(AddressMap.Ecam, AddressMap.EcamSize)
            .Memory32Fixed(AddressMap.IoApic, AddressMap.IoApicSize)
            .Memory32Fixed(AddressMap.LocalApic, AddressMap.LocalApicSize)
            .Io(AddressMap.Pm1aEvent, 0x0C)
            .Io(AddressMap.Gpe0, AddressMap.Gpe0Size)
            .Io(AddressMap.PicElcr, 2))));

    private static void AddLegacyDevices(AmlBuilder sb, int serialPorts)
    {
        sb.Device("RTC", d => d
            .Name("_HID", a => a.EisaId("PNP0B00"))
            .Name("_CRS", a => a.Resources(r => r.Io(AddressMap.Rtc, 2).Irq(AddressMap.RtcIrq))));
        sb.Device("KBD", d => d
            .Name("_HID", a => a.EisaId("PNP0303"))
            .Name("_CRS", a => a.Resources(r => r.Io(AddressMap.KeyboardData, 1).Io(AddressMap.KeyboardCommand, 1).Irq(AddressMap.KeyboardIrq))));
        sb.Device("MOU", d => d
            .Name("_HID", a => a.EisaId("PNP0F13"))
            .Name("_CRS", a => a.Resources(r => r.Irq(AddressMap.MouseIrq))));
        for (int i = 0; i < serialPorts; i++)
        {
            int port = i;
            sb.Device($"COM{i + 1}", d => d
                .Name("_HID", a => a.EisaId("PNP0501"))
                .Name("_UID", (ulong)port + 1)
                .Name("_CRS", a => a.Resources(r => r.Io(AddressMap.SerialPorts[port], AddressMap.SerialPortCount).Irq(AddressMap.SerialIrqs[port]))));
        }
        sb.Device("HPET", d => d
            .Name("_HID", a => a.EisaId("PNP0103"))
            .Name("_UID", 0)
            .Name("_CRS", a => a.Resources(r => r.Memory32Fixed(AddressMap.Hpet, AddressMap.HpetSize, writable: false))));
    }

    private static void AddParavirtualDevices(AmlBuilder sb)
    {
        sb.Device("FWCF", d => d
            .Name("_HID", a => a.String("QEMU0002"))
            .Name("_STA", 0x0B)
            .Name("_CRS", a => a.Resources(r => r.Io(AddressMap.FirmwareConfig, AddressMap.FirmwareConfigPorts))));
        sb.Device("PEVT", d => d
            .Name("_HID", a => a.String("QEMU0001"))
            .Name("_STA", 0x0F)
            .Name("_CRS", a => a.Resources(r => r.Io(AddressMap.PvPanic, 1)))
            .SystemIoRegion("PEOR", AddressMap.PvPanic, 1)
            .ByteField("PEOR", ("PEPT", 8))
            .Method("RDPT", 0, m => m.Return(a => a.Path("PEPT")))
            .Method("WRPT", 1, m => m.Store(a => a.Arg(0), a => a.Path("PEPT"))));
    }
}
