using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>
/// Memory for generated code: one memfd(2) mapped twice, once readable and writable, once readable and executable, so that no page is ever writable and
/// executable at the same address. Unmapped when disposed.
/// </summary>
public sealed unsafe class CodeMemory : IDisposable
{
    private const uint MemfdCloseOnExec = 1;
    private const uint MemfdExecutable = 0x10;
    private readonly int _length;
    private readonly List<int> _faultExits = [];
    private nint _writable;
    private nint _executable;

    /// <summary>Maps code memory.</summary>
    /// <param name="length">Bytes; a multiple of the page size.</param>
    /// <exception cref="VmmSystemException">The host refuses.</exception>
    public CodeMemory(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        _length = length;
        int fd;
        fixed (byte* name = "vmm-code\0"u8)
        {
            // Systems that seal memfds against execution unless asked (vm.memfd_noexec) know the flag; kernels before 6.3 know neither.
            fd = LibC.memfd_create(name, MemfdCloseOnExec | MemfdExecutable);
            if (fd < 0 && LibC.errno == Errno.EINVAL)
                fd = LibC.memfd_create(name, MemfdCloseOnExec);
        }
        if (fd < 0)
            throw new VmmSystemException("Creating a memfd for generated code", LibC.errno);
        try
        {
            if (LibC.ftruncate(fd, length) != 0)
                throw new VmmSystemException($"Sizing {length} bytes of code memory", LibC.errno);
            _writable = Map(fd, LibC.PROT_READ | LibC.PROT_WRITE);
            _executable = Map(fd, LibC.PROT_READ | LibC.PROT_EXEC);
        }
        catch (VmmSystemException)
        {
            Dispose();
            throw;
        }
        finally
        {
            LibC.close(fd);
        }
    }

    /// <summary>Unmaps what nobody disposed.</summary>
    ~CodeMemory() => Unmap();

    /// <summary>Where the code is written.</summary>
    public nint Writable => _writable;

    /// <summary>Where the code runs.</summary>
    public nint Executable => _executable;

    /// <summary>Bytes.</summary>
    public int Length => _length;

    /// <summary>
    /// Makes a processor exception raised within this code (an unmasked floating-point exception) continue at an exit stub instead of being a signal of the process.
    /// </summary>
    /// <param name="exitOffset">Offset of the exit stub in this memory.</param>
    /// <exception cref="VmmSystemException">Too many registrations, or the host refuses the handler.</exception>
    public void RegisterFaultExit(int exitOffset)
    {
        int number = Shim.RegisterFaultExit(_executable, (nuint)_length, _executable + exitOffset);
        if (number < 0)
            throw new VmmSystemException("Registering generated code with the fault handler", -number);
        _faultExits.Add(number);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Unmap();
        GC.SuppressFinalize(this);
    }

    private nint Map(int fd, int protection)
    {
        void* p = LibC.mmap(null, (size_t)_length, protection, LibC.MAP_SHARED, fd, 0);
        if (p == LibC.MAP_FAILED)
            throw new VmmSystemException($"Mapping {_length} bytes of code memory", LibC.errno);
        return (nint)p;
    }

    private void Unmap()
    {
        foreach (int number in _faultExits)
            Shim.UnregisterFaultExit(number);
        _faultExits.Clear();
        nint writable = Interlocked.Exchange(ref _writable, 0);
        nint executable = Interlocked.Exchange(ref _executable, 0);
        if (writable != 0)
            LibC.munmap((void*)writable, (size_t)_length);
        if (executable != 0)
            LibC.munmap((void*)executable, (size_t)_length);
    }
}
