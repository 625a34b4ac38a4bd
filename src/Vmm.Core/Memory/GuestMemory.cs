using Vmm.Interop;

namespace Vmm.Core.Memory;

/// <summary>What a range of guest-physical memory is.</summary>
public enum GuestMemoryKind
{
    /// <summary>Ordinary RAM: the guest and devices read and write it.</summary>
    Ram,

    /// <summary>Read-only memory: writes by the guest and by devices are dropped.</summary>
    Rom,
}

/// <summary>One contiguous range of guest-physical memory and where it lives in this process.</summary>
/// <param name="Address">First guest-physical address; a multiple of 4096.</param>
/// <param name="Size">Bytes; a multiple of 4096.</param>
/// <param name="HostPointer">Address of the first byte in this process.</param>
/// <param name="Kind">RAM or ROM.</param>
public readonly record struct GuestMemoryRegion(ulong Address, ulong Size, nint HostPointer, GuestMemoryKind Kind)
{
    /// <summary>First address behind the region.</summary>
    public ulong End => Address + Size;
}

/// <summary>Told of every write to guest RAM that does not come from a vCPU (DMA, loaders).</summary>
public interface IGuestWriteObserver
{
    /// <summary>Called after the bytes are in memory, on the writing thread. Must not block.</summary>
    /// <param name="address">First guest-physical address written.</param>
    /// <param name="length">Bytes written.</param>
    void OnDeviceWrite(ulong address, ulong length);
}

/// <summary>
/// The RAM and ROM of one guest. The set of regions is fixed at construction, so look-ups take no lock. Addresses that the
/// guest supplies are never trusted: every access is checked and says by its result whether it was done.
/// </summary>
public sealed unsafe class GuestMemory : IDisposable
{
    /// <summary>Bytes of a page, the granularity of regions.</summary>
    public const ulong PageSize = 4096;

    private readonly GuestMemoryRegion[] _regions;
    private readonly List<HostMapping> _mappings = [];
    private IGuestWriteObserver[] _observers = [];
    private readonly Lock _observersLock = new();

    /// <summary>Maps zeroed memory for each range. The host commits pages when they are first touched.</summary>
    /// <param name="ranges">Ranges by address, size and kind; they must not overlap.</param>
    /// <exception cref="ArgumentException">A range is unaligned, empty, wraps, or overlaps another.</exception>
    /// <exception cref="VmmSystemException">The host refuses the mapping.</exception>
    public GuestMemory(IEnumerable<(ulong Address, ulong Size, GuestMemoryKind Kind)> ranges)
    {
        var ordered = ranges.OrderBy(r => r.Address).ToArray();
        _regions = new GuestMemoryRegion[ordered.Length];
        try
        {
            ulong end = 0;
            for (int i = 0; i < ordered.Length; i++)
            {
                var (address, size, kind) = ordered[i];
                if (((address | size) & (PageSize - 1)) != 0 || size == 0 || address + size < address || address < end)
                    throw new ArgumentException($"Memory range 0x{address:x} of 0x{size:x} bytes is unaligned, empty or overlaps.", nameof(ranges));
                var mapping = HostMapping.CreateAnonymous((nuint)size);
                _mappings.Add(mapping);
                _regions[i] = new GuestMemoryRegion(address, size, mapping.Address, kind);
                end = address + size;
                if (kind == GuestMemoryKind.Ram)
                    RamSize += size;
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The regions by ascending address.</summary>
    public ReadOnlySpan<GuestMemoryRegion> Regions => _regions;

    /// <summary>Bytes of RAM in all regions.</summary>
    public ulong RamSize { get; }

    /// <summary>Finds the region that holds an address.</summary>
    public bool TryFindRegion(ulong address, out GuestMemoryRegion region)
    {
        foreach (ref readonly var r in _regions.AsSpan())
        {
            if (address - r.Address < r.Size)
            {
                region = r;
                return true;
            }
        }
        region = default;
        return false;
    }

    /// <summary>
    /// Gives the host address of a range that lies whole within one region. A device that writes through it calls
    /// <see cref="NotifyWritten"/> afterwards, and asks with <paramref name="forWrite"/> so that ROM is refused.
    /// </summary>
    public bool TryGetPointer(ulong address, ulong length, bool forWrite, out byte* pointer)
    {
        if (TryFindRegion(address, out var r) && length <= r.End - address && !(forWrite && r.Kind == GuestMemoryKind.Rom))
        {
            pointer = (byte*)r.HostPointer + (address - r.Address);
            return true;
        }
        pointer = null;
        return false;
    }

    /// <summary>Reads bytes; the range may span adjacent regions. Nothing is copied unless all of it is memory.</summary>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        if (!IsMemory(address, (ulong)destination.Length, forWrite: false))
            return false;
        while (!destination.IsEmpty)
        {
            TryFindRegion(address, out var r);
            int n = (int)Math.Min((ulong)destination.Length, r.End - address);
            new ReadOnlySpan<byte>((byte*)r.HostPointer + (address - r.Address), n).CopyTo(destination);
            destination = destination[n..];
            address += (ulong)n;
        }
        return true;
    }

    /// <summary>Writes bytes on behalf of a device and tells the observers. Nothing is written unless all of it is RAM.</summary>
    public bool TryWrite(ulong address, ReadOnlySpan<byte> source)
    {
        ulong start = address;
        ulong length = (ulong)source.Length;
        if (!IsMemory(address, length, forWrite: true))
            return false;
        while (!source.IsEmpty)
        {
            TryFindRegion(address, out var r);
            int n = (int)Math.Min((ulong)source.Length, r.End - address);
            source[..n].CopyTo(new Span<byte>((byte*)r.HostPointer + (address - r.Address), n));
            source = source[n..];
            address += (ulong)n;
        }
        NotifyWritten(start, length);
        return true;
    }

    /// <summary>Writes bytes at load time, ROM included.</summary>
    /// <returns>False when the range is not memory.</returns>
    public bool TryLoad(ulong address, ReadOnlySpan<byte> source)
    {
        if (!TryGetPointer(address, (ulong)source.Length, forWrite: false, out byte* p))
            return false;
        source.CopyTo(new Span<byte>(p, source.Length));
        NotifyWritten(address, (ulong)source.Length);
        return true;
    }

    /// <summary>Whether a whole range is memory that can be read, or written when <paramref name="forWrite"/>.</summary>
    public bool IsMemory(ulong address, ulong length, bool forWrite)
    {
        if (length != 0 && address + (length - 1) < address)
            return false;
        while (length != 0)
        {
            if (!TryFindRegion(address, out var r) || (forWrite && r.Kind == GuestMemoryKind.Rom))
                return false;
            ulong n = Math.Min(length, r.End - address);
            address += n;
            length -= n;
        }
        return true;
    }

    /// <summary>Adds an observer of device writes. Done while the machine is being built.</summary>
    public void AddObserver(IGuestWriteObserver observer)
    {
        lock (_observersLock)
            _observers = [.. _observers, observer];
    }

    /// <summary>Tells the observers that a device wrote to a range through a pointer.</summary>
    public void NotifyWritten(ulong address, ulong length)
    {
        foreach (var observer in Volatile.Read(ref _observers))
            observer.OnDeviceWrite(address, length);
    }

    /// <summary>Sets all RAM to zero and gives its pages back to the host. No vCPU or device may be running.</summary>
    public void Clear()
    {
        foreach (ref readonly var r in _regions.AsSpan())
        {
            if (r.Kind != GuestMemoryKind.Ram)
                continue;
            HostMapping.Discard(r.HostPointer, (nuint)r.Size);
            NotifyWritten(r.Address, r.Size);
        }
    }

    /// <summary>Unmaps everything. No vCPU, worker or device may use the memory any more.</summary>
    public void Dispose()
    {
        foreach (var mapping in _mappings)
            mapping.Dispose();
    }
}
