using Microsoft.Extensions.Logging;
using Vmm.Block;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine;

/// <summary>The control thread: what the guest and the host ask of the machine as a whole.</summary>
public sealed partial class VirtualMachine
{
    private void RunControl()
    {
        VirtualMachineExit? exit = null;
        while (exit is null)
        {
            try
            {
                var work = _requests.Take(_options.Watchdog ? _options.WatchdogTimeout / 2 : null);
                exit = work switch
                {
                    null => CheckVcpus(),
                    { Exit: { } end } => end,
                    { Request: { } request } => Handle(request),
                    _ => null,
                };
            }
            catch (Exception e)
            {
                // A machine that cannot be reset has ended; its owner learns why from the result.
                exit = new VirtualMachineExit(VirtualMachineExitReason.Error, Error: e);
            }
        }
        End(exit);
    }

    private VirtualMachineExit? Handle(MachineRequest request)
    {
        switch (request.Kind)
        {
            case MachineRequestKind.PowerOff:
                return new VirtualMachineExit(VirtualMachineExitReason.PowerOff);
            case MachineRequestKind.GuestPanicked:
                return new VirtualMachineExit(VirtualMachineExitReason.GuestPanicked);
            case MachineRequestKind.TripleFault:
                return new VirtualMachineExit(VirtualMachineExitReason.TripleFault);
            case MachineRequestKind.DebugExit:
                return new VirtualMachineExit(VirtualMachineExitReason.DebugExit, request.Code);
            default:
                if (_options.NoReboot)
                    return new VirtualMachineExit(VirtualMachineExitReason.Reset);
                LogGuestReset(Name);
                lock (_lifecycle)
                    PowerCycle();
                return null;
        }
    }

    private VirtualMachineExit? CheckVcpus()
    {
        if (_state != VirtualMachineState.Running || _threads.Ping(_options.WatchdogTimeout))
            return null;
        var error = new VmmException($"The watchdog of '{Name}' saw a vCPU thread hang for {_options.WatchdogTimeout.TotalSeconds:0} s; report this with the log.");
        return new VirtualMachineExit(VirtualMachineExitReason.Error, Error: error);
    }

    // Ends the threads and tells everybody. The only place where a machine becomes stopped; on the control thread.
    private void End(VirtualMachineExit exit)
    {
        lock (_lifecycle)
        {
            if (!_threads.End(StandStillLimit))
            {
                _memoryInUse = true;
                LogHung(Name);
            }
            _board.Clock.Pause();
            if (!_memoryInUse)
                _board.Devices.Pause();
            _state = VirtualMachineState.Stopped;
        }
        foreach (var backend in Backends())
            backend.Flush(FlushLimit);
        FlushDisks();
        if (exit.Error is { } error)
            LogFailed(Name, error.Message, error is VmmException ? null : error);
        else
            LogEnded(Name, exit.Reason);
        _exit.TrySetResult(exit);
    }

    private void FlushDisks()
    {
        foreach (var disk in _options.Disks)
        {
            if (disk.Backend.IsReadOnly)
                continue;
            try
            {
                disk.Backend.FlushAsync().AsTask().GetAwaiter().GetResult();
            }
            catch (Exception e) when (e is BlockIoException or ObjectDisposedException)
            {
                LogFlushFailed(Name, disk.Backend.Path, e.Message);
            }
        }
    }

    private void Fail(Exception e) => _requests.PostEnd(new VirtualMachineExit(VirtualMachineExitReason.Error, Error: e));

    // With the lifecycle lock held.
    private void Run()
    {
        _state = VirtualMachineState.Running;
        _board.Devices.Resume();
        _board.Clock.Resume();
        try
        {
            _threads.Resume();
        }
        catch (OutOfMemoryException e)
        {
            var error = new VmmException($"--cpus: the host refuses a thread for each of {_options.Cpus} vCPUs; give fewer, or raise the limit of threads.", e);
            Fail(error);
            throw error;
        }
    }

    // With the lifecycle lock held.
    private void StandStill()
    {
        if (!_threads.Pause(StandStillLimit))
        {
            var error = new VmmException($"A vCPU of '{Name}' does not stand still within {StandStillLimit.TotalSeconds:0} s; report this with the log.");
            Fail(error);
            throw error;
        }
        _board.Clock.Pause();
        _board.Devices.Pause();
    }

    // With the lifecycle lock held.
    private void PowerCycle()
    {
        bool running = _state == VirtualMachineState.Running;
        StandStill();
        try
        {
            _board.PowerOn();
        }
        catch (Exception e)
        {
            Fail(e);
            throw;
        }
        _threads.ForgetShutdowns();
        // Whatever the guest asked for before this point is void: it is another guest now.
        _requests.GuestHandled();
        if (running)
            Run();
        LogReset(Name);
    }

    private void ResumeIfPaused()
    {
        lock (_lifecycle)
        {
            if (_state == VirtualMachineState.Paused)
                Run();
        }
    }

    [LoggerMessage(EventId = 2101, Level = LogLevel.Information, Message = "{Name}: created with {Cpus} vCPUs, {MemoryMiB} MiB, {Engine} engine")]
    private partial void LogCreated(string name, int cpus, ulong memoryMiB, string engine);

    [LoggerMessage(EventId = 2102, Level = LogLevel.Information, Message = "{Name}: started")]
    private partial void LogStarted(string name);

    [LoggerMessage(EventId = 2103, Level = LogLevel.Information, Message = "{Name}: paused")]
    private partial void LogPaused(string name);

    [LoggerMessage(EventId = 2104, Level = LogLevel.Information, Message = "{Name}: resumed")]
    private partial void LogResumed(string name);

    [LoggerMessage(EventId = 2105, Level = LogLevel.Information, Message = "{Name}: the guest asks for a reset")]
    private partial void LogGuestReset(string name);

    [LoggerMessage(EventId = 2106, Level = LogLevel.Information, Message = "{Name}: reset")]
    private partial void LogReset(string name);

    [LoggerMessage(EventId = 2107, Level = LogLevel.Information, Message = "{Name}: power button pressed")]
    private partial void LogPowerButton(string name);

    [LoggerMessage(EventId = 2108, Level = LogLevel.Warning, Message = "{Name}: the guest did not turn itself off; stopping it hard")]
    private partial void LogStoppedHard(string name);

    [LoggerMessage(EventId = 2109, Level = LogLevel.Information, Message = "{Name}: ended: {Reason}")]
    private partial void LogEnded(string name, VirtualMachineExitReason reason);

    [LoggerMessage(EventId = 2110, Level = LogLevel.Error, Message = "{Name}: failed: {Problem}")]
    private partial void LogFailed(string name, string problem, Exception? exception);

    [LoggerMessage(EventId = 2112, Level = LogLevel.Error, Message = "{Name}: flushing the disk {Path} failed: {Problem}")]
    private partial void LogFlushFailed(string name, string path, string problem);

    [LoggerMessage(EventId = 2111, Level = LogLevel.Critical, Message = "{Name}: a vCPU thread hangs; its memory is not freed")]
    private partial void LogHung(string name);
}
