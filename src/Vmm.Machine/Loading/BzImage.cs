using System.Buffers.Binary;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>The setup header of a bzImage (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").</summary>
internal sealed class BzImage
{
    /// <summary>Bytes at the start of the file that hold the header.</summary>
    public const int HeaderSpace = 0x290;

    /// <summary>Offset of the header in the file and in boot_params.</summary>
    public const int HeaderStart = 0x1F1;

    private const int SectorSize = 512;
    private const ushort Version202 = 0x0202;
    private const ushort Version208 = 0x0208;
    private const ushort Version210 = 0x020A;
    private const ushort Version212 = 0x020C;

    private readonly byte[] _header;

    private BzImage(byte[] header)
    {
        _header = header;
    }

    /// <summary>The header as it stands in the file, from <see cref="HeaderStart"/>; cut at its own length.</summary>
    public ReadOnlySpan<byte> Header => _header.AsSpan(HeaderStart..Math.Min(HeaderSpace, 0x202 + _header[0x201]));

    /// <summary>Protocol version, 0x020F for 2.15.</summary>
    public ushort Version => U16(0x206);

    /// <summary>Where protected-mode code begins in the file.</summary>
    public long ProtectedModeOffset => ((_header[HeaderStart] == 0 ? 4 : _header[HeaderStart]) + 1) * SectorSize;

    /// <summary>loadflags bit 0: a bzImage, not a zImage.</summary>
    public bool LoadedHigh => (_header[0x211] & 1) != 0;

    /// <summary>Highest address of the initial RAM disk.</summary>
    public uint InitrdAddressMaximum => Version >= 0x0203 ? U32(0x22C) : 0x37FF_FFFF;

    /// <summary>kernel_alignment, where the kernel can be moved; else 0.</summary>
    public uint RelocatableAlignment => Version >= 0x0205 && _header[0x234] != 0 ? U32(0x230) : 0;

    /// <summary>XLF_KERNEL_64: there is a 64-bit entry at 0x200.</summary>
    public bool Has64BitEntry => Version >= Version212 && (U16(0x236) & 1) != 0;

    /// <summary>Longest command line without its NUL.</summary>
    public uint CommandLineSize => Version >= 0x0206 ? U32(0x238) : 255;

    /// <summary>Where the compressed kernel is, from the protected-mode code.</summary>
    public (uint Offset, uint Length) Payload => Version >= Version208 ? (U32(0x248), U32(0x24C)) : (0, 0);

    /// <summary>Where the kernel would like to be.</summary>
    public ulong PreferredAddress => Version >= Version210 ? BinaryPrimitives.ReadUInt64LittleEndian(_header.AsSpan(0x258)) : AddressMap.ExtendedMemory;

    /// <summary>Bytes that the kernel uses from its load address before it reads the memory map; 0 before 2.10.</summary>
    public uint InitSize => Version >= Version210 ? U32(0x260) : 0;

    /// <summary>Whether bytes from the start of a file are those of a Linux image of protocol 2.00 or later.</summary>
    public static bool IsBzImage(ReadOnlySpan<byte> start) =>
        start.Length >= 0x206 && start[0x1FE] == 0x55 && start[0x1FF] == 0xAA && start.Slice(0x202, 4).SequenceEqual("HdrS"u8);

    /// <summary>Reads the header.</summary>
    /// <exception cref="VmmException">The image is too old, or damaged.</exception>
    public static BzImage Open(ImageFile file)
    {
        byte[] header = new byte[HeaderSpace];
        file.ReadAt(0, header);
        var image = new BzImage(header);
        if (image.Version < Version202 || !image.LoadedHigh)
            throw new VmmException($"{file.Name}: this kernel speaks boot protocol {image.Version >> 8}.{image.Version & 0xFF:d2}, and loads low; give a bzImage of Linux 2.4 or later.");
        if (image.ProtectedModeOffset >= file.Length)
            throw new VmmException($"{file.Name}: the kernel is truncated after its setup code; fetch it again.");
        return image;
    }

    private ushort U16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(_header.AsSpan(at));

    private uint U32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_header.AsSpan(at));
}
