using System.Text;

namespace Vmm.Machine.Firmware.Aml;

/// <summary>NameString encoding (ACPI 6.5, 20.2.2).</summary>
internal static class AmlName
{
    private const byte DualNamePrefix = 0x2E;
    private const byte MultiNamePrefix = 0x2F;

    /// <summary>Writes a path such as <c>\_SB.PCI0</c>, <c>^PICF</c> or <c>_CRS</c>; short segments are padded with underscores.</summary>
    /// <exception cref="ArgumentException">A segment is not one to four of A–Z, 0–9 and underscore, or begins with a digit.</exception>
    public static void Write(ByteWriter writer, string path)
    {
        int prefix = 0;
        while (prefix < path.Length && path[prefix] is '\\' or '^')
            writer.U8((byte)path[prefix++]);
        string rest = path[prefix..];
        string[] segments = rest.Length == 0 ? [] : rest.Split('.');
        switch (segments.Length)
        {
            case 0:
                writer.U8(0);
                return;
            case 1:
                break;
            case 2:
                writer.U8(DualNamePrefix);
                break;
            default:
                writer.U8(MultiNamePrefix).U8(checked((byte)segments.Length));
                break;
        }
        foreach (string segment in segments)
            WriteSegment(writer, segment, path);
    }

    /// <summary>Writes one NameSeg: four characters.</summary>
    public static void WriteSegment(ByteWriter writer, string segment, string? path = null)
    {
        if (segment.Length is 0 or > 4 || char.IsAsciiDigit(segment[0])
            || segment.Any(static c => !char.IsAsciiLetterUpper(c) && !char.IsAsciiDigit(c) && c != '_'))
            throw new ArgumentException($"'{path ?? segment}' is not an AML name.", nameof(segment));
        Span<byte> bytes = stackalloc byte[4];
        bytes.Fill((byte)'_');
        Encoding.ASCII.GetBytes(segment, bytes);
        writer.Bytes(bytes);
    }

    /// <summary>Compresses an EISA ID such as PNP0A08 into 32 bits (ACPI 6.5, 19.6.36).</summary>
    /// <exception cref="ArgumentException">Not three letters and four hexadecimal digits.</exception>
    public static uint EisaId(string id)
    {
        if (id.Length != 7 || !id.AsSpan(0, 3).ContainsOnlyUpper()
            || !ushort.TryParse(id.AsSpan(3), System.Globalization.NumberStyles.AllowHexSpecifier, null, out ushort product))
            throw new ArgumentException($"'{id}' is not an EISA ID.", nameof(id));
        int vendor = ((id[0] - 0x40) << 10) | ((id[1] - 0x40) << 5) | (id[2] - 0x40);
        return (uint)((byte)(vendor >> 8) | ((byte)vendor << 8) | ((product >> 8) << 16) | ((product & 0xFF) << 24));
    }

    private static bool ContainsOnlyUpper(this ReadOnlySpan<char> text) => text.IndexOfAnyExceptInRange('A', 'Z') < 0;
}
