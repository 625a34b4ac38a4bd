using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using SharpCompress.Compressors.Xz;
using Vmm.Core.Lifecycle;
using ZstdSharp;

namespace Vmm.Hosting.Quickstart;

/// <summary>Takes files out of a binary package (deb(5)).</summary>
internal static class DebianPackage
{
    private const int ArHeaderLength = 60;

    /// <summary>Unpacks the regular files that are wanted.</summary>
    /// <param name="package">The .deb file.</param>
    /// <param name="target">Given a file's path in the package, without a leading <c>./</c>: where to put it, or null to leave it.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="VmmException">The package is damaged.</exception>
    internal static async Task ExtractAsync(string package, Func<string, string?> target, CancellationToken cancellation)
    {
        try
        {
            if (ExternalTool.Find("dpkg-deb") is string tool)
            {
                // dpkg-deb's own decompressors are several times faster than the managed ones.
                await ExternalTool.ReadAsync(tool, ["--fsys-tarfile", package], "/", s => Extract(s, target, cancellation), cancellation).ConfigureAwait(false);
                return;
            }
            using FileStream file = File.OpenRead(package);
            using Stream tar = OpenData(file);
            Extract(tar, target, cancellation);
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new VmmException($"The package '{package}' is damaged: {e.Message}", e);
        }
    }

    /// <summary>Unpacks the wanted regular files of a tar stream.</summary>
    internal static void Extract(Stream tar, Func<string, string?> target, CancellationToken cancellation)
    {
        using TarReader reader = new(tar);
        while (reader.GetNextEntry() is TarEntry entry)
        {
            cancellation.ThrowIfCancellationRequested();
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile))
                continue;
            string name = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
            if (target(name) is not string path)
                continue;
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            using FileStream output = File.Create(path);
            entry.DataStream?.CopyTo(output);
        }
        // Reads the padding behind the end mark, so that the writer of a pipe does not see it closed.
        tar.CopyTo(Stream.Null);
    }

    /// <summary>Finds the member <c>data.tar.*</c> of the ar archive (ar(5)) and unpacks it.</summary>
    private static Stream OpenData(FileStream file)
    {
        byte[] magic = new byte[8];
        file.ReadExactly(magic);
        if (!magic.AsSpan().SequenceEqual("!<arch>\n"u8))
            throw new InvalidDataException("it is no ar archive.");
        byte[] header = new byte[ArHeaderLength];
        while (file.Position < file.Length)
        {
            file.ReadExactly(header);
            string name = Encoding.ASCII.GetString(header, 0, 16).TrimEnd(' ', '/');
            if (!long.TryParse(Encoding.ASCII.GetString(header, 48, 10), out long size) || size < 0 || size > file.Length - file.Position)
                throw new InvalidDataException("a member's length is wrong.");
            switch (name)
            {
                case "data.tar.xz":
                    return new XZStream(file);
                case "data.tar.zst":
                    return new DecompressionStream(file);
                case "data.tar.gz":
                    return new GZipStream(file, CompressionMode.Decompress);
                case "data.tar":
                    return file;
            }
            file.Position += size + (size & 1);
        }
        throw new InvalidDataException("it has no data.tar member.");
    }
}
