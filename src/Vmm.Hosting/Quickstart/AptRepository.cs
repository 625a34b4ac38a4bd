using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Quickstart;

/// <summary>A package as apt knows it: its name, the names it depends on, its size in bytes.</summary>
internal sealed record AptPackage(string Name, IReadOnlyList<string> Depends, long Size);

/// <summary>
/// Fetches packages with the distribution's apt, without root: <c>apt-get download</c> checks signatures against the system's
/// keys and installs nothing. Where the system's package lists are missing or stale, lists of our own are kept in the cache.
/// </summary>
internal sealed class AptRepository
{
    private readonly string _aptGet;
    private readonly string _aptCache;
    private readonly string _folder;
    private readonly List<string> _options = [];
    private bool _ownLists;

    private AptRepository(string aptGet, string aptCache, string folder)
    {
        (_aptGet, _aptCache, _folder) = (aptGet, aptCache, folder);
        // Started by root, apt would drop to a user who cannot enter root's cache folder.
        if (Environment.IsPrivilegedProcess)
            _options.AddRange(["-o", "APT::Sandbox::User=root"]);
    }

    /// <summary>Finds apt.</summary>
    /// <param name="folder">A folder for lists of our own.</param>
    /// <returns>Null where the system has none.</returns>
    internal static AptRepository? Find(string folder)
    {
        string? get = ExternalTool.Find("apt-get"), cache = ExternalTool.Find("apt-cache");
        return get is null || cache is null ? null : new AptRepository(get, cache, folder);
    }

    /// <summary>Describes the first of some packages that the repositories have.</summary>
    internal async Task<AptPackage?> FindPackageAsync(IEnumerable<string> names, CancellationToken cancellation)
    {
        foreach (string name in names)
        {
            ToolResult result = await ExternalTool.RunAsync(
                _aptCache, [.. _options, "show", "--no-all-versions", name], "/", cancellation).ConfigureAwait(false);
            if (result.ExitCode == 0 && ParsePackage(result.Output) is AptPackage package)
                return package;
        }
        return null;
    }

    /// <summary>Reads the package lists anew, into a folder of ours.</summary>
    /// <exception cref="VmmException">It cannot: no network, most likely.</exception>
    internal async Task UpdateAsync(CancellationToken cancellation)
    {
        string state = Path.Combine(_folder, "state"), cache = Path.Combine(_folder, "cache");
        Directory.CreateDirectory(Path.Combine(state, "lists", "partial"));
        Directory.CreateDirectory(Path.Combine(cache, "archives", "partial"));
        if (!_ownLists)
        {
            _options.AddRange(["-o", $"Dir::State={state}", "-o", "Dir::State::status=/var/lib/dpkg/status", "-o", $"Dir::Cache={cache}"]);
            _ownLists = true;
        }
        ToolResult result = await ExternalTool.RunAsync(
            _aptGet, [.. _options, "-o", "APT::Update::Error-Mode=any", "update"], "/", cancellation).ConfigureAwait(false);
        if (result.ExitCode != 0)
            throw new VmmException($"apt-get update failed: {result.Reason}");
    }

    /// <summary>Whether <see cref="UpdateAsync"/> has been done.</summary>
    internal bool HasOwnLists => _ownLists;

    /// <summary>Downloads packages into a folder.</summary>
    /// <returns>The files of all packages in the folder.</returns>
    /// <exception cref="VmmException">It cannot.</exception>
    internal async Task<IReadOnlyList<string>> DownloadAsync(
        IReadOnlyCollection<AptPackage> packages, string folder, Action<double> progress, CancellationToken cancellation)
    {
        long total = Math.Max(1, packages.Sum(p => p.Size));
        Task<ToolResult> download = ExternalTool.RunAsync(
            _aptGet, [.. _options, "-q", "download", .. packages.Select(p => p.Name)], folder, cancellation);
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(200));
        while (!download.IsCompleted)
        {
            await Task.WhenAny(download, timer.WaitForNextTickAsync(cancellation).AsTask()).ConfigureAwait(false);
            progress(Math.Min(1, FilesIn(folder).Sum(f => (double)f.Length) / total));
        }
        ToolResult result = await download.ConfigureAwait(false);
        if (result.ExitCode != 0)
            throw new VmmException($"apt-get download failed: {result.Reason}");
        return [.. FilesIn(folder).Where(f => f.Extension == ".deb").Select(f => f.FullName)];
    }

    private static FileInfo[] FilesIn(string folder) => new DirectoryInfo(folder).GetFiles();

    /// <summary>Reads the control paragraph that apt-cache prints (deb-control(5)); alternatives and versions are dropped.</summary>
    internal static AptPackage? ParsePackage(string paragraph)
    {
        string? name = null;
        List<string> depends = [];
        long size = 0;
        foreach (string line in paragraph.Split('\n'))
        {
            int colon = line.IndexOf(": ", StringComparison.Ordinal);
            if (colon < 0 || line[0] == ' ')
                continue;
            string value = line[(colon + 2)..].Trim();
            switch (line[..colon])
            {
                case "Package":
                    name ??= value;
                    break;
                case "Depends" or "Pre-Depends":
                    depends.AddRange(value.Split([',', '|']).Select(d => d.Trim().Split(' ', '(', ':')[0]));
                    break;
                case "Size":
                    _ = long.TryParse(value, out size);
                    break;
            }
        }
        return name is null ? null : new AptPackage(name, depends, size);
    }
}
