namespace Vmm.Core.Time;

/// <summary>The timers of a clock by deadline. Callers hold no lock; the queue has its own, never held across a callback.</summary>
internal sealed class TimerQueue
{
    private readonly Lock _lock = new();
    private readonly PriorityQueue<(Timer Timer, long Generation), long> _heap = new();

    /// <summary>Called, outside the lock, when a new earliest deadline may have been set.</summary>
    public Action EarliestChanged { get; set; } = static () => { };

    public IVmTimer Create(Action callback) => new Timer(this, callback);

    /// <summary>The earliest deadline, or null when no timer is armed.</summary>
    public long? Earliest
    {
        get
        {
            lock (_lock)
            {
                DropStale();
                return _heap.TryPeek(out _, out long deadline) ? deadline : null;
            }
        }
    }

    /// <summary>Takes one timer that is due, or null.</summary>
    public Action? TakeDue(long now)
    {
        lock (_lock)
        {
            DropStale();
            if (!_heap.TryPeek(out var entry, out long deadline) || deadline > now)
                return null;
            _heap.Dequeue();
            entry.Timer.Generation++;
            return entry.Timer.Callback;
        }
    }

    private void DropStale()
    {
        while (_heap.TryPeek(out var entry, out _) && entry.Generation != entry.Timer.Generation)
            _heap.Dequeue();
    }

    private sealed class Timer(TimerQueue queue, Action callback) : IVmTimer
    {
        public Action Callback { get; } = callback;

        // Counts every change; a heap entry of an older generation is stale. Guarded by the queue's lock.
        public long Generation { get; set; }

        public void Arm(long deadline)
        {
            bool earliest;
            lock (queue._lock)
            {
                queue._heap.Enqueue((this, ++Generation), deadline);
                queue.DropStale();
                earliest = queue._heap.TryPeek(out var first, out _) && ReferenceEquals(first.Timer, this);
                queue.CompactIfMostlyStale();
            }
            if (earliest)
                queue.EarliestChanged();
        }

        public void Disarm()
        {
            lock (queue._lock)
                Generation++;
        }

        public void Dispose() => Disarm();
    }

    // A guest that re-arms a far deadline again and again leaves stale entries behind; keep them bounded.
    private void CompactIfMostlyStale()
    {
        if (_heap.Count < 1024)
            return;
        var live = _heap.UnorderedItems.Where(e => e.Element.Generation == e.Element.Timer.Generation).ToArray();
        _heap.Clear();
        foreach (var (element, priority) in live)
            _heap.Enqueue(element, priority);
    }
}
