namespace Vmm.Machine;

/// <summary>Where a <see cref="VirtualMachine"/> is in its life.</summary>
public enum VirtualMachineState
{
    /// <summary>Built and loaded; no vCPU has run.</summary>
    Created,

    /// <summary>The vCPUs execute.</summary>
    Running,

    /// <summary>The vCPUs and VM time stand still.</summary>
    Paused,

    /// <summary>Ended, by itself or by <see cref="VirtualMachine.StopAsync"/>; it does not start again.</summary>
    Stopped,

    /// <summary>Its memory and devices are gone.</summary>
    Disposed,
}
