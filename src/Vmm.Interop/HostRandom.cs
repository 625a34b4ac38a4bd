using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>The host's random number generator, getrandom(2).</summary>
public static unsafe partial class HostRandom
{
    /// <summary>Fills a buffer of at most 256 bytes, which the kernel never does by halves.</summary>
    /// <returns>False when the host refuses.</returns>
    public static bool TryFill(Span<byte> buffer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(buffer.Length, 256);
        // SAFETY: the pointer is valid for the length given while it is fixed.
        fixed (byte* p = buffer)
            return GetRandom(p, (nuint)buffer.Length, 0) == buffer.Length;
    }

    [LibraryImport("libc", EntryPoint = "getrandom")]
    private static partial nint GetRandom(byte* buffer, nuint length, uint flags);
}
