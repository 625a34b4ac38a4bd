using System.Buffers.Binary;

namespace Vmm.Machine.Loading;

/// <summary>A multiboot header (Multiboot Specification 0.6.96, 3.1).</summary>
/// <param name="Offset">Where it is in the file.</param>
/// <param name="Flags">Features that the kernel requires and offers.</param>
/// <param name="Addresses">header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr, where bit 16 of the flags is set.</param>
internal sealed record MultibootHeader(int Offset, uint Flags, uint[] Addresses)
{
    /// <summary>The header lies whole within this many bytes from the start of the file.</summary>
    public const int SearchSpace = 8192;

    private const uint Magic = 0x1BAD_B002;

    /// <summary>Bit 16: the address fields say how to load the file, whatever its format is.</summary>
    public bool HasAddresses => (Flags & (1 << 16)) != 0;

    /// <summary>Features that the loader must know or refuse the kernel: bits 2 to 15 but for the video mode (2), which is a wish.</summary>
    public uint UnknownRequirements => Flags & 0xFFF8;

    /// <summary>Looks for a header on every fourth byte.</summary>
    public static MultibootHeader? Find(ReadOnlySpan<byte> start)
    {
        start = start[..Math.Min(start.Length, SearchSpace)];
        for (int at = 0; at + 12 <= start.Length; at += 4)
        {
            uint magic = U32(start, at);
            if (magic != Magic)
                continue;
            uint flags = U32(start, at + 4);
            if (unchecked(magic + flags + U32(start, at + 8)) != 0)
                continue;
            if ((flags & (1 << 16)) == 0)
                return new MultibootHeader(at, flags, []);
            if (at + 32 > start.Length)
                continue;
            return new MultibootHeader(at, flags, [U32(start, at + 12), U32(start, at + 16), U32(start, at + 20), U32(start, at + 24), U32(start, at + 28)]);
        }
        return null;
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
}
