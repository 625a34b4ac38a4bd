using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Vmm.Cli;

/// <summary>
/// SIGTERM, SIGINT and SIGHUP as requests to end: the first asks the guest, the second does not. They stay taken until the process
/// ends, so that one that comes late does not spoil the exit status.
/// </summary>
internal sealed class ShutdownSignals
{
    /// <summary>
    /// A second signal this soon is the same request: timeout(1), sudo and a terminal's Ctrl-C reach a process twice, by itself and
    /// through its group.
    /// </summary>
    private static readonly TimeSpan Echo = TimeSpan.FromMilliseconds(500);

    private readonly TaskCompletionSource<string> _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _second = new();
    private readonly PosixSignalRegistration[] _registrations;
    private long _firstTime;

    internal ShutdownSignals()
    {
        _registrations = [.. ((PosixSignal[])[PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP]).Select(s => PosixSignalRegistration.Create(s, OnSignal))];
    }

    /// <summary>Completes with the name of the first signal.</summary>
    internal Task<string> First => _first.Task;

    /// <summary>Cancelled by the second signal.</summary>
    internal CancellationToken Second => _second.Token;

    private void OnSignal(PosixSignalContext context)
    {
        // Keeps the runtime from ending the process.
        context.Cancel = true;
        long now = Stopwatch.GetTimestamp();
        long first = Interlocked.CompareExchange(ref _firstTime, now, 0);
        if (first == 0)
            _first.TrySetResult(context.Signal.ToString());
        if (first == 0 || Stopwatch.GetElapsedTime(first, now) < Echo)
            return;
        _second.Cancel();
    }
}
