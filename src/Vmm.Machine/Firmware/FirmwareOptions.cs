namespace Vmm.Machine.Firmware;

/// <summary>What the firmware tables tell the guest about its machine.</summary>
/// <param name="Memory">Bytes of RAM.</param>
/// <param name="Cpus">Processors, with APIC IDs 0 to Cpus - 1.</param>
/// <param name="Name">Name of the machine, for SMBIOS.</param>
/// <param name="PciSlots">Devices on PCI bus 0 that get interrupt routing.</param>
/// <param name="SerialPorts">COM ports that exist, from COM1.</param>
internal sealed record FirmwareOptions(ulong Memory, int Cpus, string Name = "vm", int PciSlots = 32, int SerialPorts = 2);
