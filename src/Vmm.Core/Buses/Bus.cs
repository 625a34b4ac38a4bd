namespace Vmm.Core.Buses;

/// <summary>What a bus sees of a device: registers by offset within the mapped range.</summary>
public interface IBusDevice
{
    /// <summary>Reads a register. Called on a vCPU thread; must not block or throw on anything a guest can cause.</summary>
    /// <param name="offset">Bytes from the start of the mapping.</param>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    /// <returns>The value, zero-extended.</returns>
    ulong Read(ulong offset, int size);

    /// <summary>Writes a register. Called on a vCPU thread; must not block or throw on anything a guest can cause.</summary>
    /// <param name="offset">Bytes from the start of the mapping.</param>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    /// <param name="value">The value, zero-extended.</param>
    void Write(ulong offset, int size, ulong value);
}

/// <summary>A device's place on a bus. Disposing it takes the device off the bus.</summary>
public sealed class BusMapping : IDisposable
{
    private readonly Bus _bus;

    internal BusMapping(Bus bus, string name, ulong start, ulong length, IBusDevice device, int priority)
    {
        (_bus, Name, Start, Length, Device, Priority) = (bus, name, start, length, device, priority);
    }

    /// <summary>The device's name, for messages.</summary>
    public string Name { get; }

    /// <summary>First address.</summary>
    public ulong Start { get; }

    /// <summary>Addresses covered.</summary>
    public ulong Length { get; }

    /// <summary>The device behind the range.</summary>
    public IBusDevice Device { get; }

    internal int Priority { get; }

    internal ulong Last => Start + (Length - 1);

    /// <inheritdoc/>
    public void Dispose() => _bus.Remove(this);
}

/// <summary>
/// A port or MMIO bus: maps ranges of addresses to devices. Look-ups take no lock: the map is immutable and swapped whole.
/// No lock is held while a device runs. An access that no device answers reads all ones and drops writes, as on a PC.
/// </summary>
public sealed class Bus
{
    private readonly record struct Segment(ulong Start, ulong Last, BusMapping Mapping);

    private readonly Lock _lock = new();
    private readonly List<BusMapping> _mappings = [];
    private Segment[] _segments = [];

    /// <summary>Makes an empty bus.</summary>
    /// <param name="name">"port" or "MMIO", for messages.</param>
    /// <param name="lastAddress">Highest address of the bus.</param>
    public Bus(string name, ulong lastAddress)
    {
        (Name, LastAddress) = (name, lastAddress);
    }

    /// <summary>Makes the x86 port bus: 65,536 ports.</summary>
    public static Bus CreatePortBus() => new("port", 0xFFFF);

    /// <summary>Makes an MMIO bus over the 52-bit physical address space.</summary>
    public static Bus CreateMmioBus() => new("MMIO", (1UL << 52) - 1);

    /// <summary>The bus's name, for messages.</summary>
    public string Name { get; }

    /// <summary>Highest address of the bus.</summary>
    public ulong LastAddress { get; }

    /// <summary>Puts a device on the bus.</summary>
    /// <param name="name">The device's name, for messages.</param>
    /// <param name="start">First address.</param>
    /// <param name="length">Addresses covered; at least 1.</param>
    /// <param name="device">The device.</param>
    /// <param name="priority">
    /// Where ranges overlap the higher priority answers. A guest can move PCI BARs over other devices, so overlap is legal;
    /// board devices use 0, BARs use -1. Within one priority the earlier mapping answers.
    /// </param>
    /// <exception cref="ArgumentOutOfRangeException">The range is empty or leaves the bus.</exception>
    public BusMapping Map(string name, ulong start, ulong length, IBusDevice device, int priority = 0)
    {
        ArgumentOutOfRangeException.ThrowIfZero(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, LastAddress);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length - 1, LastAddress - start);
        var mapping = new BusMapping(this, name, start, length, device, priority);
        lock (_lock)
        {
            _mappings.Add(mapping);
            Rebuild();
        }
        return mapping;
    }

    /// <summary>Reads 1, 2, 4 or 8 bytes.</summary>
    public ulong Read(ulong address, int size)
    {
        if (TryFind(address, out var segment))
        {
            if ((ulong)(size - 1) <= segment.Last - address)
                return segment.Mapping.Device.Read(address - segment.Mapping.Start, size);
        }
        return ReadSplit(address, size);
    }

    /// <summary>Writes 1, 2, 4 or 8 bytes.</summary>
    public void Write(ulong address, int size, ulong value)
    {
        if (TryFind(address, out var segment))
        {
            if ((ulong)(size - 1) <= segment.Last - address)
            {
                segment.Mapping.Device.Write(address - segment.Mapping.Start, size, value);
                return;
            }
        }
        WriteSplit(address, size, value);
    }

    /// <summary>The mappings, for diagnostics.</summary>
    public IReadOnlyList<BusMapping> Mappings
    {
        get
        {
            lock (_lock)
                return [.. _mappings];
        }
    }

    internal void Remove(BusMapping mapping)
    {
        lock (_lock)
        {
            if (_mappings.Remove(mapping))
                Rebuild();
        }
    }

    private bool TryFind(ulong address, out Segment segment)
    {
        var segments = Volatile.Read(ref _segments);
        int low = 0, high = segments.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            ref readonly var s = ref segments[middle];
            if (address < s.Start)
                high = middle - 1;
            else if (address > s.Last)
                low = middle + 1;
            else
            {
                segment = s;
                return true;
            }
        }
        segment = default;
        return false;
    }

    // An access over the edge of a device is done byte by byte, each byte by whoever owns it.
    private ulong ReadSplit(ulong address, int size)
    {
        ulong value = 0;
        for (int i = 0; i < size; i++)
        {
            ulong a = (address + (ulong)i) & LastAddress;
            ulong b = TryFind(a, out var s) ? s.Mapping.Device.Read(a - s.Mapping.Start, 1) & 0xFF : 0xFF;
            value |= b << (8 * i);
        }
        return value;
    }

    private void WriteSplit(ulong address, int size, ulong value)
    {
        for (int i = 0; i < size; i++)
        {
            ulong a = (address + (ulong)i) & LastAddress;
            if (TryFind(a, out var s))
                s.Mapping.Device.Write(a - s.Mapping.Start, 1, (value >> (8 * i)) & 0xFF);
        }
    }

    // Cuts the possibly overlapping mappings into disjoint segments, the winner of each decided by priority.
    private void Rebuild()
    {
        var edges = new SortedSet<ulong>();
        foreach (var m in _mappings)
        {
            edges.Add(m.Start);
            if (m.Last != LastAddress)
                edges.Add(m.Last + 1);
        }
        ulong[] starts = [.. edges];
        var segments = new List<Segment>(starts.Length);
        for (int i = 0; i < starts.Length; i++)
        {
            BusMapping? winner = null;
            foreach (var m in _mappings)
            {
                if (m.Start <= starts[i] && m.Last >= starts[i] && (winner is null || m.Priority > winner.Priority))
                    winner = m;
            }
            if (winner is null)
                continue;
            ulong last = i + 1 < starts.Length ? Math.Min(starts[i + 1] - 1, winner.Last) : winner.Last;
            if (segments.Count > 0 && ReferenceEquals(segments[^1].Mapping, winner) && segments[^1].Last + 1 == starts[i])
                segments[^1] = segments[^1] with { Last = last };
            else
                segments.Add(new Segment(starts[i], last, winner));
        }
        Volatile.Write(ref _segments, [.. segments]);
    }
}
