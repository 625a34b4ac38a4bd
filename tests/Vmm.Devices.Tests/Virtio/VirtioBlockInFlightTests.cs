using Microsoft.Extensions.Logging;
using Vmm.Block;
using Vmm.Devices.Virtio;
using Vmm.Devices.Virtio.Block;
using Vmm.Interop;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>Requests that the backend keeps, fails, or finishes out of order.</summary>
public class VirtioBlockInFlightTests
{
    private const ulong Headers = 0x10_0000;

    private HeldBackend _backend = null!;
    private RecordingLogger _logger = null!;
    private VirtioTestMachine _machine = null!;
    private TestQueue _queue = null!;

    [SetUp]
    public void Start()
    {
        _backend = new HeldBackend();
        _logger = new RecordingLogger();
        _machine = new VirtioTestMachine(m => new VirtioBlock(m, _backend, new VirtioBlockOptions(), _logger));
        Configure();
    }

    [TearDown]
    public void Stop()
    {
        _backend.FinishAll();
        _machine.Dispose();
    }

    private void Configure()
    {
        _machine.Negotiate(VirtioFeatures.Version1);
        _queue = TestQueue.Create(_machine, 0, 64, 0x4_0000, VirtioFeatures.Version1);
        _queue.Enable();
        _machine.DriverOk();
    }

    private int Submit(int index)
    {
        ulong at = Headers + (ulong)index * 0x1000;
        _machine.Memory.TryWrite(at, new byte[17]);
        _machine.Memory.TryWrite(at + 16, [0xEE]);
        int id = _queue.Add([new Piece(at, 16, false), new Piece(at + 0x200, 512, true), new Piece(at + 16, 1, true)]);
        _queue.Kick();
        return id;
    }

    private byte StatusOf(int index)
    {
        byte[] status = new byte[1];
        _machine.Memory.TryRead(Headers + (ulong)index * 0x1000 + 16, status);
        return status[0];
    }

    private void WaitHeld(int count) => VirtioTestMachine.Wait(() => _backend.Held == count, $"{count} requests in flight");

    [Test]
    public void ManyAreInFlightAndFinishOutOfOrder()
    {
        int[] ids = [.. Enumerable.Range(0, 20).Select(Submit)];
        WaitHeld(20);
        Assert.That(_queue.TakeUsed(), Is.Null);
        _backend.Finish(19);
        Assert.That(_queue.WaitUsed().Id, Is.EqualTo(ids[19]));
        _backend.Finish(0);
        Assert.That(_queue.WaitUsed().Id, Is.EqualTo(ids[0]));
        Assert.That(StatusOf(1), Is.EqualTo(0xEE));
    }

    [Test]
    public void AnErrorIsToldToTheGuestAndLogged()
    {
        Submit(0);
        WaitHeld(1);
        _backend.Finish(0, new BlockIoException("/disk", "Reading 512 bytes at 0", Errno.EIO));
        _queue.WaitUsed();
        Assert.That(StatusOf(0), Is.EqualTo(1));
        Assert.That(_logger.Lines, Has.Some.Contains("/disk").And.Some.Contains("Input/output error"));
        Assert.That(_machine.Status & 64, Is.Zero);
        Submit(1);
        WaitHeld(1);
        _backend.Finish(0);
        _queue.WaitUsed();
        Assert.That(StatusOf(1), Is.Zero);
    }

    [Test]
    public void ADiskThatAlwaysFailsDoesNotFloodTheLog()
    {
        for (int i = 0; i < 200; i++)
        {
            Submit(0);
            WaitHeld(1);
            _backend.Finish(0, new BlockIoException("/disk", "Reading", Errno.EIO));
            _queue.WaitUsed();
        }
        Assert.That(_logger.Lines, Has.Count.InRange(10, 20));
    }

    [Test]
    public void ResetWaitsForWhatIsInFlight()
    {
        Submit(0);
        Submit(1);
        WaitHeld(2);
        _machine.Write(0x14, 1, 0);
        Assert.That(_machine.Status, Is.Not.Zero);
        _backend.Finish(0);
        Assert.That(_machine.Status, Is.Not.Zero);
        _backend.Finish(0);
        VirtioTestMachine.Wait(() => _machine.Status == 0, "the reset");
        Configure();
        Submit(2);
        WaitHeld(1);
        _backend.Finish(0);
        _queue.WaitUsed();
    }

    [Test]
    public async Task PauseWaitsForWhatIsInFlight()
    {
        Submit(0);
        WaitHeld(1);
        var pause = Task.Run(_machine.Bus.Pause);
        Assert.That(pause.IsCompleted, Is.False);
        _backend.Finish(0);
        await pause.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.That(_queue.TakeUsed(), Is.Not.Null);
        _machine.Bus.Resume();
    }

    [Test]
    public void WithoutAFlushCommandWritesAreForcedToStorage()
    {
        _machine.Memory.TryWrite(Headers, [1]);
        _queue.Add([new Piece(Headers, 16, false), new Piece(Headers + 0x200, 512, false), new Piece(Headers + 0x800, 1, true)]);
        _queue.Kick();
        WaitHeld(1);
        Assert.That(_backend.LastWriteFlags, Is.EqualTo(BlockWriteFlags.ForceUnitAccess));
    }

    /// <summary>A disk whose requests finish when the test says so.</summary>
    private sealed class HeldBackend : IBlockBackend
    {
        private readonly List<TaskCompletionSource> _held = [];

        public string Path => "/disk";

        public string Description => "test disk";

        public long Length => 1 << 20;

        public bool IsReadOnly => false;

        public BlockLimits Limits => new(1, 512, 4096, 4096, 0);

        public BlockWriteFlags LastWriteFlags { get; private set; }

        public int Held
        {
            get
            {
                lock (_held)
                    return _held.Count;
            }
        }

        public ValueTask ReadAsync(long offset, ReadOnlyMemory<IoBuffer> buffers) => Hold();

        public ValueTask WriteAsync(long offset, ReadOnlyMemory<IoBuffer> buffers, BlockWriteFlags flags = BlockWriteFlags.None)
        {
            LastWriteFlags = flags;
            return Hold();
        }

        public ValueTask FlushAsync() => Hold();

        public ValueTask DiscardAsync(long offset, long length) => Hold();

        public ValueTask WriteZeroesAsync(long offset, long length, BlockZeroFlags flags = BlockZeroFlags.None) => Hold();

        public void Finish(int index, Exception? error = null)
        {
            TaskCompletionSource source;
            lock (_held)
            {
                source = _held[index];
                _held.RemoveAt(index);
            }
            if (error is null)
                source.SetResult();
            else
                source.SetException(error);
        }

        public void FinishAll()
        {
            while (Held != 0)
                Finish(0);
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private ValueTask Hold()
        {
            var source = new TaskCompletionSource();
            lock (_held)
                _held.Add(source);
            return new ValueTask(source.Task);
        }
    }

    private sealed class RecordingLogger : ILogger
    {
        private readonly List<string> _lines = [];

        public IReadOnlyList<string> Lines
        {
            get
            {
                lock (_lines)
                    return [.. _lines];
            }
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (_lines)
                _lines.Add(formatter(state, exception));
        }
    }
}
