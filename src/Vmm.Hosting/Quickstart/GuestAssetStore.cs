using System.Text.Json;
using System.Text.Json.Serialization;
using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Quickstart;

/// <summary>
/// Finds or makes the parts of a small Linux guest and keeps them in the user's cache: a second call needs neither the network nor
/// the distribution's tools.
/// </summary>
public sealed class GuestAssetStore
{
    /// <summary>Counts up when the initramfs or the files' layout change, so that an older cache is rebuilt.</summary>
    private const int FormatVersion = 1;

    private const long DiskSize = 64L << 20;

    private readonly string _folder;

    /// <summary>Opens the store.</summary>
    /// <param name="folder">Its folder; null for <c>$XDG_CACHE_HOME/vmm/quickstart</c>, or <c>~/.cache/vmm/quickstart</c>.</param>
    public GuestAssetStore(string? folder = null)
    {
        _folder = Path.GetFullPath(folder ?? DefaultFolder());
    }

    /// <summary>The store's folder.</summary>
    public string Folder => _folder;

    /// <summary>Gives the assets from the cache, or makes them: from the distribution's packages, or from this host's own kernel.</summary>
    /// <param name="refresh">Makes them anew even when the cache has them. The disk stays.</param>
    /// <param name="progress">Is told what is being done; may be called from any thread.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="VmmException">Neither source can be used; the message says why and what to do.</exception>
    public async Task<GuestAssets> PrepareAsync(bool refresh = false, Action<GuestAssetProgress>? progress = null, CancellationToken cancellation = default)
    {
        try
        {
            Directory.CreateDirectory(_folder);
            using FileStream _ = await LockAsync(cancellation).ConfigureAwait(false);
            Manifest? manifest = refresh ? null : ReadManifest();
            if (manifest is null)
            {
                manifest = await new GuestAssetMaker(_folder, progress ?? (_ => { })).MakeAsync(cancellation).ConfigureAwait(false);
                WriteManifest(manifest);
            }
            bool formatted = await EnsureDiskAsync(progress, cancellation).ConfigureAwait(false);
            return new GuestAssets(InFolder("vmlinuz"), InFolder("initramfs.cpio"), InFolder("disk.raw"), formatted, manifest.KernelRelease, manifest.Origin);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"Cannot prepare the quickstart guest in '{_folder}': {Configuration.FileProblem.OneLine(e.Message)} Set XDG_CACHE_HOME to a folder with 200 MB free.", e);
        }
    }

    private static string DefaultFolder()
    {
        string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        if (string.IsNullOrEmpty(cache) || !Path.IsPathRooted(cache))
            cache = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(cache, "vmm", "quickstart");
    }

    private string InFolder(string name) => Path.Combine(_folder, name);

    /// <summary>One process at a time prepares; another waits for it and then finds everything there.</summary>
    private async Task<FileStream> LockAsync(CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                return new FileStream(InFolder("lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException or PathTooLongException))
            {
                // Locked by another process: .NET reports the EWOULDBLOCK of flock(2) as a plain IOException.
                await Task.Delay(100, cancellation).ConfigureAwait(false);
            }
        }
    }

    private Manifest? ReadManifest()
    {
        try
        {
            Manifest? manifest = JsonSerializer.Deserialize(File.ReadAllBytes(InFolder("guest.json")), ManifestContext.Default.Manifest);
            bool usable = manifest?.FormatVersion == FormatVersion && File.Exists(InFolder("vmlinuz")) && File.Exists(InFolder("initramfs.cpio"));
            return usable ? manifest : null;
        }
        catch (Exception e) when (e is JsonException or FileNotFoundException)
        {
            // No cache, or one that was cut off: it is made anew.
            return null;
        }
    }

    private void WriteManifest(Manifest manifest)
    {
        string temporary = InFolder("guest.json.new");
        File.WriteAllBytes(temporary, JsonSerializer.SerializeToUtf8Bytes(manifest with { FormatVersion = FormatVersion }, ManifestContext.Default.Manifest));
        File.Move(temporary, InFolder("guest.json"), overwrite: true);
    }

    /// <summary>Makes the disk once; it keeps what the user wrote to it.</summary>
    /// <returns>Whether it holds a file system.</returns>
    private async Task<bool> EnsureDiskAsync(Action<GuestAssetProgress>? progress, CancellationToken cancellation)
    {
        string disk = InFolder("disk.raw");
        if (!File.Exists(disk))
        {
            progress?.Invoke(new GuestAssetProgress("Making a disk", null));
            await MakeDiskAsync(disk, DiskSize, cancellation).ConfigureAwait(false);
        }
        return HoldsExt(disk);
    }

    /// <summary>Makes a sparse raw image, with an ext4 file system where the host has mkfs.ext4.</summary>
    internal static async Task MakeDiskAsync(string disk, long size, CancellationToken cancellation)
    {
        string temporary = disk + ".new";
        using (FileStream file = File.Create(temporary))
            file.SetLength(size);
        if (ExternalTool.Find("mkfs.ext4") is string mkfs)
        {
            ToolResult result = await ExternalTool.RunAsync(mkfs, ["-q", "-F", temporary], "/", cancellation).ConfigureAwait(false);
            if (result.ExitCode != 0)
                throw new VmmException($"mkfs.ext4 on '{temporary}' failed: {result.Reason}");
        }
        File.Move(temporary, disk);
    }

    /// <summary>Looks for the superblock's magic number (kernel documentation, filesystems/ext4/super.rst: s_magic at 1024 + 0x38).</summary>
    private static bool HoldsExt(string disk)
    {
        using FileStream file = new(disk, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        byte[] magic = new byte[2];
        file.Position = 1024 + 0x38;
        return file.ReadAtLeast(magic, 2, throwOnEndOfStream: false) == 2 && magic[0] == 0x53 && magic[1] == 0xEF;
    }
}

/// <summary>What the cache holds.</summary>
internal sealed record Manifest(string KernelRelease, string Origin, int FormatVersion = 0);

[JsonSerializable(typeof(Manifest))]
internal sealed partial class ManifestContext : JsonSerializerContext;
