using System.Diagnostics;
using Vmm.Cpu.Software.Mmu;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>
/// Knows which 64-byte lines of guest memory hold decoded code of any vCPU, so that writes to them, by vCPUs and by devices,
/// make the blocks invalid. One per VM.
/// </summary>
/// <remarks>
/// The order that makes this exact: a decoder sets the bits, then reads the bytes; a writer stores, then looks at the bits. One of them
/// sees the other. Fast-path writers do not look at bits, so a page that becomes a code page is first taken out of every vCPU's write tags, and
/// then the decoder waits until each of them has passed a point where no access is under way.
/// </remarks>
internal sealed unsafe class CodeMap : IDisposable
{
    private readonly HostMapping _mapping;
    private readonly ulong* _lines;
    private readonly ulong _pages;
    private SoftwareCpu[] _cpus = [];

    public CodeMap(ulong end)
    {
        _pages = end >> 12;
        _mapping = HostMapping.CreateAnonymous((nuint)Math.Max(4096, _pages * 8));
        _lines = (ulong*)_mapping.Address;
    }

    public void Dispose() => _mapping.Dispose();

    /// <summary>Adds a vCPU. Done before any runs.</summary>
    public void Add(SoftwareCpu cpu) => _cpus = [.. _cpus, cpu];

    /// <summary>Marks lines as code before the bytes are read for decoding.</summary>
    /// <param name="self">The vCPU that decodes; it executes no guest access now.</param>
    /// <param name="physical">First byte.</param>
    /// <param name="length">Bytes, within one page.</param>
    public void Mark(SoftwareCpu self, ulong physical, int length)
    {
        ulong page = physical >> 12;
        if (page >= _pages)
            return;
        ulong mask = LineMask((int)(physical & 0xFFF), length);
        ulong before = Volatile.Read(ref _lines[page]);
        if ((before & mask) == mask)
            return;
        before = Interlocked.Or(ref _lines[page], mask);
        if (before != 0)
            return;
        foreach (var cpu in _cpus)
            cpu.PurgeWriteTags(page << 12);
        foreach (var cpu in _cpus)
        {
            if (cpu != self)
                cpu.WaitForSafepoint();
        }
    }

    /// <summary>Lets a TLB entry be written through directly unless its page holds code.</summary>
    public void PrepareWrite(TlbEntry* entry, ulong pageLinear, ulong physical)
    {
        ulong page = physical >> 12;
        if (page >= _pages || Volatile.Read(ref _lines[page]) != 0)
            return;
        Volatile.Write(ref entry->TagWrite, pageLinear);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _lines[page]) != 0)
            Volatile.Write(ref entry->TagWrite, Tlb.NoTag);
    }

    /// <summary>Called after a slow-path store of a vCPU.</summary>
    public void Written(SoftwareCpu self, ulong physical, int length)
    {
        ulong page = physical >> 12;
        if (page >= _pages)
            return;
        Interlocked.MemoryBarrier();
        if ((Volatile.Read(ref _lines[page]) & LineMask((int)(physical & 0xFFF), length)) != 0)
            Invalidate(self, page);
    }

    /// <summary>Called after a device wrote.</summary>
    public void WrittenByDevice(ulong physical, ulong length)
    {
        Interlocked.MemoryBarrier();
        while (length != 0)
        {
            ulong page = physical >> 12;
            if (page >= _pages)
                return;
            ulong n = Math.Min(length, 4096 - (physical & 0xFFF));
            if (_lines[page] != 0 && (_lines[page] & LineMask((int)(physical & 0xFFF), (int)n)) != 0)
                Invalidate(null, page);
            physical += n;
            length -= n;
        }
    }

    private void Invalidate(SoftwareCpu? self, ulong page)
    {
        Volatile.Write(ref _lines[page], 0);
        foreach (var cpu in _cpus)
        {
            if (cpu == self)
                cpu.Blocks.InvalidatePage(page);
            else
                cpu.PostInvalidation(page);
        }
    }

    private static ulong LineMask(int offset, int length)
    {
        Debug.Assert(length > 0);
        int first = offset >> 6;
        int last = Math.Min(63, (offset + length - 1) >> 6);
        return (ulong.MaxValue << first) & (ulong.MaxValue >>> (63 - last));
    }
}
