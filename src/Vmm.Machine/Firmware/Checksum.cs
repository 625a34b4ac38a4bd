namespace Vmm.Machine.Firmware;

/// <summary>The checksum of ACPI and SMBIOS: all bytes, itself included, add up to 0 modulo 256.</summary>
internal static class Checksum
{
    /// <summary>The sum of all bytes modulo 256.</summary>
    public static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (byte b in bytes)
            sum += b;
        return sum;
    }

    /// <summary>Sets the byte at <paramref name="index"/> so that the sum becomes 0.</summary>
    public static void Seal(Span<byte> bytes, int index)
    {
        bytes[index] = 0;
        bytes[index] = (byte)-Sum(bytes);
    }
}
