namespace Vmm.Devices.Pci;

/// <summary>The numbers by which software knows a PCI function (PCI Local Bus 3.0, 6.2.1).</summary>
/// <param name="VendorId">Vendor.</param>
/// <param name="DeviceId">Device.</param>
/// <param name="ClassCode">Base class, sub-class and programming interface: 0xBBSSPP.</param>
/// <param name="Revision">Revision.</param>
/// <param name="SubsystemVendorId">Subsystem vendor.</param>
/// <param name="SubsystemId">Subsystem.</param>
public readonly record struct PciIdentity(
    ushort VendorId,
    ushort DeviceId,
    uint ClassCode,
    byte Revision = 0,
    ushort SubsystemVendorId = 0,
    ushort SubsystemId = 0);

/// <summary>What a base address register decodes (PCI Local Bus 3.0, 6.2.5.1).</summary>
public enum PciBarKind
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Ports.</summary>
    Io,

    /// <summary>Memory below 4 GiB.</summary>
    Memory32,

    /// <summary>Memory anywhere; takes two registers.</summary>
    Memory64,

    /// <summary>Memory anywhere that may be prefetched; takes two registers.</summary>
    PrefetchableMemory64,
}
