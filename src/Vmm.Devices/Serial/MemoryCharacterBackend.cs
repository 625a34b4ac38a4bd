namespace Vmm.Devices.Serial;

/// <summary>
/// A line whose far end is this process: <see cref="Console"/> reads the guest's output and writes its input. A console that nobody
/// reads fills up and then holds the guest's transmitter.
/// </summary>
public sealed class MemoryCharacterBackend : BufferedCharacterBackend
{
    private readonly ByteQueue _output = new(OutputCapacity);

    /// <summary>Makes a line.</summary>
    public MemoryCharacterBackend(string name = "memory")
        : base(name)
    {
        Console = new ConsoleStream(this);
    }

    /// <summary>The far end: reads give output of the guest, 0 bytes once the line is closed; writes wait while the input queue is full.</summary>
    public Stream Console { get; }

    /// <inheritdoc/>
    protected override void Start()
    {
    }

    /// <inheritdoc/>
    protected override void Stop() => _output.Complete();

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data) => _output.Write(data);

    private sealed class ConsoleStream(MemoryCharacterBackend line) : Stream
    {
        public override bool CanRead => true;

        public override bool CanWrite => true;

        public override bool CanSeek => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer) => line._output.Read(buffer);

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            line._output.ReadAsync(buffer, cancellationToken);

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (!line.Deliver(buffer))
                throw new IOException("The console is closed.");
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
