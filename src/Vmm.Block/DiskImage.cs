using System.Runtime.CompilerServices;
using Vmm.Block.Protocols;
using Vmm.Block.Raw;
using Vmm.Core.Lifecycle;

namespace Vmm.Block;

/// <summary>Opens disk images by their options.</summary>
public static class DiskImage
{
    /// <summary>The formats that <see cref="Open"/> knows.</summary>
    public static IReadOnlyList<string> KnownFormats { get; } = ["raw"];

    /// <summary>Whether a format is one of <see cref="KnownFormats"/>.</summary>
    public static bool IsKnownFormat(string format) => KnownFormats.Contains(format, StringComparer.Ordinal);

    /// <summary>Opens and locks a disk.</summary>
    /// <param name="options">Which one, and how.</param>
    /// <exception cref="VmmException">
    /// The options are wrong, or the file is missing, a directory, not accessible, locked by another program or of another format. The
    /// message is one line that names the file and says what to do. Nothing on disk was changed.
    /// </exception>
    public static IBlockBackend Open(DiskOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Validate() is string error)
            throw new VmmException($"Disk '{options.Path}': {error}");
        var file = FileProtocol.Open(options.Path, options.ReadOnly);
        try
        {
            // Whoever names the format gets it. Otherwise a foreign image would look like a disk of garbage, and be overwritten.
            if (options.Format is null && ProbeForeign(file) is string foreign)
            {
                throw new VmmException(
                    $"Cannot open disk '{options.Path}': it is a {foreign} image, which is not supported. "
                    + "Convert it with 'qemu-img convert -O raw', or add format=raw to use its bytes as they are.");
            }
            return new RawFormat(file);
        }
        catch
        {
            file.DisposeAsync().AsTask().GetAwaiter().GetResult();
            throw;
        }
    }

    private static unsafe string? ProbeForeign(IBlockBackend file)
    {
        byte[] header = GC.AllocateArray<byte>(512, pinned: true);
        // SAFETY: the array is pinned and lives past the read, which is waited for.
        var buffer = new IoBuffer((nint)Unsafe.AsPointer(ref header[0]), header.Length);
        try
        {
            file.ReadAsync(0, new[] { buffer }).AsTask().GetAwaiter().GetResult();
        }
        catch (BlockIoException error)
        {
            throw new VmmException($"Cannot read disk '{file.Path}': {error.Message}", error);
        }
        GC.KeepAlive(header);
        return ForeignFormat(header);
    }

    // Signatures by their formats' specifications, at the offsets given there.
    private static string? ForeignFormat(ReadOnlySpan<byte> header)
    {
        if (header.StartsWith((ReadOnlySpan<byte>)[(byte)'Q', (byte)'F', (byte)'I', 0xFB]))
            return "qcow2";
        if (header.StartsWith("QED\0"u8))
            return "QED";
        if (header.StartsWith("KDMV"u8) || header.StartsWith("# Disk DescriptorFile"u8))
            return "VMDK";
        if (header.StartsWith("vhdxfile"u8))
            return "VHDX";
        if (header.StartsWith("conectix"u8))
            return "VHD";
        if (header[0x40..].StartsWith((ReadOnlySpan<byte>)[0x7F, 0x10, 0xDA, 0xBE]))
            return "VDI";
        return null;
    }
}
