using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Vmm.Devices.Serial;

/// <summary>
/// What backends share: a bounded output buffer with the thread that writes it out, and a bounded input queue. A derived class
/// writes bytes out and calls <see cref="Deliver"/> with what comes in.
/// </summary>
public abstract partial class BufferedCharacterBackend : ICharacterBackend
{
    /// <summary>Bytes of output held before the device is told to wait.</summary>
    public const int OutputCapacity = 64 * 1024;

    /// <summary>Characters of input held before the source is left waiting.</summary>
    public const int InputCapacity = 4096;

    // How long Dispose waits for a slow console to take the rest of the output.
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(2);

    // One lock for both directions; leaf of the lock order, never held across a callback or a system call.
    private readonly object _lock = new();
    private readonly byte[] _output = new byte[OutputCapacity];
    private readonly ReceivedCharacter[] _input = new ReceivedCharacter[InputCapacity];
    private readonly ILogger _logger;
    private int _outputHead;
    private int _outputCount;
    private int _inputHead;
    private int _inputCount;
    private bool _refused;
    private bool _writing;
    private bool _failed;
    private bool _stopping;
    private ICharacterFrontend? _frontend;
    private Thread? _writer;

    /// <summary>Makes an idle backend.</summary>
    /// <param name="name">What it is, for messages.</param>
    /// <param name="logger">For the message that the far end failed; may be null.</param>
    protected BufferedCharacterBackend(string name, ILogger? logger = null)
    {
        Name = name;
        _logger = logger ?? NullLogger.Instance;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>Whether <see cref="Dispose()"/> has begun.</summary>
    protected bool Stopping => Volatile.Read(ref _stopping);

    /// <inheritdoc/>
    public void Attach(ICharacterFrontend frontend)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            if (_frontend is not null)
                throw new InvalidOperationException($"The character backend '{Name}' already serves a device.");
            _frontend = frontend;
            _writer = new Thread(WriteOutput) { IsBackground = true, Name = $"{Name}-out" };
        }
        _writer.Start();
        Start();
    }

    /// <inheritdoc/>
    public bool TryWrite(byte value)
    {
        lock (_lock)
        {
            // With the far end gone there is nobody to keep it for.
            if (_failed || _stopping)
                return true;
            if (_outputCount == OutputCapacity)
            {
                _refused = true;
                return false;
            }
            _output[(_outputHead + _outputCount) % OutputCapacity] = value;
            if (_outputCount++ == 0 && !_writing)
                Monitor.PulseAll(_lock);
            return true;
        }
    }

    /// <inheritdoc/>
    public bool TryRead(out ReceivedCharacter character)
    {
        lock (_lock)
        {
            if (_inputCount == 0)
            {
                character = default;
                return false;
            }
            character = _input[_inputHead];
            _inputHead = (_inputHead + 1) % InputCapacity;
            if (_inputCount-- == InputCapacity)
                Monitor.PulseAll(_lock);
            return true;
        }
    }

    /// <inheritdoc/>
    public void SendBreak()
    {
        lock (_lock)
        {
            // A queue that nobody empties has no use for a break either.
            if (_stopping || _inputCount == InputCapacity)
                return;
            Enqueue(new ReceivedCharacter(0, IsBreak: true));
        }
        Volatile.Read(ref _frontend)?.InputAvailable();
    }

    /// <inheritdoc/>
    public bool Flush(TimeSpan limit)
    {
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_lock)
        {
            while ((_outputCount != 0 || _writing) && !_failed)
            {
                long left = deadline - Environment.TickCount64;
                if (left <= 0 || _writer is null)
                    return false;
                Monitor.Wait(_lock, (int)Math.Min(left, int.MaxValue));
            }
            return true;
        }
    }

    /// <summary>Writes out what it can within two seconds, then stops. Idempotent.</summary>
    public void Dispose()
    {
        Flush(DrainLimit);
        lock (_lock)
        {
            if (_stopping)
                return;
            _stopping = true;
            Monitor.PulseAll(_lock);
        }
        Stop();
        if (_writer is not null && _writer != Thread.CurrentThread)
            _writer.Join(DrainLimit);
        GC.SuppressFinalize(this);
    }

    /// <summary>Starts what brings input. Called once, by <see cref="Attach"/>.</summary>
    protected abstract void Start();

    /// <summary>Ends what <see cref="Start"/> began, and any <see cref="WriteOut"/> that still waits.</summary>
    protected abstract void Stop();

    /// <summary>Writes bytes to the far end, waiting as long as it takes; on the writer thread.</summary>
    /// <exception cref="IOException">The far end is gone for good: further output is discarded.</exception>
    protected abstract void WriteOut(ReadOnlySpan<byte> data);

    /// <summary>Queues input for the guest. Not on a vCPU's thread.</summary>
    /// <param name="data">The input.</param>
    /// <param name="dropWhenFull">
    /// Drops what a full queue has no room for, as a terminal does with keys that nobody reads; otherwise waits for room.
    /// </param>
    /// <returns>False when the backend is stopping.</returns>
    protected bool Deliver(ReadOnlySpan<byte> data, bool dropWhenFull = false)
    {
        int done = 0;
        while (done < data.Length)
        {
            lock (_lock)
            {
                while (_inputCount == InputCapacity && !_stopping && !dropWhenFull)
                    Monitor.Wait(_lock);
                if (_stopping)
                    return false;
                while (_inputCount < InputCapacity && done < data.Length)
                    Enqueue(new ReceivedCharacter(data[done++]));
                if (dropWhenFull)
                    done = data.Length;
            }
            Volatile.Read(ref _frontend)?.InputAvailable();
        }
        return !Stopping;
    }

    private void Enqueue(ReceivedCharacter character)
    {
        _input[(_inputHead + _inputCount) % InputCapacity] = character;
        _inputCount++;
    }

    private void WriteOutput()
    {
        byte[] chunk = new byte[16 * 1024];
        while (true)
        {
            int n = TakeOutput(chunk, out bool refused);
            if (n < 0)
                return;
            if (refused)
                _frontend!.OutputReady();
            bool failed = false;
            try
            {
                WriteOut(chunk.AsSpan(0, n));
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
            {
                failed = true;
                if (!Stopping)
                    LogOutputFailed(_logger, Name, e.Message);
            }
            if (FinishWrite(failed))
                _frontend!.OutputReady();
        }
    }

    // Waits for output and takes a part of it; -1 at the end.
    private int TakeOutput(byte[] chunk, out bool refused)
    {
        lock (_lock)
        {
            while (_outputCount == 0 && !_stopping)
                Monitor.Wait(_lock);
            refused = false;
            if (_stopping)
                return -1;
            int n = Math.Min(chunk.Length, _outputCount);
            for (int i = 0; i < n; i++)
                chunk[i] = _output[(_outputHead + i) % OutputCapacity];
            _outputHead = (_outputHead + n) % OutputCapacity;
            _outputCount -= n;
            _writing = true;
            (refused, _refused) = (_refused, false);
            return n;
        }
    }

    private bool FinishWrite(bool failed)
    {
        lock (_lock)
        {
            _writing = false;
            if (failed)
            {
                _failed = true;
                _outputCount = 0;
            }
            Monitor.PulseAll(_lock);
            bool refused = _refused && _failed;
            if (refused)
                _refused = false;
            return refused;
        }
    }

    [LoggerMessage(EventId = 3001, Level = LogLevel.Warning, Message = "Writing to {Name} failed; its output is discarded from now on. {Error}")]
    private static partial void LogOutputFailed(ILogger logger, string name, string error);
}
