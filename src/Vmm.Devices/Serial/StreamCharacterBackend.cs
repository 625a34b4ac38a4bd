using Microsoft.Extensions.Logging;

namespace Vmm.Devices.Serial;

/// <summary>A line over a pair of streams. The end of the input stream ends the input; output goes on.</summary>
public sealed class StreamCharacterBackend : BufferedCharacterBackend
{
    private readonly Stream? _input;
    private readonly Stream? _output;
    private readonly bool _leaveOpen;
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Makes a line over streams.</summary>
    /// <param name="input">What the guest receives, or null for nothing.</param>
    /// <param name="output">Where its output goes, or null to discard it.</param>
    /// <param name="name">What it is, for messages.</param>
    /// <param name="leaveOpen">Whether the streams stay open when the line is disposed.</param>
    /// <param name="logger">For the message that the far end failed.</param>
    public StreamCharacterBackend(Stream? input, Stream? output, string name, bool leaveOpen = false, ILogger? logger = null)
        : base(name, logger)
    {
        (_input, _output, _leaveOpen) = (input, output, leaveOpen);
    }

    /// <inheritdoc/>
    protected override void Start()
    {
        if (_input is not null)
            new Thread(ReadInput) { IsBackground = true, Name = $"{Name}-in" }.Start();
    }

    /// <inheritdoc/>
    protected override void Stop()
    {
        _stop.Cancel();
        if (_leaveOpen)
            return;
        _input?.Dispose();
        _output?.Dispose();
    }

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data)
    {
        _output?.Write(data);
        _output?.Flush();
    }

    private void ReadInput()
    {
        byte[] buffer = new byte[4096];
        try
        {
            while (!Stopping)
            {
                // The asynchronous read, since it can be cancelled.
                int n = _input!.ReadAsync(buffer, _stop.Token).AsTask().GetAwaiter().GetResult();
                if (n == 0 || !Deliver(buffer.AsSpan(0, n)))
                    return;
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // The source of input is gone: the guest's line stays silent, as with a cable pulled.
        }
    }
}
