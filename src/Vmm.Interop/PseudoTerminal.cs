using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Vmm.Interop;

/// <summary>The master end of a pseudo-terminal (pty(7)), whose other end is in raw mode.</summary>
public sealed class PseudoTerminal : IDisposable
{
    private const int MaxPath = 128;

    private PseudoTerminal(SafeFileHandle master, string path)
    {
        (Master, Path) = (master, path);
    }

    /// <summary>The master end.</summary>
    public SafeFileHandle Master { get; }

    /// <summary>Path of the other end, such as /dev/pts/3.</summary>
    public string Path { get; }

    /// <summary>Opens a pseudo-terminal.</summary>
    /// <exception cref="VmmSystemException">The host refuses.</exception>
    public static unsafe PseudoTerminal Open()
    {
        int fd;
        byte* path = stackalloc byte[MaxPath];
        // SAFETY: the shim writes one int and at most MaxPath bytes, terminated.
        int r = Shim.PtyOpen(&fd, path, MaxPath);
        if (r < 0)
            throw new VmmSystemException("Opening a pseudo-terminal", -r);
        var name = new ReadOnlySpan<byte>(path, MaxPath);
        return new PseudoTerminal(new SafeFileHandle(fd, ownsHandle: true), Encoding.UTF8.GetString(name[..name.IndexOf((byte)0)]));
    }

    /// <summary>Closes the master end: whoever has the other open sees a hang-up.</summary>
    public void Dispose() => Master.Dispose();
}
