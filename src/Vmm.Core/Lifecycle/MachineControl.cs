namespace Vmm.Core.Lifecycle;

/// <summary>What a guest, through a device, asks of the machine as a whole.</summary>
public enum MachineRequestKind
{
    /// <summary>Turn the machine off (ACPI S5).</summary>
    PowerOff,

    /// <summary>Reset the machine: i8042, port 0x92, port 0xCF9, ACPI reset register.</summary>
    Reset,

    /// <summary>The guest panicked (pvpanic).</summary>
    GuestPanicked,

    /// <summary>A vCPU shut down: triple fault.</summary>
    TripleFault,

    /// <summary>isa-debug-exit: end with <see cref="MachineRequest.Code"/>.</summary>
    DebugExit,
}

/// <summary>A request of the guest to the machine.</summary>
/// <param name="Kind">What is asked.</param>
/// <param name="Code">For <see cref="MachineRequestKind.DebugExit"/>, the value written.</param>
public readonly record struct MachineRequest(MachineRequestKind Kind, uint Code = 0);

/// <summary>Takes requests from devices. Returns at once; the machine acts on a thread of its own.</summary>
public interface IMachineControl
{
    /// <summary>Queues a request. Any thread, vCPU threads included.</summary>
    void Request(MachineRequest request);
}

/// <summary>A part of a machine that can be put back into its power-on state.</summary>
public interface IResettable
{
    /// <summary>Returns to the power-on state. Called while no vCPU runs; drives interrupt lines low, raises none.</summary>
    void Reset();
}

/// <summary>A device whose state a snapshot holds as a versioned record.</summary>
/// <typeparam name="TRecord">The record, immutable, with a <c>Version</c> of its own where it ever changed.</typeparam>
public interface ISnapshotable<TRecord>
    where TRecord : notnull
{
    /// <summary>Copies the state out. Called while no vCPU runs.</summary>
    TRecord Capture();

    /// <summary>Puts the state back. Raises no interrupt edge. Called while no vCPU runs.</summary>
    /// <exception cref="InvalidDataException">The record holds a value that the device cannot have.</exception>
    void Restore(TRecord state);
}
