namespace Vmm.Devices.Pci;

/// <summary>The ranges that a board gives to the BARs of its devices.</summary>
/// <param name="Memory32Base">Start of the window below 4 GiB.</param>
/// <param name="Memory32Size">Bytes of that window.</param>
/// <param name="IoBase">First port; 0x1000 keeps clear of the board's devices.</param>
/// <param name="IoSize">Ports.</param>
/// <param name="Memory64Base">Start of the window above 4 GiB for prefetchable BARs; without it they go below 4 GiB.</param>
/// <param name="Memory64Size">Bytes of that window, or 0.</param>
public readonly record struct PciResourceWindows(
    ulong Memory32Base,
    ulong Memory32Size,
    ulong IoBase = 0x1000,
    ulong IoSize = 0xF000,
    ulong Memory64Base = 0,
    ulong Memory64Size = 0);

/// <summary>Hands out naturally aligned addresses of a window, upwards.</summary>
internal struct PciWindowAllocator(ulong start, ulong size)
{
    private readonly ulong _end = start + size;
    private ulong _next = start;

    public bool TryTake(ulong length, out ulong address)
    {
        address = (_next + (length - 1)) & ~(length - 1);
        if (address < _next || address > _end || length > _end - address)
            return false;
        _next = address + length;
        return true;
    }
}
