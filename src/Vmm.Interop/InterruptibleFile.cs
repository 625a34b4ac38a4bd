using Microsoft.Win32.SafeHandles;
using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>
/// Blocking reads and writes of a terminal, pipe, socket or file that another thread can end. The descriptor's flags stay as they are:
/// O_NONBLOCK would be seen by every process that shares it.
/// </summary>
public sealed unsafe class InterruptibleFile : IDisposable
{
    // A terminal has room for at least this much when poll(2) says that it can be written; a pipe for PIPE_BUF, 4096.
    private const int TerminalChunk = 256;
    private const int PipeChunk = 4096;

    // Events of poll(2).
    private const short In = 0x01;
    private const short Out = 0x04;
    private const short Invalid = 0x20;
    private const short HungUp = 0x10 | 0x08 | Invalid;

    private const int BackgroundPollMilliseconds = 500;

    private readonly SafeFileHandle _handle;
    private readonly EventFd _stop = new();
    private readonly bool _terminal;
    private volatile bool _stopped;

    /// <summary>Wraps a descriptor; disposing does not close it.</summary>
    public InterruptibleFile(SafeFileHandle handle)
    {
        _handle = handle;
        _terminal = !handle.IsInvalid && TerminalMode.IsTerminal(handle);
    }

    /// <summary>Whether <see cref="Stop"/> was called.</summary>
    public bool IsStopped => _stopped;

    /// <summary>Wraps standard input.</summary>
    public static InterruptibleFile StandardInput() => new(new SafeFileHandle(0, ownsHandle: false));

    /// <summary>Wraps standard output.</summary>
    public static InterruptibleFile StandardOutput() => new(new SafeFileHandle(1, ownsHandle: false));

    /// <summary>Waits for bytes and reads them. A job in the background waits until it is in the foreground.</summary>
    /// <returns>Bytes read; 0 at the end of the input, which a closed descriptor and a hung-up terminal are too, or when stopped.</returns>
    /// <exception cref="VmmSystemException">The system reports another error.</exception>
    public int Read(Span<byte> buffer)
    {
        while (!_stopped)
        {
            if (_terminal && TerminalMode.IsBackground(_handle))
            {
                WaitForStop(BackgroundPollMilliseconds);
                continue;
            }
            short ready = Wait(In, -1);
            if (_stopped || (ready & Invalid) != 0)
                return 0;
            if (ready == 0)
                continue;
            nint n;
            // SAFETY: the buffer is pinned for the call and its length is given.
            fixed (byte* p = buffer)
                n = (nint)LibC.read(Descriptor, p, buffer.Length);
            if (n >= 0)
                return (int)n;
            int error = LibC.errno;
            // EIO: the terminal hung up, or its other end is not open.
            if (error is Errno.EIO or Errno.EBADF)
                return 0;
            if (error is not (Errno.EAGAIN or Errno.EINTR))
                throw new VmmSystemException("Reading console input", error);
        }
        return 0;
    }

    /// <summary>Writes all bytes, waiting as long as it takes; returns early when stopped.</summary>
    /// <exception cref="VmmSystemException">The reader is gone or the system reports another error.</exception>
    public void Write(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty && !_stopped)
        {
            short ready = Wait(Out, -1);
            if (_stopped)
                return;
            if (ready == 0)
                continue;
            nint n;
            // SAFETY: the data is pinned for the call and its length is given.
            fixed (byte* p = data)
                n = (nint)LibC.write(Descriptor, p, Math.Min(data.Length, _terminal ? TerminalChunk : PipeChunk));
            if (n >= 0)
            {
                data = data[(int)n..];
                continue;
            }
            int error = LibC.errno;
            if (error is not (Errno.EAGAIN or Errno.EINTR))
                throw new VmmSystemException("Writing console output", error);
        }
    }

    /// <summary>Whether the other end of a pseudo-terminal or pipe is closed at this moment.</summary>
    public bool IsHungUp => (Wait(0, 0) & HungUp) != 0;

    /// <summary>Waits until stopped or the time is over.</summary>
    /// <returns>Whether it was stopped.</returns>
    public bool WaitForStop(int milliseconds)
    {
        pollfd p = new() { fd = (int)_stop.Handle.DangerousGetHandle(), events = In };
        if (!_stopped)
            _ = LibC.poll(&p, 1, milliseconds);
        return _stopped;
    }

    /// <summary>Ends reads and writes under way and refuses further ones. Any thread.</summary>
    public void Stop()
    {
        _stopped = true;
        _stop.Signal();
    }

    /// <summary>Stops. The event stays open while a thread may still wait for it; its finalizer closes it.</summary>
    public void Dispose() => Stop();

    private int Descriptor => (int)_handle.DangerousGetHandle();

    // The events that are ready on the file, 0 when the wait was interrupted, over, or ended by a stop.
    private short Wait(short events, int milliseconds)
    {
        pollfd* p = stackalloc pollfd[2];
        p[0] = new pollfd { fd = Descriptor, events = events };
        p[1] = new pollfd { fd = (int)_stop.Handle.DangerousGetHandle(), events = In };
        int r = LibC.poll(p, 2, milliseconds);
        return r <= 0 ? (short)0 : p[0].revents;
    }
}
