using Vmm.Machine;

namespace Vmm.Hosting;

/// <summary>A virtual machine that a .NET host owns: started with the host, shut down with it.</summary>
public interface IHostedVirtualMachine
{
    /// <summary>The name it was registered with.</summary>
    string Name { get; }

    /// <summary>The machine, from the host's start on.</summary>
    /// <exception cref="InvalidOperationException">The host has not started it yet.</exception>
    HostedMachine Hosted { get; }

    /// <summary>Completes when the machine has ended, with how. Fails when it could not be started.</summary>
    Task<VirtualMachineExit> Completion { get; }
}
