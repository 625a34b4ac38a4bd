using Vmm.Core.Memory;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Guest-physical memory by a flat table of regions: what the slow paths look addresses up in.</summary>
internal sealed unsafe class PhysicalMemory
{
    private readonly GuestMemoryRegion[] _regions;

    public PhysicalMemory(GuestMemory memory)
    {
        _regions = memory.Regions.ToArray();
        foreach (var r in _regions)
            End = Math.Max(End, r.End);
    }

    /// <summary>First address behind the highest region.</summary>
    public ulong End { get; }

    /// <summary>Host address of a byte of RAM or ROM, or null.</summary>
    public byte* Find(ulong physical)
    {
        foreach (ref readonly var r in _regions.AsSpan())
        {
            if (physical - r.Address < r.Size)
                return (byte*)r.HostPointer + (physical - r.Address);
        }
        return null;
    }

    /// <summary>Host address of a byte of RAM or ROM, or null, and whether it can be written.</summary>
    public byte* Find(ulong physical, out bool writable)
    {
        foreach (ref readonly var r in _regions.AsSpan())
        {
            if (physical - r.Address < r.Size)
            {
                writable = r.Kind == GuestMemoryKind.Ram;
                return (byte*)r.HostPointer + (physical - r.Address);
            }
        }
        writable = false;
        return null;
    }
}
