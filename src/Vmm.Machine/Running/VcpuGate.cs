namespace Vmm.Machine.Running;

/// <summary>
/// What vCPU threads pass before each run: it holds them while the machine is paused, and counts who stands still. All members may be
/// called from any thread; kicking the vCPUs out of their runs is the caller's part.
/// </summary>
internal sealed class VcpuGate(int threads)
{
    private readonly object _lock = new();
    private readonly long[] _passes = new long[threads];
    private readonly bool[] _halted = new bool[threads];
    private int _parked;
    private bool _open;
    private bool _ended;

    /// <summary>Called by vCPU thread <paramref name="index"/> before each run; waits while the gate is closed.</summary>
    /// <returns>False when the thread is to end.</returns>
    public bool Pass(int index)
    {
        lock (_lock)
        {
            _passes[index]++;
            Monitor.PulseAll(_lock);
            if (_open && !_halted[index])
                return !_ended;
            _parked++;
            Monitor.PulseAll(_lock);
            while (!_ended && (!_open || _halted[index]))
                Monitor.Wait(_lock);
            _parked--;
            return !_ended;
        }
    }

    /// <summary>Keeps a thread here until <see cref="Release"/>: its processor has shut down.</summary>
    public void Halt(int index)
    {
        lock (_lock)
            _halted[index] = true;
    }

    /// <summary>Forgets halts: the processors were reset.</summary>
    public void Release()
    {
        lock (_lock)
            Array.Clear(_halted);
    }

    /// <summary>Lets the threads run.</summary>
    public void Open()
    {
        lock (_lock)
        {
            _open = true;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Holds each thread when it next comes by.</summary>
    public void Close()
    {
        lock (_lock)
            _open = false;
    }

    /// <summary>Ends each thread when it next comes by.</summary>
    public void End()
    {
        lock (_lock)
        {
            _ended = true;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Waits until every thread stands here.</summary>
    /// <returns>False when that takes longer than the limit.</returns>
    public bool WaitUntilParked(TimeSpan limit)
    {
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_lock)
        {
            while (_parked < threads)
            {
                long left = deadline - Environment.TickCount64;
                if (left <= 0 || !Monitor.Wait(_lock, (int)Math.Min(left, int.MaxValue)))
                    return _parked == threads;
            }
            return true;
        }
    }

    /// <summary>How often each thread came by, to compare with <see cref="WaitForPass"/>.</summary>
    public long[] SnapshotPasses()
    {
        lock (_lock)
            return [.. _passes];
    }

    /// <summary>Waits until every thread came by since a snapshot, or stands here.</summary>
    /// <returns>False when that takes longer than the limit.</returns>
    public bool WaitForPass(long[] since, TimeSpan limit)
    {
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_lock)
        {
            while (!_ended && _parked < threads && !AllPassed(since))
            {
                long left = deadline - Environment.TickCount64;
                if (left <= 0)
                    return false;
                Monitor.Wait(_lock, (int)Math.Min(left, int.MaxValue));
            }
            return true;
        }
    }

    private bool AllPassed(long[] since)
    {
        for (int i = 0; i < since.Length; i++)
        {
            if (_passes[i] == since[i] && !_halted[i])
                return false;
        }
        return true;
    }
}
