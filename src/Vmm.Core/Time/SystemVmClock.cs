using System.Diagnostics;
using Vmm.Interop;

namespace Vmm.Core.Time;

/// <summary>
/// The clock of a running VM: the host's monotonic clock less the time spent paused. Timers run on one dedicated thread that
/// sleeps until the next deadline, so a guest without timers costs no host CPU.
/// </summary>
public sealed class SystemVmClock : VmClock, IDisposable
{
    private readonly TimerQueue _queue = new();
    private readonly EventFd _wake = new();
    private readonly Thread _thread;
    private readonly Lock _lock = new();
    private long _offset;
    private long _pausedAt;
    private volatile bool _paused;
    private volatile bool _disposed;

    /// <summary>Makes a clock that stands at 0 and is paused, with its timer thread started.</summary>
    /// <param name="name">Name of the VM, for the thread's name.</param>
    public SystemVmClock(string name = "vm")
    {
        _paused = true;
        _pausedAt = 0;
        _queue.EarliestChanged = _wake.Signal;
        _thread = new Thread(RunTimers) { IsBackground = true, Name = $"{name}-timers" };
        _thread.Start();
    }

    private static long HostNow => (long)(Stopwatch.GetTimestamp() * (1_000_000_000.0 / Stopwatch.Frequency));

    /// <inheritdoc/>
    public override long Now
    {
        get
        {
            // A pause that begins between the two reads only makes the answer late by that gap; it never goes backwards.
            if (_paused)
                return Volatile.Read(ref _pausedAt);
            return HostNow - Volatile.Read(ref _offset);
        }
    }

    /// <summary>Whether time stands still.</summary>
    public bool IsPaused => _paused;

    /// <summary>What is added to the host's monotonic clock to get <see cref="Now"/> while running; nanoseconds.</summary>
    public long HostOffset => -Volatile.Read(ref _offset);

    /// <inheritdoc/>
    public override IVmTimer CreateTimer(Action callback) => _queue.Create(callback);

    /// <summary>Lets time run. Idempotent.</summary>
    public void Resume()
    {
        lock (_lock)
        {
            if (!_paused)
                return;
            Volatile.Write(ref _offset, HostNow - _pausedAt);
            _paused = false;
        }
        _wake.Signal();
    }

    /// <summary>Stops time. Idempotent. A callback that is already running finishes.</summary>
    public void Pause()
    {
        lock (_lock)
        {
            if (_paused)
                return;
            Volatile.Write(ref _pausedAt, HostNow - _offset);
            _paused = true;
        }
    }

    /// <summary>Ends the timer thread and waits for it, unless it is the caller.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _wake.Signal();
        if (Thread.CurrentThread != _thread)
            _thread.Join();
        _wake.Dispose();
    }

    private void RunTimers()
    {
        while (!_disposed)
        {
            if (!_paused)
            {
                while (!_disposed && !_paused && _queue.TakeDue(Now) is { } callback)
                    callback();
            }
            long? wait = null;
            if (!_paused && _queue.Earliest is long deadline)
                wait = Math.Max(0, deadline - Now);
            if (wait != 0)
                _wake.Wait(wait);
        }
    }
}
