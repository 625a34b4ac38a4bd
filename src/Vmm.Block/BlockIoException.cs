using Vmm.Interop;

namespace Vmm.Block;

/// <summary>A disk request failed. The message names the disk, the range and what the system said.</summary>
public sealed class BlockIoException : IOException
{
    /// <summary>Makes the error of a failed request.</summary>
    /// <param name="path">The disk.</param>
    /// <param name="action">What was being done, as the start of a sentence: "Reading 4096 bytes at 0".</param>
    /// <param name="errno">The error number.</param>
    public BlockIoException(string path, string action, int errno)
        : base($"{action} of disk '{path}' failed: {Errno.Describe(errno)}.")
    {
        Path = path;
        ErrorNumber = errno;
        HResult = errno;
    }

    /// <summary>The disk.</summary>
    public string Path { get; }

    /// <summary>The system's error number (errno).</summary>
    public int ErrorNumber { get; }
}
