using System.Diagnostics.Metrics;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Vmm.Hosting.Configuration;
using Vmm.Machine;

namespace Vmm.Hosting;

/// <summary>Owns one machine for a host: creates and starts it with the host, presses its power button when the host stops.</summary>
internal sealed partial class VirtualMachineService : IHostedService, IHostedVirtualMachine, IAsyncDisposable
{
    /// <summary>Name of the meter: instruments <c>vmm.instructions</c> and <c>vmm.exits</c>, tagged with <c>vm.name</c>.</summary>
    internal const string MeterName = "Vmm";

    private readonly IOptionsMonitor<MachineSettings> _options;
    private readonly ILoggerFactory _loggerFactory;
    private readonly ILogger _logger;
    private readonly Meter? _meter;
    private readonly Counter<long>? _exits;
    private readonly TaskCompletionSource<VirtualMachineExit> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private HostedMachine? _machine;

    public VirtualMachineService(string name, IOptionsMonitor<MachineSettings> options, ILoggerFactory loggerFactory, IMeterFactory? meters)
    {
        (Name, _options, _loggerFactory) = (name, options, loggerFactory);
        _logger = loggerFactory.CreateLogger<VirtualMachineService>();
        // The factory owns the meter and gives the same one to all machines of the host.
        _meter = meters?.Create(MeterName);
        _exits = _meter?.CreateCounter<long>("vmm.exits", "{exit}", "Ends of virtual machines, by reason.");
    }

    public string Name { get; }

    public HostedMachine Hosted => _machine ?? throw new InvalidOperationException($"The virtual machine '{Name}' has not been started.");

    public Task<VirtualMachineExit> Completion => _completion.Task;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        try
        {
            // Loading reads files of many megabytes: not on the thread that starts the host.
            MachineSettings settings = _options.Get(Name);
            _machine = await Task.Run(() => HostedMachine.Create(settings, _loggerFactory), cancellationToken).ConfigureAwait(false);
            _machine.Machine.Start();
        }
        catch (Exception e)
        {
            _completion.TrySetException(e);
            throw;
        }
        KeyValuePair<string, object?> tag = new("vm.name", Name);
        VirtualMachine machine = _machine.Machine;
        _meter?.CreateObservableCounter(
            "vmm.instructions", () => new Measurement<long>((long)machine.InstructionsRetired, tag), "{instruction}", "Guest instructions executed.");
        LogStarted(_logger, Name, _machine.Settings.Machine.Cpus, _machine.Settings.Machine.Memory >> 20);
        _ = ObserveAsync(machine);
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_machine is null)
            return;
        await _machine.Machine.ShutdownAsync(cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        if (_machine is not null)
            await _machine.DisposeAsync().ConfigureAwait(false);
        _completion.TrySetCanceled();
    }

    private async Task ObserveAsync(VirtualMachine machine)
    {
        VirtualMachineExit exit = await machine.WaitForExitAsync().ConfigureAwait(false);
        _exits?.Add(1, new("vm.name", Name), new("reason", exit.Reason.ToString()));
        if (exit.Error is null)
            LogEnded(_logger, Name, exit.Reason);
        else
            LogFailed(_logger, Name, exit.Error);
        _completion.TrySetResult(exit);
    }

    [LoggerMessage(3001, LogLevel.Information, "Virtual machine '{Name}' started with {Cpus} CPU(s) and {Memory} MiB.")]
    private static partial void LogStarted(ILogger logger, string name, int cpus, ulong memory);

    [LoggerMessage(3002, LogLevel.Information, "Virtual machine '{Name}' ended: {Reason}.")]
    private static partial void LogEnded(ILogger logger, string name, VirtualMachineExitReason reason);

    [LoggerMessage(3003, LogLevel.Error, "Virtual machine '{Name}' failed.")]
    private static partial void LogFailed(ILogger logger, string name, Exception error);
}
