namespace Vmm.Block.Protocols;

/// <summary>
/// A few dedicated threads that run the blocking system calls of one file, started as the load asks for them. Requests wait in a
/// queue without a bound of their own: whoever submits them bounds how many it has in flight.
/// </summary>
internal sealed class FileWorkers
{
    private const int MaxFree = 256;

    private readonly object _gate = new();
    private readonly Action<FileOperation> _execute;
    private readonly string _name;
    private readonly List<Thread> _threads = [];
    private readonly int _maxThreads;
    private FileOperation? _head;
    private FileOperation? _tail;
    private FileOperation? _free;
    private int _freeCount;
    private int _queued;
    private int _idle;
    private bool _stopping;

    public FileWorkers(string name, int maxThreads, Action<FileOperation> execute)
    {
        (_name, _maxThreads, _execute) = (name, maxThreads, execute);
    }

    public ValueTask Submit(
        FileOperationKind kind,
        long offset,
        long length,
        ReadOnlyMemory<IoBuffer> buffers = default,
        bool forceUnitAccess = false,
        bool mayUnmap = false)
    {
        lock (_gate)
        {
            if (_stopping)
                return ValueTask.FromException(new ObjectDisposedException(_name));
            var operation = TakeFree();
            operation.Set(kind, offset, length, buffers, forceUnitAccess, mayUnmap);
            var task = operation.Task;
            Append(operation);
            if (_queued > _idle && _threads.Count < _maxThreads)
                StartThread();
            else
                Monitor.Pulse(_gate);
            return task;
        }
    }

    public void Free(FileOperation operation)
    {
        lock (_gate)
        {
            if (_freeCount == MaxFree)
                return;
            operation.Next = _free;
            _free = operation;
            _freeCount++;
        }
    }

    /// <summary>Finishes what is queued, then ends the threads; waits for all but the calling one. Idempotent.</summary>
    public void Stop()
    {
        Thread[] threads;
        lock (_gate)
        {
            _stopping = true;
            threads = [.. _threads];
            Monitor.PulseAll(_gate);
        }
        foreach (var thread in threads)
        {
            if (thread != Thread.CurrentThread)
                thread.Join();
        }
    }

    private FileOperation TakeFree()
    {
        if (_free is not { } operation)
            return new FileOperation(this);
        _free = operation.Next;
        _freeCount--;
        operation.Next = null;
        return operation;
    }

    private void Append(FileOperation operation)
    {
        if (_tail is null)
            _head = operation;
        else
            _tail.Next = operation;
        _tail = operation;
        _queued++;
    }

    private void StartThread()
    {
        var thread = new Thread(Run) { IsBackground = true, Name = $"{_name}-io{_threads.Count}" };
        _threads.Add(thread);
        thread.Start();
    }

    private FileOperation? Take()
    {
        lock (_gate)
        {
            while (_head is null)
            {
                if (_stopping)
                    return null;
                _idle++;
                Monitor.Wait(_gate);
                _idle--;
            }
            var operation = _head;
            _head = operation.Next;
            if (_head is null)
                _tail = null;
            operation.Next = null;
            _queued--;
            return operation;
        }
    }

    private void Run()
    {
        while (Take() is { } operation)
            _execute(operation);
    }
}
