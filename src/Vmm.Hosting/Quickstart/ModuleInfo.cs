using System.Buffers.Binary;
using System.Text;

namespace Vmm.Hosting.Quickstart;

/// <summary>What a kernel module says of itself in its <c>.modinfo</c> section: NAME=VALUE texts, each ended by a zero.</summary>
/// <param name="Depends">Names of modules that must be loaded before it.</param>
/// <param name="SoftDepends">Names of modules that had better be loaded before it.</param>
internal sealed record ModuleInfo(IReadOnlyList<string> Depends, IReadOnlyList<string> SoftDepends)
{
    private const int SectionHeaderOffset = 0x28;
    private const int SectionHeaderEntrySize = 0x3A;
    private const int SectionHeaderLength = 64;

    /// <summary>Reads an ELF64 little-endian module (System V ABI, chapter 4).</summary>
    /// <returns>Null when the bytes are no such module.</returns>
    internal static ModuleInfo? Read(ReadOnlySpan<byte> module)
    {
        if (!TryFindModInfo(module, out ReadOnlySpan<byte> section))
            return null;
        List<string> depends = [], soft = [];
        foreach (string entry in Encoding.UTF8.GetString(section).Split('\0', StringSplitOptions.RemoveEmptyEntries))
        {
            if (entry.StartsWith("depends=", StringComparison.Ordinal))
                depends.AddRange(entry[8..].Split(',', StringSplitOptions.RemoveEmptyEntries).Select(Normalize));
            else if (entry.StartsWith("softdep=pre:", StringComparison.Ordinal))
                soft.AddRange(entry[12..].Split("post:")[0].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Normalize));
        }
        return new ModuleInfo(depends, soft);
    }

    /// <summary>A module's name with underscores, as the kernel keeps it: files are written either way.</summary>
    internal static string Normalize(string name) => name.Replace('-', '_');

    private static bool TryFindModInfo(ReadOnlySpan<byte> module, out ReadOnlySpan<byte> section)
    {
        section = default;
        if (module.Length < 64 || !module.StartsWith("\u007FELF\u0002\u0001"u8))
            return false;
        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(module[SectionHeaderOffset..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(module[(SectionHeaderEntrySize + 2)..]);
        int names = BinaryPrimitives.ReadUInt16LittleEndian(module[(SectionHeaderEntrySize + 4)..]);
        if (!TrySection(module, table, names, out _, out ReadOnlySpan<byte> strings))
            return false;
        for (int i = 0; i < count; i++)
        {
            if (!TrySection(module, table, i, out uint name, out ReadOnlySpan<byte> content))
                continue;
            if (name < strings.Length && strings[(int)name..].StartsWith(".modinfo\0"u8))
            {
                section = content;
                return true;
            }
        }
        return false;
    }

    private static bool TrySection(ReadOnlySpan<byte> module, ulong table, int index, out uint name, out ReadOnlySpan<byte> content)
    {
        name = 0;
        content = default;
        ulong length = (ulong)module.Length;
        ulong header = table + ((ulong)index * SectionHeaderLength);
        if (header < table || header > length - SectionHeaderLength)
            return false;
        ReadOnlySpan<byte> h = module[(int)header..];
        name = BinaryPrimitives.ReadUInt32LittleEndian(h);
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(h[24..]);
        ulong size = BinaryPrimitives.ReadUInt64LittleEndian(h[32..]);
        if (offset > length || size > length - offset)
            return false;
        content = module.Slice((int)offset, (int)size);
        return true;
    }
}
