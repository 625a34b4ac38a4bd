namespace Vmm.Machine.Firmware.Acpi;

/// <summary>The header that all system description tables share (ACPI 6.5, 5.2.6).</summary>
internal static class AcpiTable
{
    /// <summary>Bytes of the header.</summary>
    public const int HeaderSize = 36;

    /// <summary>Offset of the checksum.</summary>
    public const int ChecksumOffset = 9;

    /// <summary>OEMID of every table.</summary>
    public const string OemId = "VMM";

    /// <summary>Makes a table: header, body, checksum.</summary>
    public static byte[] Create(string signature, byte revision, ReadOnlySpan<byte> body)
    {
        var writer = new ByteWriter()
            .Ascii(signature, 4)
            .U32((uint)(HeaderSize + body.Length))
            .U8(revision)
            .U8(0)
            .Ascii(OemId, 6)
            .Ascii("VMMPC", 8)
            .U32(1)
            .Ascii("VMM", 4)
            .U32(1)
            .Bytes(body);
        Checksum.Seal(writer.Written, ChecksumOffset);
        return writer.ToArray();
    }
}
