namespace Vmm.Core.Lifecycle;

/// <summary>
/// An error with a message for the person who ran the command: what was being done, to which file or option, what the system
/// said, and what to do about it, in one line.
/// </summary>
public class VmmException : Exception
{
    /// <summary>Makes the error.</summary>
    public VmmException(string message)
        : base(message)
    {
    }

    /// <summary>Makes the error with its cause.</summary>
    public VmmException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
