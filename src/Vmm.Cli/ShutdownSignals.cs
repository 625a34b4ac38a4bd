using System.Runtime.InteropServices;

namespace Vmm.Cli;

/// <summary>SIGTERM, SIGINT and SIGHUP as requests to end: the first asks the guest, the second does not.</summary>
internal sealed class ShutdownSignals : IDisposable
{
    private readonly TaskCompletionSource<string> _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _second = new();
    private readonly PosixSignalRegistration[] _registrations;

    internal ShutdownSignals()
    {
        _registrations = [.. ((PosixSignal[])[PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP]).Select(s => PosixSignalRegistration.Create(s, OnSignal))];
    }

    /// <summary>Completes with the name of the first signal.</summary>
    internal Task<string> First => _first.Task;

    /// <summary>Cancelled by the second signal.</summary>
    internal CancellationToken Second => _second.Token;

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _second.Dispose();
    }

    private void OnSignal(PosixSignalContext context)
    {
        // Keeps the runtime from ending the process.
        context.Cancel = true;
        if (_first.TrySetResult(context.Signal.ToString()))
            return;
        try
        {
            _second.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // The machine has ended in the meantime.
        }
    }
}
