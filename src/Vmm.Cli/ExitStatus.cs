namespace Vmm.Cli;

/// <summary>What the process ends with.</summary>
internal static class ExitStatus
{
    /// <summary>The guest powered off, or the command did what it was asked.</summary>
    internal const int Success = 0;

    /// <summary>The VMM failed.</summary>
    internal const int Failure = 1;

    /// <summary>The command line or the configuration is wrong.</summary>
    internal const int Usage = 2;

    /// <summary>The guest crashed: triple fault, or a panic that it reported.</summary>
    internal const int GuestCrashed = 3;

    /// <summary>What isa-debug-exit gives: (value &lt;&lt; 1) | 1, of which the system keeps 8 bits.</summary>
    internal static int ForDebugExit(uint value) => (int)((value << 1) | 1) & 0xFF;
}
