using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Serial;
using Vmm.Machine.Pc;
using Vmm.Machine.Running;

namespace Vmm.Machine;

/// <summary>
/// One virtual machine: created, started, paused and resumed, reset, stopped, disposed. All members may be called from any thread;
/// several machines live in one process. Each vCPU runs on a dedicated thread named after the machine, and what the guest asks of the
/// machine (power off, reset) is done on a control thread. A failure ends the machine with
/// <see cref="VirtualMachineExitReason.Error"/>, never the process.
/// </summary>
public sealed partial class VirtualMachine : IAsyncDisposable, IMachineControl
{
    // How long vCPUs may take to come out of the guest and devices before the machine counts as hung.
    private static readonly TimeSpan StandStillLimit = TimeSpan.FromSeconds(30);

    // How long the far end of a console may take for the last output.
    private static readonly TimeSpan FlushLimit = TimeSpan.FromSeconds(2);

    // Guards _state and every transition; the only lock of the machine, taken before any of a device. Never taken on a vCPU's thread.
    private readonly Lock _lifecycle = new();
    private readonly TaskCompletionSource<VirtualMachineExit> _exit = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _disposed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly RequestSlot _requests = new();
    private readonly VirtualMachineOptions _options;
    private readonly ILogger<VirtualMachine> _logger;
    private readonly PcBoard _board;
    private readonly VcpuThreads _threads;
    private readonly Thread _control;
    private volatile VirtualMachineState _state;
    private bool _memoryInUse;
    private int _disposing;

    private VirtualMachine(VirtualMachineOptions options, ICpuEngineFactory engineFactory, ILoggerFactory loggerFactory)
    {
        _options = options;
        _logger = loggerFactory.CreateLogger<VirtualMachine>();
        _board = new PcBoard(options, engineFactory, this, loggerFactory);
        _threads = new VcpuThreads(options.Name, _board.Cpus, kind => ((IMachineControl)this).Request(new MachineRequest(kind)), Fail);
        _control = new Thread(RunControl) { IsBackground = true, Name = $"{options.Name}-control" };
    }

    /// <summary>Builds a machine and loads its kernel. Nothing runs yet.</summary>
    /// <param name="options">What it is made of.</param>
    /// <param name="engineFactory">What executes the guest.</param>
    /// <param name="loggerFactory">For messages; none when null.</param>
    /// <exception cref="VmmException">
    /// An option, a file or the host does not allow it; the message is one line that names the culprit and says what to do.
    /// Backends in the options then stay the caller's.
    /// </exception>
    public static VirtualMachine Create(VirtualMachineOptions options, ICpuEngineFactory engineFactory, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(engineFactory);
        if (options.Validate() is [var first, ..])
            throw new VmmException(first);
        options = options.Clone();
        var console = options.Serial is null ? new MemoryCharacterBackend("console") : null;
        options.Serial ??= console;
        VirtualMachine? machine = null;
        try
        {
            machine = new VirtualMachine(options, engineFactory, loggerFactory ?? NullLoggerFactory.Instance) { Console = console?.Console };
            machine._board.PowerOn();
        }
        catch
        {
            machine?._board.DisposeAsync().AsTask().GetAwaiter().GetResult();
            console?.Dispose();
            throw;
        }
        machine._control.Start();
        machine.LogCreated(options.Name, options.Cpus, options.Memory >> 20, machine._board.EngineName);
        return machine;
    }

    /// <summary>The machine's name.</summary>
    public string Name => _options.Name;

    /// <summary>Where it is in its life.</summary>
    public VirtualMachineState State => _state;

    /// <summary>
    /// The far end of COM1 where the options gave none, else null: reads give the guest's output (0 bytes once the machine is disposed),
    /// writes are its input.
    /// </summary>
    public Stream? Console { get; private init; }

    /// <summary>Instructions that all vCPUs have retired, or 0 where the engine cannot count; approximate while running.</summary>
    public ulong InstructionsRetired
    {
        get
        {
            ulong sum = 0;
            foreach (var cpu in _board.Cpus)
                sum += cpu.InstructionsRetired;
            return sum;
        }
    }

    internal PcBoard Board => _board;

    /// <summary>Starts the vCPUs. Does nothing when they run already; resumes a paused machine.</summary>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    /// <exception cref="VmmException">The host refuses a thread; the machine then has ended.</exception>
    public void Start()
    {
        lock (_lifecycle)
        {
            ThrowIfDisposed();
            if (_state == VirtualMachineState.Stopped)
                throw new InvalidOperationException($"The machine '{Name}' has ended; create another.");
            if (_state == VirtualMachineState.Running)
                return;
            Run();
        }
        LogStarted(Name);
    }

    /// <summary>Stops the vCPUs and VM time, and returns when they stand still. Does nothing when paused or ended already.</summary>
    /// <exception cref="InvalidOperationException">The machine was never started.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    /// <exception cref="VmmException">A vCPU does not stand still; the machine then ends.</exception>
    public void Pause()
    {
        lock (_lifecycle)
        {
            ThrowIfDisposed();
            ThrowIfNotStarted();
            if (_state != VirtualMachineState.Running)
                return;
            StandStill();
            _state = VirtualMachineState.Paused;
        }
        LogPaused(Name);
    }

    /// <summary>Lets a paused machine run on. Does nothing when it runs already or has ended.</summary>
    /// <exception cref="InvalidOperationException">The machine was never started.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    public void Resume()
    {
        lock (_lifecycle)
        {
            ThrowIfDisposed();
            ThrowIfNotStarted();
            if (_state != VirtualMachineState.Paused)
                return;
            Run();
        }
        LogResumed(Name);
    }

    /// <summary>
    /// Resets the machine as its reset button would: devices, memory and vCPUs as at power-on, the kernel loaded again. A running
    /// machine runs on, a paused one stays paused.
    /// </summary>
    /// <exception cref="InvalidOperationException">The machine was never started, or has ended.</exception>
    /// <exception cref="ObjectDisposedException">The machine was disposed.</exception>
    /// <exception cref="VmmException">The kernel cannot be loaded again; the machine then ends.</exception>
    public void Reset()
    {
        lock (_lifecycle)
        {
            ThrowIfDisposed();
            ThrowIfNotStarted();
            if (_state == VirtualMachineState.Stopped)
                throw new InvalidOperationException($"The machine '{Name}' has ended; create another.");
            PowerCycle();
        }
    }

    /// <summary>Presses the ACPI power button: a guest that listens shuts itself down. Does nothing unless the machine was started and has not ended.</summary>
    public void PressPowerButton()
    {
        lock (_lifecycle)
        {
            if (_state is not (VirtualMachineState.Running or VirtualMachineState.Paused))
                return;
            _board.Devices.Pm.PressPowerButton();
        }
        LogPowerButton(Name);
    }

    /// <summary>
    /// Presses the power button, waits for the guest to turn itself off, and stops it hard after
    /// <see cref="VirtualMachineOptions.StopTimeout"/> or when <paramref name="cancellationToken"/> is cancelled (a second signal).
    /// A paused machine is resumed for it, and one that was never started is stopped at once.
    /// </summary>
    /// <returns>How the machine ended.</returns>
    public async Task<VirtualMachineExit> ShutdownAsync(CancellationToken cancellationToken = default)
    {
        if (_state == VirtualMachineState.Created)
        {
            await StopAsync().ConfigureAwait(false);
            return await _exit.Task.ConfigureAwait(false);
        }
        PressPowerButton();
        ResumeIfPaused();
        try
        {
            return await _exit.Task.WaitAsync(_options.StopTimeout, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            LogStoppedHard(Name);
            await StopAsync().ConfigureAwait(false);
            return await _exit.Task.ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Stops the machine at once, as pulling the plug does, and completes when no vCPU runs any more and disks are flushed. Idempotent.
    /// </summary>
    public Task StopAsync()
    {
        _requests.PostEnd(new VirtualMachineExit(VirtualMachineExitReason.Stopped));
        return _exit.Task;
    }

    /// <summary>Waits until the machine has ended.</summary>
    /// <param name="cancellationToken">Ends the wait, not the machine.</param>
    public Task<VirtualMachineExit> WaitForExitAsync(CancellationToken cancellationToken = default) => _exit.Task.WaitAsync(cancellationToken);

    /// <summary>Asks every vCPU thread for a sign of life.</summary>
    /// <returns>Whether all answered within <paramref name="timeout"/>; a machine that is not running counts as healthy.</returns>
    public Task<bool> CheckHealthAsync(TimeSpan timeout, CancellationToken cancellationToken = default) =>
        _state == VirtualMachineState.Running
            ? Task.Run(() => _threads.Ping(timeout), cancellationToken).WaitAsync(cancellationToken)
            : Task.FromResult(true);

    /// <summary>Stops the machine if it runs and frees its memory, devices and disks. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposing, 1) != 0)
        {
            await _disposed.Task.ConfigureAwait(false);
            return;
        }
        await StopAsync().ConfigureAwait(false);
        // The control thread ends right after it has set the result.
        await Task.Run(_control.Join).ConfigureAwait(false);
        lock (_lifecycle)
            _state = VirtualMachineState.Disposed;
        // A vCPU that hangs may still touch memory: better to leak it than to let the process die of it.
        if (!_memoryInUse)
            await _board.DisposeAsync().ConfigureAwait(false);
        foreach (var backend in Backends())
            backend.Dispose();
        foreach (var disk in _options.Disks)
            await disk.Backend.DisposeAsync().ConfigureAwait(false);
        _disposed.SetResult();
    }

    /// <inheritdoc/>
    void IMachineControl.Request(MachineRequest request)
    {
        if (!_requests.TryPost(request))
            return;
        // The guest does not get far beyond its request: each of them ends it or starts it anew.
        _threads.Hold();
    }

    private IEnumerable<ICharacterBackend> Backends()
    {
        if (_options.Serial is { } serial)
            yield return serial;
        foreach (var extra in _options.ExtraSerials)
            yield return extra;
        if (_options.DebugConsole is { } debug)
            yield return debug;
    }

    private void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(_disposing != 0, this);

    private void ThrowIfNotStarted()
    {
        if (_state == VirtualMachineState.Created)
            throw new InvalidOperationException($"The machine '{Name}' was not started.");
    }
}
