using SharpCompress.Compressors.Xz;
using ZstdSharp;

namespace Vmm.Hosting.Quickstart;

/// <summary>A module to load: its name and its bytes, unpacked.</summary>
internal sealed record KernelModule(string Name, byte[] Content);

/// <summary>
/// The modules of one kernel, in a directory as <c>/lib/modules/VERSION</c>. Dependencies are read from the modules themselves,
/// since <c>modules.dep</c> is only made when a kernel package is installed.
/// </summary>
internal sealed class ModuleTree
{
    private static readonly string[] Extensions = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"];

    private readonly Dictionary<string, string> _files = [];
    private readonly HashSet<string> _builtIn = [];

    /// <summary>Lists the modules below a directory, and those that <c>modules.builtin</c> names.</summary>
    internal ModuleTree(string directory)
    {
        EnumerationOptions options = new() { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        foreach (string file in Directory.EnumerateFiles(directory, "*.ko*", options))
        {
            if (NameOf(file) is string name)
                _files.TryAdd(name, file);
        }
        string builtIn = Path.Combine(directory, "modules.builtin");
        if (!File.Exists(builtIn))
            return;
        foreach (string line in File.ReadLines(builtIn))
        {
            if (NameOf(line.Trim()) is string name)
                _builtIn.Add(name);
        }
    }

    /// <summary>Whether the kernel has it, as a module or built in.</summary>
    internal bool Has(string name) => _files.ContainsKey(ModuleInfo.Normalize(name)) || _builtIn.Contains(ModuleInfo.Normalize(name));

    /// <summary>The modules that are asked for and all they depend on, each after what it needs. Those that are built in, or that the kernel lacks, are left out.</summary>
    internal IReadOnlyList<KernelModule> Resolve(IEnumerable<string> names)
    {
        List<KernelModule> order = [];
        HashSet<string> seen = [];
        foreach (string name in names)
            Visit(ModuleInfo.Normalize(name), seen, order);
        return order;
    }

    private void Visit(string name, HashSet<string> seen, List<KernelModule> order)
    {
        if (!seen.Add(name) || _builtIn.Contains(name) || !_files.TryGetValue(name, out string? file))
            return;
        byte[] content = Unpack(file);
        if (ModuleInfo.Read(content) is not ModuleInfo info)
            throw new InvalidDataException($"'{file}' is not a kernel module for x86-64.");
        foreach (string needed in info.SoftDepends.Concat(info.Depends))
            Visit(needed, seen, order);
        order.Add(new KernelModule(name, content));
    }

    private static string? NameOf(string file)
    {
        string name = Path.GetFileName(file);
        foreach (string extension in Extensions)
        {
            if (name.EndsWith(extension, StringComparison.Ordinal))
                return ModuleInfo.Normalize(name[..^extension.Length]);
        }
        return null;
    }

    private static byte[] Unpack(string file)
    {
        using FileStream source = File.OpenRead(file);
        using Stream plain = Path.GetExtension(file) switch
        {
            ".gz" => new System.IO.Compression.GZipStream(source, System.IO.Compression.CompressionMode.Decompress),
            ".xz" => new XZStream(source),
            ".zst" => new DecompressionStream(source),
            _ => source,
        };
        using MemoryStream content = new();
        plain.CopyTo(content);
        return content.ToArray();
    }
}
