using Microsoft.Win32.SafeHandles;
using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>
/// The raw mode of a terminal: every key goes to the reader as it is, none makes a signal. Disposing it puts the mode back that was
/// there before; so does the native shim when the process exits or crashes. One terminal of the process can be raw at a time.
/// </summary>
public sealed class TerminalMode : IDisposable
{
    private int _disposed;

    private TerminalMode()
    {
    }

    /// <summary>Whether a file descriptor is a terminal (isatty(3)).</summary>
    public static bool IsTerminal(SafeFileHandle handle)
    {
        ArgumentNullException.ThrowIfNull(handle);
        return LibC.isatty((int)handle.DangerousGetHandle()) == 1;
    }

    /// <summary>
    /// Whether the terminal's foreground job is another one than this process's: reading or changing it would stop the process.
    /// </summary>
    public static bool IsBackground(SafeFileHandle handle)
    {
        ArgumentNullException.ThrowIfNull(handle);
        return Shim.TerminalIsBackground((int)handle.DangerousGetHandle()) != 0;
    }

    /// <summary>Makes a terminal raw.</summary>
    /// <returns>What puts it back, or null when the handle is no terminal or another one is raw already.</returns>
    /// <exception cref="VmmSystemException">The terminal refuses.</exception>
    public static TerminalMode? TryEnterRaw(SafeFileHandle handle)
    {
        ArgumentNullException.ThrowIfNull(handle);
        int r = Shim.TerminalMakeRaw((int)handle.DangerousGetHandle());
        return r switch
        {
            0 => new TerminalMode(),
            -Errno.ENOTTY or -Errno.EBUSY or -Errno.EBADF => null,
            _ => throw new VmmSystemException("Switching the terminal to raw mode", -r),
        };
    }

    /// <summary>Makes it raw again after the shell has changed it, when the process was stopped and continued (SIGCONT).</summary>
    public void Reapply()
    {
        // A terminal that hung up in between cannot be set, nor does anybody look at it.
        if (Volatile.Read(ref _disposed) == 0)
            _ = Shim.TerminalReapply();
    }

    /// <summary>Puts the mode back that was there before. Idempotent.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) == 0)
            Shim.TerminalRestore();
    }
}
