using System.Text;
using Vmm.Core.Lifecycle;
using Vmm.Core.Memory;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Loading;

/// <summary>Guest memory as loaders see it: where a kernel may go, and writing there without copies in between.</summary>
internal sealed class BootSpace(GuestMemory memory, E820Entry[] map)
{
    private const int ReadChunk = 1 << 30;

    private int _stringsUsed;

    /// <summary>The memory.</summary>
    public GuestMemory Memory => memory;

    /// <summary>The memory map that the kernel is given.</summary>
    public ReadOnlySpan<E820Entry> Map => map;

    /// <summary>First address behind the usable memory below 4 GiB.</summary>
    public ulong LowEnd => E820Map.UsableEndBelow(map, AddressMap.LowMemoryLimit);

    /// <summary>Whether a range is usable memory that holds nothing of the loader's own.</summary>
    public bool IsLoadable(ulong address, ulong size)
    {
        if (address + size < address)
            return false;
        foreach (var entry in map)
        {
            if (entry.Type != E820Type.Ram || address < entry.Address)
                continue;
            ulong end = entry.Address < AddressMap.BootArea ? Math.Min(entry.End, AddressMap.BootArea) : entry.End;
            if (address + size <= end)
                return true;
        }
        return false;
    }

    /// <summary>Checks that a part of a kernel has a place.</summary>
    /// <exception cref="VmmException">It has none.</exception>
    public void RequireLoadable(string name, ulong address, ulong size)
    {
        if (IsLoadable(address, size))
            return;
        if (address >= AddressMap.ExtendedMemory && size <= 1UL << 40 && address < AddressMap.LowMemoryLimit)
            throw new VmmException($"{name}: the kernel needs memory up to 0x{address + size:x}, and the guest's ends at 0x{LowEnd:x}; give more --memory.");
        throw new VmmException($"{name}: the kernel wants to be at 0x{address:x} (0x{size:x} bytes), where the machine has no memory to load to; use a kernel for a PC.");
    }

    /// <summary>Reads a range of an image straight into guest memory.</summary>
    public unsafe void Load(IImageReader image, long offset, ulong address, ulong size)
    {
        // SAFETY: the pointer covers the whole range, which lies within one region; the memory outlives the loader.
        if (!memory.TryGetPointer(address, size, forWrite: true, out byte* pointer))
            throw new VmmException($"{image.Name}: 0x{address:x} is not within the guest's memory; give more --memory.");
        for (ulong done = 0; done < size;)
        {
            int n = (int)Math.Min(size - done, ReadChunk);
            image.ReadAt(offset + (long)done, new Span<byte>(pointer + done, n));
            done += (ulong)n;
        }
        memory.NotifyWritten(address, size);
    }

    /// <summary>Sets a range to zero.</summary>
    public unsafe void Zero(ulong address, ulong size)
    {
        // SAFETY: as above. Only callers that checked the range come here.
        if (!memory.TryGetPointer(address, size, forWrite: true, out byte* pointer))
            throw new InvalidOperationException($"0x{address:x} is not memory.");
        System.Runtime.InteropServices.NativeMemory.Clear(pointer, (nuint)size);
        memory.NotifyWritten(address, size);
    }

    /// <summary>Writes a structure of the loader's own.</summary>
    public void Write(ulong address, ReadOnlySpan<byte> bytes)
    {
        if (!memory.TryWrite(address, bytes))
            throw new InvalidOperationException($"0x{address:x} is not memory.");
    }

    /// <summary>Writes a string with its NUL where command lines are kept.</summary>
    /// <returns>Its address.</returns>
    /// <exception cref="VmmException">Command lines are longer together than there is room.</exception>
    public ulong AddString(string option, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text + '\0');
        if (bytes.Length > AddressMap.BootStringsSize - _stringsUsed)
            throw new VmmException($"{option}: the command line is too long: {bytes.Length - 1} bytes; shorten it.");
        ulong address = AddressMap.BootStrings + (ulong)_stringsUsed;
        Write(address, bytes);
        _stringsUsed += bytes.Length;
        return address;
    }

    /// <summary>Puts the initial RAM disk as high as it may be, so that it is out of the kernel's way.</summary>
    /// <param name="initrd">The file.</param>
    /// <param name="kernelEnd">First address behind the kernel and what it clears.</param>
    /// <param name="highest">Highest address that its last byte may have.</param>
    /// <returns>Its address.</returns>
    /// <exception cref="VmmException">There is no room.</exception>
    public ulong LoadInitrd(ImageFile initrd, ulong kernelEnd, ulong highest)
    {
        ulong end = Math.Min(highest + 1, LowEnd);
        ulong size = (ulong)initrd.Length;
        ulong start = Math.Max(kernelEnd, AddressMap.ExtendedMemory);
        if (size > end || ((end - size) & ~(GuestMemory.PageSize - 1)) < start)
        {
            ulong room = end > start ? end - start : 0;
            throw new VmmException($"{initrd.Name}: {size >> 20} MiB do not fit into the memory, which has {room >> 20} MiB left beside the kernel; give more --memory or a smaller initrd.");
        }
        ulong address = (end - size) & ~(GuestMemory.PageSize - 1);
        Load(initrd, 0, address, size);
        return address;
    }
}
