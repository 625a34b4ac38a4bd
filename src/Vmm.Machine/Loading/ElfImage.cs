using System.Buffers.Binary;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>One program header (ELF-64 Object File Format 1.5, section 6).</summary>
internal readonly record struct ElfSegment(uint Type, ulong Offset, ulong VirtualAddress, ulong PhysicalAddress, ulong FileSize, ulong MemorySize, ulong Alignment)
{
    /// <summary>PT_LOAD.</summary>
    public const uint Load = 1;

    /// <summary>PT_NOTE.</summary>
    public const uint Note = 4;
}

/// <summary>
/// An ELF executable for x86, 32 or 64 bits, read from front to back only, so that it can come out of a decompressor straight into
/// guest memory.
/// </summary>
internal sealed class ElfImage
{
    private const int MaximumHeaders = 256;
    private const ulong MaximumNotes = 64 << 10;
    private const ushort MachineI386 = 3;
    private const ushort MachineX64 = 62;
    private const uint XenPhys32Entry = 18;

    private readonly IImageReader _reader;
    private readonly ElfSegment[] _segments;

    private ElfImage(IImageReader reader, bool is64, ulong entry, ElfSegment[] segments)
    {
        (_reader, Is64, Entry, _segments) = (reader, is64, entry, segments);
    }

    /// <summary>ELFCLASS64.</summary>
    public bool Is64 { get; }

    /// <summary>e_entry as it stands in the file: a virtual address.</summary>
    public ulong Entry { get; }

    /// <summary>The segments in the order of the file's contents.</summary>
    public ReadOnlySpan<ElfSegment> Segments => _segments;

    /// <summary>Physical entry by XEN_ELFNOTE_PHYS32_ENTRY, after <see cref="Load"/>; null without the note.</summary>
    public uint? PvhEntry { get; private set; }

    /// <summary>Whether bytes begin with the ELF magic.</summary>
    public static bool IsElf(ReadOnlySpan<byte> start) => start.StartsWith("\u007FELF"u8);

    /// <summary>Reads and checks the headers.</summary>
    /// <exception cref="VmmException">It is not an x86 executable, or damaged.</exception>
    public static ElfImage Open(IImageReader reader)
    {
        Span<byte> header = stackalloc byte[64];
        reader.ReadAt(0, header[..52]);
        if (!IsElf(header))
            throw new VmmException($"{reader.Name}: this is not an ELF file; give a vmlinux.");
        bool is64 = header[4] == 2;
        if (header[4] is not (1 or 2) || header[5] != 1)
            throw new VmmException($"{reader.Name}: this ELF file is for another architecture; give a kernel for x86.");
        if (is64)
            reader.ReadAt(52, header[52..]);
        ushort type = U16(header, 16), machine = U16(header, 18);
        if (machine is not (MachineI386 or MachineX64))
            throw new VmmException($"{reader.Name}: this ELF file is for machine type {machine}; give a kernel for x86.");
        if (type is not (2 or 3))
            throw new VmmException($"{reader.Name}: this ELF file is not an executable (type {type}); give a linked kernel, not an object or a core file.");
        ulong entry = is64 ? U64(header, 24) : U32(header, 24);
        ulong tableOffset = is64 ? U64(header, 32) : U32(header, 28);
        int size = U16(header, is64 ? 54 : 42), count = U16(header, is64 ? 56 : 44);
        if (count is 0 or > MaximumHeaders || size < (is64 ? 56 : 32) || size > 256 || tableOffset > 1 << 20)
            throw Damaged(reader);
        byte[] table = new byte[size * count];
        reader.ReadAt((long)tableOffset, table);
        var segments = new List<ElfSegment>(count);
        for (int i = 0; i < count; i++)
        {
            var segment = Parse(table.AsSpan(i * size, size), is64);
            if (segment.Type is not (ElfSegment.Load or ElfSegment.Note))
                continue;
            if (segment.Offset > long.MaxValue / 2 || segment.FileSize > long.MaxValue / 2)
                throw Damaged(reader);
            if (segment.Type == ElfSegment.Load && segment.FileSize > segment.MemorySize)
                throw Damaged(reader);
            segments.Add(segment);
        }
        return new ElfImage(reader, is64, entry, [.. segments.OrderBy(static s => s.Offset).ThenBy(static s => s.Type)]);
    }

    /// <summary>Loads the segments to their physical addresses and clears what follows their file contents.</summary>
    /// <returns>First address behind the highest segment.</returns>
    /// <exception cref="VmmException">A segment has no place in memory, or the file is damaged.</exception>
    public ulong Load(BootSpace space)
    {
        ulong end = 0;
        foreach (ref readonly var s in _segments.AsSpan())
        {
            if (s.Type != ElfSegment.Load || s.MemorySize == 0)
                continue;
            space.RequireLoadable(_reader.Name, s.PhysicalAddress, s.MemorySize);
            end = Math.Max(end, s.PhysicalAddress + s.MemorySize);
        }
        if (end == 0)
            throw new VmmException($"{_reader.Name}: this ELF file has nothing to load; give a kernel.");
        foreach (ref readonly var s in _segments.AsSpan())
        {
            if (s.Type == ElfSegment.Load && s.MemorySize != 0)
            {
                space.Load(_reader, (long)s.Offset, s.PhysicalAddress, s.FileSize);
                space.Zero(s.PhysicalAddress + s.FileSize, s.MemorySize - s.FileSize);
            }
            else if (s.Type == ElfSegment.Note && s.FileSize is > 0 and <= MaximumNotes && !IsWithinLoad(s, out _))
            {
                byte[] notes = new byte[s.FileSize];
                _reader.ReadAt((long)s.Offset, notes);
                PvhEntry ??= FindPvhEntry(notes, s.Alignment);
            }
        }
        ReadLoadedNotes(space);
        return end;
    }

    /// <summary>The physical address of the entry: e_entry moved by the segment that holds it.</summary>
    public ulong PhysicalEntry()
    {
        foreach (ref readonly var s in _segments.AsSpan())
        {
            if (s.Type == ElfSegment.Load && Entry - s.VirtualAddress < s.MemorySize)
                return s.PhysicalAddress + (Entry - s.VirtualAddress);
        }
        return Entry;
    }

    // A note segment usually lies within a loaded one, where a forward reader has gone past it: it is read from guest memory.
    private void ReadLoadedNotes(BootSpace space)
    {
        foreach (ref readonly var s in _segments.AsSpan())
        {
            if (s.Type != ElfSegment.Note || s.FileSize is 0 or > MaximumNotes || !IsWithinLoad(s, out var load))
                continue;
            byte[] notes = new byte[s.FileSize];
            if (space.Memory.TryRead(load.PhysicalAddress + (s.Offset - load.Offset), notes))
                PvhEntry ??= FindPvhEntry(notes, s.Alignment);
        }
    }

    private bool IsWithinLoad(in ElfSegment note, out ElfSegment load)
    {
        foreach (ref readonly var s in _segments.AsSpan())
        {
            if (s.Type == ElfSegment.Load && note.Offset >= s.Offset && note.Offset + note.FileSize <= s.Offset + s.FileSize)
            {
                load = s;
                return true;
            }
        }
        load = default;
        return false;
    }

    // Note section (ELF-64 1.5, section 8): name size, descriptor size, type, then both padded.
    private static uint? FindPvhEntry(ReadOnlySpan<byte> notes, ulong alignment)
    {
        uint align = alignment == 8 ? 8u : 4u;
        ulong at = 0;
        while (at + 12 <= (ulong)notes.Length)
        {
            var head = notes[(int)at..];
            uint nameSize = U32(head, 0), size = U32(head, 4), type = U32(head, 8);
            ulong name = at + 12, descriptor = Align(name + nameSize, align), end = Align(descriptor + size, align);
            if (descriptor + size > (ulong)notes.Length)
                return null;
            if (type == XenPhys32Entry && nameSize == 4 && size is 4 or 8 && notes.Slice((int)name, 4).SequenceEqual("Xen\0"u8))
                return U32(notes, (int)descriptor);
            at = end;
        }
        return null;
    }

    private static ulong Align(ulong value, uint alignment) => (value + (alignment - 1)) & ~(ulong)(alignment - 1);

    private static ElfSegment Parse(ReadOnlySpan<byte> h, bool is64) => is64
        ? new ElfSegment(U32(h, 0), U64(h, 8), U64(h, 16), U64(h, 24), U64(h, 32), U64(h, 40), U64(h, 48))
        : new ElfSegment(U32(h, 0), U32(h, 4), U32(h, 8), U32(h, 12), U32(h, 16), U32(h, 20), U32(h, 28));

    private static VmmException Damaged(IImageReader reader) => new($"{reader.Name}: the ELF headers are damaged; fetch or build the kernel again.");

    private static ushort U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static ulong U64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);
}
