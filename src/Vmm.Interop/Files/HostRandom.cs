using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>The host's random number generator, getrandom(2).</summary>
public static unsafe class HostRandom
{
    /// <summary>Fills memory with random bytes. Does not block once the host has booted.</summary>
    /// <exception cref="VmmSystemException">The host has no getrandom.</exception>
    public static void Fill(Span<byte> destination)
    {
        // SAFETY: the span is pinned while the kernel writes to it, and its length bounds the write.
        fixed (byte* start = destination)
        {
            nuint done = 0;
            while (done < (nuint)destination.Length)
            {
                nint n = LibCFile.GetRandom(start + done, (nuint)destination.Length - done, 0);
                if (n > 0)
                {
                    done += (nuint)n;
                    continue;
                }
                int errno = Marshal.GetLastPInvokeError();
                if (errno != Errno.EINTR)
                    throw new VmmSystemException("Reading random numbers", errno);
            }
        }
    }
}
