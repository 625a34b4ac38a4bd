using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Configuration;

/// <summary>An option of a virtual machine, from wherever it came, is unusable. The one-line message names it and says what to do.</summary>
public sealed class ConfigurationException : VmmException
{
    /// <summary>Makes the error.</summary>
    public ConfigurationException(string message)
        : base(message)
    {
    }

    /// <summary>Makes the error with its cause.</summary>
    public ConfigurationException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
