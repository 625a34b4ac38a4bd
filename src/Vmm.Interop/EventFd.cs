using Microsoft.Win32.SafeHandles;
using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>An eventfd(2): a counter that one thread waits for and any thread signals. Signals before a wait are not lost.</summary>
public sealed unsafe class EventFd : IDisposable
{
    private readonly SafeFileHandle _handle;

    /// <summary>Makes an unsignalled event.</summary>
    public EventFd()
    {
        int fd = LibC.eventfd(0, LibC.EFD_CLOEXEC | LibC.EFD_NONBLOCK);
        if (fd < 0)
            throw new VmmSystemException("Creating an eventfd", LibC.errno);
        _handle = new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>The file descriptor, for handing to the kernel.</summary>
    public SafeFileHandle Handle => _handle;

    /// <summary>Signals. Any thread; does nothing once disposed.</summary>
    public void Signal()
    {
        bool added = false;
        try
        {
            _handle.DangerousAddRef(ref added);
            ulong one = 1;
            // The counter is full only after 2^64-2 signals that nobody took; then the event is signalled anyway.
            _ = LibC.write((int)_handle.DangerousGetHandle(), &one, 8);
        }
        catch (ObjectDisposedException)
        {
            // The owner is gone: nobody waits.
        }
        finally
        {
            if (added)
                _handle.DangerousRelease();
        }
    }

    /// <summary>Waits until signalled or the time is over, and takes the signal.</summary>
    /// <param name="nanoseconds">How long at most, or null for ever.</param>
    /// <returns>Whether it was signalled.</returns>
    public bool Wait(long? nanoseconds)
    {
        int fd = (int)_handle.DangerousGetHandle();
        pollfd p = new() { fd = fd, events = LibC.POLLIN };
        timespec t = default;
        if (nanoseconds is long n)
        {
            t.tv_sec = n / 1_000_000_000;
            t.tv_nsec = (int)(n % 1_000_000_000);
        }
        int r = LibC.ppoll(&p, 1, nanoseconds is null ? null : &t, null);
        if (r <= 0)
            return false;
        ulong count;
        _ = LibC.read(fd, &count, 8);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}
