using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Vmm.Hosting;
using Vmm.Hosting.Configuration;
using Vmm.Hosting.Systemd;
using Vmm.Machine;

namespace Vmm.Cli;

/// <summary>Runs a machine in the foreground until it ends: signals, systemd, exit status.</summary>
internal static partial class MachineRunner
{
    /// <summary>Runs it.</summary>
    /// <returns>The exit status.</returns>
    internal static async Task<int> RunAsync(MachineSettings settings)
    {
        using StandardErrorLoggerFactory logs = new(settings.LogLevel);
        ILogger logger = logs.CreateLogger("vmm");
        using SystemdNotifier systemd = SystemdNotifier.FromEnvironment();
        // Before the machine: a signal that comes while it is being built is kept and acted upon.
        ShutdownSignals signals = new();
        await using HostedMachine hosted = HostedMachine.Create(settings, logs);
        VirtualMachine machine = hosted.Machine;
        // Gives back what unpacking the kernel took; from here on little is allocated.
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        long begin = Stopwatch.GetTimestamp();
        machine.Start();
        systemd.Ready(DescribeRunning(settings));
        using CancellationTokenSource ended = new();
        Task watchdog = FeedWatchdogAsync(machine, systemd, logger, ended.Token);
        Task<VirtualMachineExit> exit = machine.WaitForExitAsync();
        if (await Task.WhenAny(exit, signals.First).ConfigureAwait(false) != exit)
        {
            string signal = await signals.First.ConfigureAwait(false);
            LogShutdown(logger, signal, settings.Machine.StopTimeout.TotalSeconds);
            systemd.Stopping($"{signal}: waiting for the guest to power off");
            await machine.ShutdownAsync(signals.Second).ConfigureAwait(false);
        }
        VirtualMachineExit result = await exit.ConfigureAwait(false);
        LogExecuted(logger, result.Reason, machine.InstructionsRetired, Stopwatch.GetElapsedTime(begin).TotalSeconds);
        systemd.Stopping("The guest has ended");
        await ended.CancelAsync().ConfigureAwait(false);
        await watchdog.ConfigureAwait(false);
        GC.KeepAlive(signals);
        return ToStatus(result, logger);
    }

    /// <summary>The exit status for the end of a machine.</summary>
    internal static int ToStatus(VirtualMachineExit exit, ILogger logger)
    {
        switch (exit.Reason)
        {
            case VirtualMachineExitReason.TripleFault:
                LogTripleFault(logger);
                return ExitStatus.GuestCrashed;
            case VirtualMachineExitReason.GuestPanicked:
                LogPanic(logger);
                return ExitStatus.GuestCrashed;
            case VirtualMachineExitReason.DebugExit:
                return ExitStatus.ForDebugExit(exit.DebugExitCode);
            case VirtualMachineExitReason.Error:
                throw exit.Error ?? new InvalidOperationException("The machine failed without saying how.");
            default:
                // PowerOff; Reset under --no-reboot; Stopped on a signal: all are what somebody asked for.
                return ExitStatus.Success;
        }
    }

    private static string DescribeRunning(MachineSettings settings) =>
        $"Running '{settings.Machine.Name}': {settings.Machine.Cpus} CPU(s), {settings.Machine.Memory >> 20} MiB";

    /// <summary>Tells systemd that the machine is alive, for as long as its vCPU threads answer.</summary>
    private static async Task FeedWatchdogAsync(VirtualMachine machine, SystemdNotifier systemd, ILogger logger, CancellationToken ended)
    {
        if (!systemd.IsEnabled || systemd.WatchdogInterval is not TimeSpan interval)
            return;
        try
        {
            using PeriodicTimer timer = new(interval);
            do
            {
                if (await machine.CheckHealthAsync(interval, ended).ConfigureAwait(false))
                    systemd.Watchdog();
                else
                    LogUnresponsive(logger, interval.TotalSeconds);
            }
            while (await timer.WaitForNextTickAsync(ended).ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            // The machine has ended.
        }
    }

    [LoggerMessage(4001, LogLevel.Information, "{Signal}: pressed the guest's power button; it is stopped hard after {Seconds} s, or on a second signal.")]
    private static partial void LogShutdown(ILogger logger, string signal, double seconds);

    [LoggerMessage(4005, LogLevel.Information, "The machine ended ({Reason}) after {Instructions} guest instructions in {Seconds:F3} s.")]
    private static partial void LogExecuted(ILogger logger, VirtualMachineExitReason reason, ulong instructions, double seconds);

    [LoggerMessage(4002, LogLevel.Error, "The guest crashed: triple fault.")]
    private static partial void LogTripleFault(ILogger logger);

    [LoggerMessage(4003, LogLevel.Error, "The guest crashed: it reported a panic.")]
    private static partial void LogPanic(ILogger logger);

    [LoggerMessage(4004, LogLevel.Error, "A virtual CPU's thread did not answer within {Seconds} s; systemd's watchdog is not fed.")]
    private static partial void LogUnresponsive(ILogger logger, double seconds);
}
