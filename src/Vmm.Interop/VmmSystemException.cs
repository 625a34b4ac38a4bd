namespace Vmm.Interop;

/// <summary>A system call failed. The message names the call's purpose and what the system said.</summary>
public sealed class VmmSystemException : IOException
{
    /// <summary>Makes the error of a failed call.</summary>
    /// <param name="action">What was being done, as the start of a sentence: "Mapping 4096 bytes".</param>
    /// <param name="errno">The error number.</param>
    public VmmSystemException(string action, int errno)
        : base($"{action} failed: {Errno.Describe(errno)}.")
    {
        ErrorNumber = errno;
        HResult = errno;
    }

    /// <summary>The system's error number (errno).</summary>
    public int ErrorNumber { get; }
}
