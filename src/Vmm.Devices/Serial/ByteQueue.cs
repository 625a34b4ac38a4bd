namespace Vmm.Devices.Serial;

/// <summary>A bounded pipe of bytes within the process: one writer that waits for room, readers that wait for bytes.</summary>
internal sealed class ByteQueue(int capacity)
{
    private readonly object _lock = new();
    private readonly byte[] _data = new byte[capacity];
    private int _head;
    private int _count;
    private bool _completed;
    private TaskCompletionSource? _arrival;

    public void Write(ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            TaskCompletionSource? arrival;
            lock (_lock)
            {
                while (_count == _data.Length && !_completed)
                    Monitor.Wait(_lock);
                if (_completed)
                    throw new IOException("The console is closed.");
                int n = Math.Min(source.Length, _data.Length - _count);
                for (int i = 0; i < n; i++)
                    _data[(_head + _count + i) % _data.Length] = source[i];
                _count += n;
                source = source[n..];
                arrival = TakeArrival();
            }
            arrival?.SetResult();
        }
    }

    public void Complete()
    {
        TaskCompletionSource? arrival;
        lock (_lock)
        {
            _completed = true;
            arrival = TakeArrival();
        }
        arrival?.SetResult();
    }

    /// <summary>Reads at least one byte, or none at the end.</summary>
    public int Read(Span<byte> destination)
    {
        if (destination.IsEmpty)
            return 0;
        lock (_lock)
        {
            while (true)
            {
                int n = TakeAvailable(destination);
                if (n != 0 || _completed)
                    return n;
                Monitor.Wait(_lock);
            }
        }
    }

    public async ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellationToken)
    {
        while (!destination.IsEmpty)
        {
            Task arrival;
            lock (_lock)
            {
                int n = TakeAvailable(destination.Span);
                if (n != 0 || _completed)
                    return n;
                _arrival ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                arrival = _arrival.Task;
            }
            await arrival.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        return 0;
    }

    private int TakeAvailable(Span<byte> destination)
    {
        int n = Math.Min(destination.Length, _count);
        for (int i = 0; i < n; i++)
            destination[i] = _data[(_head + i) % _data.Length];
        _head = (_head + n) % _data.Length;
        _count -= n;
        if (n != 0)
            Monitor.PulseAll(_lock);
        return n;
    }

    private TaskCompletionSource? TakeArrival()
    {
        Monitor.PulseAll(_lock);
        var arrival = _arrival;
        _arrival = null;
        return arrival;
    }
}
