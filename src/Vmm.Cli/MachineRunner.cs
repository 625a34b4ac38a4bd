using Vmm.Core.Lifecycle;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli;

/// <summary>Runs a machine in the foreground.</summary>
internal static class MachineRunner
{
    internal static Task<int> RunAsync(MachineSettings settings) =>
        throw new VmmException($"Running '{settings.Machine.Name}' is not wired up yet.");
}
