using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>Memory mapped into this process; unmapped when disposed.</summary>
public sealed unsafe class HostMapping : IDisposable
{
    private nint _address;
    private readonly nuint _length;

    private HostMapping(nint address, nuint length)
    {
        (_address, _length) = (address, length);
    }

    /// <summary>Address of the first byte.</summary>
    public nint Address => _address;

    /// <summary>Bytes mapped.</summary>
    public nuint Length => _length;

    /// <summary>Maps zeroed, private, readable and writable memory that is committed on first touch.</summary>
    /// <exception cref="VmmSystemException">The host refuses.</exception>
    public static HostMapping CreateAnonymous(nuint length)
    {
        void* p = LibC.mmap(null, (size_t)length, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS | LibC.MAP_NORESERVE, -1, 0);
        if (p == LibC.MAP_FAILED)
            throw new VmmSystemException($"Mapping {length} bytes of memory", LibC.errno);
        return new HostMapping((nint)p, length);
    }

    /// <summary>Gives pages of an anonymous mapping back to the host; they read as zero afterwards.</summary>
    public static void Discard(nint address, nuint length)
    {
        if (LibC.madvise((void*)address, (size_t)length, LibC.MADV_DONTNEED) != 0)
            throw new VmmSystemException($"Discarding {length} bytes of memory", LibC.errno);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        nint address = Interlocked.Exchange(ref _address, 0);
        if (address != 0)
            LibC.munmap((void*)address, (size_t)_length);
    }
}
