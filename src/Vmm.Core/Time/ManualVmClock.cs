namespace Vmm.Core.Time;

/// <summary>A clock that moves only when told to: for tests, and for deterministic replay.</summary>
public sealed class ManualVmClock : VmClock
{
    private readonly TimerQueue _queue = new();
    private long _now;

    /// <inheritdoc/>
    public override long Now => Volatile.Read(ref _now);

    /// <inheritdoc/>
    public override IVmTimer CreateTimer(Action callback) => _queue.Create(callback);

    /// <summary>Moves time forward, running each timer that falls due, at its deadline, in order.</summary>
    /// <param name="nanoseconds">How far; not negative.</param>
    public void Advance(long nanoseconds)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(nanoseconds);
        long target = _now + nanoseconds;
        while (_queue.Earliest is long deadline && deadline <= target)
        {
            Volatile.Write(ref _now, Math.Max(_now, deadline));
            _queue.TakeDue(_now)?.Invoke();
        }
        Volatile.Write(ref _now, target);
    }
}
