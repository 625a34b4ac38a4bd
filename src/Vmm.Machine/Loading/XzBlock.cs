using SharpCompress.Compressors.LZMA;
using SharpCompress.Compressors.Xz.Filters;

namespace Vmm.Machine.Loading;

/// <summary>
/// The first block of an .xz file (The .xz File Format 1.2.1): all of a kernel is in one. The container is read here, so that the
/// dictionary's size is known before it is allocated.
/// </summary>
internal static class XzBlock
{
    private const int StreamHeaderSize = 12;
    private const ulong FilterLzma2 = 0x21;
    private const ulong FilterX86 = 0x04;
    private const int MaximumFilters = 4;

    /// <summary>Opens the block's contents; null for a filter that kernels do not use or too large a dictionary.</summary>
    public static Stream? Open(Stream stream)
    {
        Span<byte> streamHeader = stackalloc byte[StreamHeaderSize];
        stream.ReadExactly(streamHeader);
        int sizeByte = stream.ReadByte();
        if (sizeByte <= 0)
            throw new InvalidDataException("The .xz file has no block.");
        byte[] header = new byte[((sizeByte + 1) * 4) - 1];
        stream.ReadExactly(header);
        return OpenFilters(stream, header);
    }

    // Block header (3.1): flags, optional sizes, filters by ID, size of properties and properties.
    private static Stream? OpenFilters(Stream stream, ReadOnlySpan<byte> header)
    {
        int at = 1;
        int filters = (header[0] & 3) + 1;
        for (int optional = 0x40; optional <= 0x80; optional <<= 1)
        {
            if ((header[0] & optional) != 0)
                _ = Integer(header, ref at);
        }
        bool x86 = false;
        for (int i = 0; i < Math.Min(filters, MaximumFilters); i++)
        {
            ulong id = Integer(header, ref at);
            int size = (int)Math.Min(Integer(header, ref at), 1024);
            var properties = header.Slice(at, size);
            at += size;
            if (id == FilterX86 && !x86 && size == 0)
            {
                x86 = true;
            }
            else if (id == FilterLzma2 && size == 1)
            {
                byte dictionary = properties[0];
                if (dictionary > 40 || !PayloadFormat.IsReasonableDictionary(DictionarySize(dictionary)))
                    return null;
                var unpacked = LzmaStream.Create([dictionary], stream, -1, -1, null, true, false);
                return x86 ? WithX86(unpacked) : unpacked;
            }
            else
            {
                return null;
            }
        }
        return null;
    }

    // Branch/call/jump filter for x86 (5.3.2).
    private static X86Filter WithX86(Stream unpacked)
    {
        var filter = new X86Filter();
        filter.Init([]);
        filter.SetBaseStream(unpacked);
        return filter;
    }

    // 5.3.1: 2 or 3 times a power of two.
    private static ulong DictionarySize(byte bits) => (2UL | (bits & 1U)) << ((bits / 2) + 11);

    // 1.2: seven bits a byte, little-endian.
    private static ulong Integer(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; shift < 63; shift += 7)
        {
            byte b = bytes[at++];
            value |= (ulong)(b & 0x7F) << shift;
            if ((b & 0x80) == 0)
                return value;
        }
        throw new InvalidDataException("A number in the .xz header is too long.");
    }
}
