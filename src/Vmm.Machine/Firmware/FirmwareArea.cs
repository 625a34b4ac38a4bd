using System.Buffers.Binary;
using Vmm.Core.Memory;
using Vmm.Machine.Firmware.Acpi;
using Vmm.Machine.Firmware.Smbios;

namespace Vmm.Machine.Firmware;

/// <summary>Writes what firmware leaves in memory: ACPI and SMBIOS tables and the BIOS data area.</summary>
internal static class FirmwareArea
{
    // Offsets in the BIOS data area (IBM PC AT Technical Reference, section 5).
    private const int BdaSerialPorts = 0x00;
    private const int BdaExtendedDataSegment = 0x0E;
    private const int BdaEquipment = 0x10;
    private const int BdaMemoryKiB = 0x13;
    private const int BdaSize = 0x100;

    /// <summary>Writes all of it. After the kernel was loaded, since loading may clear memory.</summary>
    public static void Write(GuestMemory memory, AcpiTables acpi, FirmwareOptions options)
    {
        foreach (var (address, bytes) in acpi.Tables)
            Load(memory, address, bytes);
        Load(memory, AddressMap.Rsdp, acpi.Rsdp);
        byte[] smbios = SmbiosTables.Structures(options);
        Load(memory, AddressMap.SmbiosEntryPoint, SmbiosTables.EntryPoint(smbios.Length));
        Load(memory, AddressMap.SmbiosTable, smbios);
        WriteDataAreas(memory, options);
    }

    private static void WriteDataAreas(GuestMemory memory, FirmwareOptions options)
    {
        byte[] bda = new byte[BdaSize];
        for (int i = 0; i < options.SerialPorts; i++)
            BinaryPrimitives.WriteUInt16LittleEndian(bda.AsSpan(BdaSerialPorts + (2 * i)), AddressMap.SerialPorts[i]);
        BinaryPrimitives.WriteUInt16LittleEndian(bda.AsSpan(BdaExtendedDataSegment), (ushort)(AddressMap.ExtendedBiosDataArea >> 4));
        BinaryPrimitives.WriteUInt16LittleEndian(bda.AsSpan(BdaEquipment), (ushort)(options.SerialPorts << 9));
        BinaryPrimitives.WriteUInt16LittleEndian(bda.AsSpan(BdaMemoryKiB), (ushort)(AddressMap.ExtendedBiosDataArea >> 10));
        Load(memory, AddressMap.BiosDataArea, bda);
        // The EBDA begins with its own size in KiB.
        Load(memory, AddressMap.ExtendedBiosDataArea, [(byte)((AddressMap.ConventionalMemoryEnd - AddressMap.ExtendedBiosDataArea) >> 10)]);
    }

    private static void Load(GuestMemory memory, ulong address, ReadOnlySpan<byte> bytes)
    {
        if (!memory.TryLoad(address, bytes))
            throw new InvalidOperationException($"The firmware area 0x{address:x} is not memory.");
    }
}
