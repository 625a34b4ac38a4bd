using Vmm.Devices.Acpi;

namespace Vmm.Machine;

/// <summary>
/// Every address of the board <c>pc</c>: guest-physical memory, ports and interrupt numbers. Nothing else in the project repeats one of
/// them. The layout follows what PC firmware and operating systems have come to expect.
/// </summary>
internal static class AddressMap
{
    /// <summary>Conventional memory; from here the BIOS's extended data area and the legacy video hole.</summary>
    public const ulong ConventionalMemoryEnd = 0xA_0000;

    /// <summary>BIOS data area (IBM PC AT Technical Reference): COM port addresses, memory size, segment of the EBDA.</summary>
    public const ulong BiosDataArea = 0x400;

    /// <summary>Extended BIOS data area: the last KiB of conventional memory, reserved in e820.</summary>
    public const ulong ExtendedBiosDataArea = 0x9_FC00;

    /// <summary>From here to the EBDA loaders keep what they hand to a kernel; no part of a kernel may be loaded there.</summary>
    public const ulong BootArea = 0x8_0000;

    /// <summary>Command lines of kernel and modules.</summary>
    public const ulong BootStrings = BootArea;

    /// <summary>Bytes for command lines.</summary>
    public const int BootStringsSize = 0x1_0000;

    /// <summary>boot_params, hvm_start_info or multiboot information: a page.</summary>
    public const ulong BootInformation = 0x9_0000;

    /// <summary>Memory map of PVH and multiboot: a page.</summary>
    public const ulong BootMemoryMap = 0x9_1000;

    /// <summary>Module list of PVH and multiboot.</summary>
    public const ulong BootModules = 0x9_2000;

    /// <summary>Bytes for the module list.</summary>
    public const int BootModulesSize = 0x4000;

    /// <summary>The GDT that a kernel is entered with.</summary>
    public const ulong BootGdt = 0x9_6000;

    /// <summary>Identity page tables of the first 4 GiB: PML4, PDPT, four page directories.</summary>
    public const ulong BootPageTables = 0x9_7000;

    /// <summary>Where operating systems scan for the RSDP and the SMBIOS entry point (ACPI 6.5, 5.2.5.1).</summary>
    public const ulong BiosArea = 0xE_0000;

    /// <summary>The RSDP.</summary>
    public const ulong Rsdp = 0xE_0000;

    /// <summary>The SMBIOS 3 entry point; the tables follow it. On a 16-byte boundary in 0xF0000–0xFFFFF (DSP0134, 5.2.2).</summary>
    public const ulong SmbiosEntryPoint = 0xF_0000;

    /// <summary>The SMBIOS structure table.</summary>
    public const ulong SmbiosTable = 0xF_0020;

    /// <summary>First address of extended memory.</summary>
    public const ulong ExtendedMemory = 0x10_0000;

    /// <summary>RAM below 4 GiB ends here at the latest; the rest of it is mapped from 4 GiB.</summary>
    public const ulong LowMemoryLimit = 0xC000_0000;

    /// <summary>RAM above the hole.</summary>
    public const ulong HighMemory = 0x1_0000_0000;

    /// <summary>First 32-bit PCI memory window, up to the ECAM.</summary>
    public const ulong Pci32Window = 0xC000_0000;

    /// <summary>Bytes of the first 32-bit window.</summary>
    public const ulong Pci32WindowSize = Ecam - Pci32Window;

    /// <summary>PCI Express enhanced configuration: 1 MiB per bus, 256 buses (PCI Express 5.0, 7.2.2).</summary>
    public const ulong Ecam = 0xE000_0000;

    /// <summary>Bytes of the ECAM.</summary>
    public const ulong EcamSize = 256UL << 20;

    /// <summary>Second 32-bit PCI memory window, between ECAM and the interrupt controllers.</summary>
    public const ulong Pci32UpperWindow = Ecam + EcamSize;

    /// <summary>Bytes of the second 32-bit window.</summary>
    public const ulong Pci32UpperWindowSize = IoApic - Pci32UpperWindow;

    /// <summary>Bytes of the 64-bit PCI memory window.</summary>
    public const ulong Pci64WindowSize = 32UL << 30;

    /// <summary>The I/O APIC's registers.</summary>
    public const ulong IoApic = 0xFEC0_0000;

    /// <summary>Bytes of the I/O APIC's registers.</summary>
    public const ulong IoApicSize = 0x1000;

    /// <summary>The HPET's registers.</summary>
    public const ulong Hpet = 0xFED0_0000;

    /// <summary>Bytes of the HPET's registers.</summary>
    public const ulong HpetSize = 0x400;

    /// <summary>The local APIC page; each vCPU has its own there.</summary>
    public const ulong LocalApic = 0xFEE0_0000;

    /// <summary>Bytes that messages to local APICs use.</summary>
    public const ulong LocalApicSize = 0x10_0000;

    /// <summary>COM1 to COM4.</summary>
    public static ReadOnlySpan<ushort> SerialPorts => [0x3F8, 0x2F8, 0x3E8, 0x2E8];

    /// <summary>Interrupts of COM1 to COM4.</summary>
    public static ReadOnlySpan<byte> SerialIrqs => [4, 3, 4, 3];

    /// <summary>Ports of a UART.</summary>
    public const int SerialPortCount = 8;

    /// <summary>8259 master.</summary>
    public const ushort PicMaster = 0x20;

    /// <summary>8259 slave.</summary>
    public const ushort PicSlave = 0xA0;

    /// <summary>Edge/level control registers.</summary>
    public const ushort PicElcr = 0x4D0;

    /// <summary>8254.</summary>
    public const ushort Pit = 0x40;

    /// <summary>System control port B: speaker gate and channel 2.</summary>
    public const ushort SystemControlB = 0x61;

    /// <summary>i8042 data.</summary>
    public const ushort KeyboardData = 0x60;

    /// <summary>i8042 command and status.</summary>
    public const ushort KeyboardCommand = 0x64;

    /// <summary>RTC and CMOS index and data.</summary>
    public const ushort Rtc = 0x70;

    /// <summary>System control port A.</summary>
    public const ushort SystemControlA = 0x92;

    /// <summary>Reset control register.</summary>
    public const ushort ResetControl = 0xCF9;

    /// <summary>PCI configuration address.</summary>
    public const ushort PciConfigAddress = 0xCF8;

    /// <summary>PCI configuration data.</summary>
    public const ushort PciConfigData = 0xCFC;

    /// <summary>fw_cfg selector, data and DMA address.</summary>
    public const ushort FirmwareConfig = 0x510;

    /// <summary>Ports of fw_cfg.</summary>
    public const int FirmwareConfigPorts = 12;

    /// <summary>pvpanic.</summary>
    public const ushort PvPanic = 0x505;

    /// <summary>isa-debug-exit.</summary>
    public const ushort DebugExit = 0xF4;

    /// <summary>Bochs's debug console.</summary>
    public const ushort DebugConsoleBochs = 0xE9;

    /// <summary>SeaBIOS's and OVMF's debug console.</summary>
    public const ushort DebugConsoleFirmware = 0x402;

    /// <summary>PM1a event block: status and enable (ACPI 6.5, 4.8.3.1).</summary>
    public const ushort Pm1aEvent = AcpiPm.Pm1EventPort;

    /// <summary>PM1a control block (ACPI 6.5, 4.8.3.2).</summary>
    public const ushort Pm1aControl = AcpiPm.Pm1ControlPort;

    /// <summary>ACPI power management timer (ACPI 6.5, 4.8.3.3).</summary>
    public const ushort PmTimer = AcpiPm.PmTimerPort;

    /// <summary>General-purpose event block 0 (ACPI 6.5, 4.8.4.1).</summary>
    public const ushort Gpe0 = AcpiPm.Gpe0Port;

    /// <summary>Bytes of GPE block 0: half status, half enable.</summary>
    public const byte Gpe0Size = AcpiPm.Gpe0Length;

    /// <summary>Sleep type that turns the machine off, as the DSDT's \_S5 says.</summary>
    public const byte SleepTypeS5 = AcpiPm.SleepTypeS5;

    /// <summary>The 8254's interrupt.</summary>
    public const int PitIrq = 0;

    /// <summary>The I/O APIC input that the 8254 is wired to.</summary>
    public const int PitGsi = 2;

    /// <summary>Keyboard.</summary>
    public const int KeyboardIrq = 1;

    /// <summary>RTC.</summary>
    public const int RtcIrq = 8;

    /// <summary>ACPI system control interrupt.</summary>
    public const int SciIrq = AcpiPm.SciInterrupt;

    /// <summary>PS/2 mouse.</summary>
    public const int MouseIrq = 12;

    /// <summary>First of the eight I/O APIC inputs that PCI INTx pins are routed to.</summary>
    public const int PciGsiBase = 16;

    /// <summary>I/O APIC inputs that PCI INTx pins are routed to.</summary>
    public const int PciGsiCount = 8;

    /// <summary>I/O APIC inputs.</summary>
    public const int IoApicInputs = 24;

    /// <summary>APIC ID of the I/O APIC; those of processors are on another bus.</summary>
    public const byte IoApicId = 0;

    /// <summary>The global interrupt that a PCI device's pin drives: devices and pins are spread over the inputs in turn.</summary>
    /// <param name="device">Device number on bus 0.</param>
    /// <param name="pin">0 for INTA to 3 for INTD.</param>
    public static int PciGsi(int device, int pin) => PciGsiBase + ((device + pin) % PciGsiCount);

    /// <summary>The ISA interrupt that a PCI device's pin drives as well, for operating systems that use the 8259s.</summary>
    public static int PciIsaIrq(int device, int pin) => PciWireIsaIrq((device + pin) % PciGsiCount);

    /// <summary>The ISA interrupt behind one of the eight wires of PCI: 10 and 11 in turn.</summary>
    public static int PciWireIsaIrq(int wire) => 10 + (wire & 1);

    /// <summary>Edge/level bits of the slave 8259 that make IRQ 10 and 11 level-triggered.</summary>
    public const byte PciEdgeLevel = 0x0C;

    /// <summary>PCI device number of the random number generator; disks follow.</summary>
    public const int PciRandomSlot = 1;

    /// <summary>First port that PCI devices are given.</summary>
    public const ushort PciPorts = 0x1000;

    /// <summary>Bytes of RAM below the hole.</summary>
    public static ulong LowMemorySize(ulong memory) => Math.Min(memory, LowMemoryLimit);

    /// <summary>Bytes of RAM from 4 GiB.</summary>
    public static ulong HighMemorySize(ulong memory) => memory - LowMemorySize(memory);

    /// <summary>First address of the 64-bit PCI memory window: above all RAM, on a boundary of its own size.</summary>
    public static ulong Pci64Window(ulong memory)
    {
        ulong end = HighMemory + HighMemorySize(memory);
        return (end + (Pci64WindowSize - 1)) / Pci64WindowSize * Pci64WindowSize;
    }
}
