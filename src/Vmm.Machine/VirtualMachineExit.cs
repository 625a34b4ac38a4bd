namespace Vmm.Machine;

/// <summary>Why a virtual machine ended.</summary>
public enum VirtualMachineExitReason
{
    /// <summary>The guest turned itself off (ACPI S5).</summary>
    PowerOff,

    /// <summary>The guest reset itself and <see cref="VirtualMachineOptions.NoReboot"/> is set.</summary>
    Reset,

    /// <summary>The guest reported a panic (pvpanic).</summary>
    GuestPanicked,

    /// <summary>A vCPU shut down: triple fault.</summary>
    TripleFault,

    /// <summary>The guest wrote to isa-debug-exit; <see cref="VirtualMachineExit.DebugExitCode"/> has the value.</summary>
    DebugExit,

    /// <summary>The host stopped it: <see cref="VirtualMachine.StopAsync"/> or disposal.</summary>
    Stopped,

    /// <summary>The VMM failed; <see cref="VirtualMachineExit.Error"/> tells how.</summary>
    Error,
}

/// <summary>How a virtual machine ended.</summary>
/// <param name="Reason">Why.</param>
/// <param name="DebugExitCode">The value written to isa-debug-exit; 0 for every other reason.</param>
/// <param name="Error">The failure, for <see cref="VirtualMachineExitReason.Error"/>; else null.</param>
public sealed record VirtualMachineExit(VirtualMachineExitReason Reason, uint DebugExitCode = 0, Exception? Error = null);
