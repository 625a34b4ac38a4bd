namespace Vmm.Machine.Firmware.Aml;

/// <summary>PkgLength encoding (ACPI 6.5, 20.2.4): a length that counts its own bytes.</summary>
internal static class AmlPackageLength
{
    /// <summary>Writes the PkgLength of a body of <paramref name="bodyLength"/> bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The body is longer than 28 bits can say.</exception>
    public static void Write(ByteWriter writer, int bodyLength)
    {
        if (bodyLength + 1 <= 0x3F)
        {
            writer.U8((byte)(bodyLength + 1));
            return;
        }
        for (int following = 1; following <= 3; following++)
        {
            int total = bodyLength + 1 + following;
            if (total >= 1 << (4 + (8 * following)))
                continue;
            writer.U8((byte)((following << 6) | (total & 0xF)));
            for (int i = 0; i < following; i++)
                writer.U8((byte)(total >> (4 + (8 * i))));
            return;
        }
        throw new ArgumentOutOfRangeException(nameof(bodyLength), bodyLength, "An AML package holds less than 256 MiB.");
    }
}
