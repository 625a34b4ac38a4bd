using System.Buffers.Binary;
using System.IO.Compression;
using SharpCompress.Compressors.BZip2;
using SharpCompress.Compressors.LZMA;

namespace Vmm.Machine.Loading;

/// <summary>A compression that Linux's build can use for a bzImage's payload (arch/x86/boot/compressed/Makefile).</summary>
/// <param name="Name">Its name.</param>
/// <param name="TrailerSize">Bytes that the build appends: the unpacked size, which gzip has by itself.</param>
/// <param name="Open">Opens a stream of it; null when it asks for more memory than is reasonable.</param>
internal sealed record PayloadFormat(string Name, int TrailerSize, Func<Stream, Stream?> Open)
{
    // Linux's build uses dictionaries of up to 128 MiB.
    private const uint MaximumDictionary = 256 << 20;

    private const int SizeTrailer = 4;
    private const int LzmaHeaderSize = 13;

    /// <summary>Finds the format by its magic number.</summary>
    public static PayloadFormat? Recognize(ReadOnlySpan<byte> start) => start switch
    {
        [0x1F, 0x8B, ..] => new PayloadFormat("gzip", 0, static s => new GZipStream(s, System.IO.Compression.CompressionMode.Decompress)),
        [(byte)'B', (byte)'Z', (byte)'h', ..] => new PayloadFormat(
            "bzip2", SizeTrailer, static s => BZip2Stream.Create(s, SharpCompress.Compressors.CompressionMode.Decompress, false, false, false)),
        [0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, ..] => new PayloadFormat("xz", SizeTrailer, XzBlock.Open),
        [0x5D, 0, 0, ..] => new PayloadFormat("lzma", SizeTrailer, OpenLzma),
        [0x02, 0x21, 0x4C, 0x18, ..] => new PayloadFormat("lz4", SizeTrailer, static s => new Lz4LegacyStream(s)),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => new PayloadFormat("zstd", SizeTrailer, static s => new ZstdSharp.DecompressionStream(s)),
        _ => null,
    };

    /// <summary>Whether a dictionary of this size is allocated at all.</summary>
    public static bool IsReasonableDictionary(ulong size) => size <= MaximumDictionary;

    // The .lzma format: five bytes of properties, the size or all ones where an end mark tells it.
    private static LzmaStream? OpenLzma(Stream stream)
    {
        byte[] header = new byte[LzmaHeaderSize];
        stream.ReadExactly(header);
        if (!IsReasonableDictionary(BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(1))))
            return null;
        long size = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(5));
        return LzmaStream.Create(header[..5], stream, -1, size, false);
    }
}
