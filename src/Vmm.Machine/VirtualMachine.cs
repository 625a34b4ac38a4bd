using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine;

/// <summary>
/// One virtual machine: created, started, paused and resumed, reset, stopped, disposed. All members may be called from any thread;
/// several machines live in one process. Each vCPU runs on a dedicated thread named after the machine, and what the guest asks of the
/// machine (power off, reset) is done on a control thread. A failure ends the machine with
/// <see cref="VirtualMachineExitReason.Error"/>, never the process.
/// </summary>
public sealed class VirtualMachine : IAsyncDisposable
{
    private readonly TaskCompletionSource<VirtualMachineExit> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private VirtualMachine(VirtualMachineOptions options)
    {
        Name = options.Name;
    }

    /// <summary>Builds a machine and loads its kernel. Nothing runs yet.</summary>
    /// <param name="options">What it is made of.</param>
    /// <param name="engineFactory">What executes the guest.</param>
    /// <param name="loggerFactory">For messages; none when null.</param>
    /// <exception cref="VmmException">
    /// An option, a file or the host does not allow it; the message is one line that names the culprit and says what to do.
    /// </exception>
    public static VirtualMachine Create(VirtualMachineOptions options, ICpuEngineFactory engineFactory, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(engineFactory);
        _ = loggerFactory ?? NullLoggerFactory.Instance;
        if (options.Validate() is [var first, ..])
            throw new VmmException(first);
        return new VirtualMachine(options);
    }

    /// <summary>The machine's name.</summary>
    public string Name { get; }

    /// <summary>Where it is in its life.</summary>
    public VirtualMachineState State { get; private set; }

    /// <summary>Instructions that all vCPUs have retired, or 0 where the engine cannot count; approximate while running.</summary>
    public ulong InstructionsRetired => 0;

    /// <summary>Starts the vCPUs. Does nothing when they run already; resumes a paused machine.</summary>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    public void Start()
    {
    }

    /// <summary>Stops the vCPUs and VM time, and returns when they stand still. Does nothing when paused or ended already.</summary>
    /// <exception cref="InvalidOperationException">The machine was never started.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    public void Pause()
    {
    }

    /// <summary>Lets a paused machine run on. Does nothing when it runs already or has ended.</summary>
    /// <exception cref="InvalidOperationException">The machine was never started.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    public void Resume()
    {
    }

    /// <summary>
    /// Resets the machine as its reset button would: devices, memory and vCPUs as at power-on, the kernel loaded again. A running
    /// machine runs on, a paused one stays paused.
    /// </summary>
    /// <exception cref="InvalidOperationException">The machine was never started, or has ended.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    public void Reset()
    {
    }

    /// <summary>Presses the ACPI power button: a guest that listens shuts itself down. Does nothing unless the machine runs.</summary>
    public void PressPowerButton()
    {
    }

    /// <summary>
    /// Presses the power button, waits for the guest to turn itself off, and stops it hard after
    /// <see cref="VirtualMachineOptions.StopTimeout"/> or when <paramref name="cancellationToken"/> is cancelled (a second signal).
    /// </summary>
    /// <returns>How the machine ended.</returns>
    public Task<VirtualMachineExit> ShutdownAsync(CancellationToken cancellationToken = default) => _exit.Task.WaitAsync(cancellationToken);

    /// <summary>
    /// Stops the machine at once, as pulling the plug does, and completes when no vCPU runs any more and disks are flushed. Idempotent.
    /// </summary>
    public Task StopAsync()
    {
        _exit.TrySetResult(new VirtualMachineExit(VirtualMachineExitReason.Stopped));
        return Task.CompletedTask;
    }

    /// <summary>Waits until the machine has ended.</summary>
    /// <param name="cancellationToken">Ends the wait, not the machine.</param>
    public Task<VirtualMachineExit> WaitForExitAsync(CancellationToken cancellationToken = default) => _exit.Task.WaitAsync(cancellationToken);

    /// <summary>Asks every vCPU thread for a sign of life.</summary>
    /// <returns>Whether all answered within <paramref name="timeout"/>; a machine that is not running counts as healthy.</returns>
    public Task<bool> CheckHealthAsync(TimeSpan timeout, CancellationToken cancellationToken = default) => Task.FromResult(true);

    /// <summary>Stops the machine if it runs and frees its memory, devices and disks. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAsync().ConfigureAwait(false);
        State = VirtualMachineState.Disposed;
    }
}
