namespace Vmm.Devices.Input;

/// <summary>
/// What a PS/2 device has to send: replies to commands, which go first, and events, of which whole groups are dropped when the 16-byte
/// buffer is full (IBM PS/2 hardware reference, keyboard: "keyboard buffer").
/// </summary>
internal sealed class Ps2Queue
{
    /// <summary>Bytes of events that a device keeps.</summary>
    public const int EventCapacity = 16;

    /// <summary>More than any sequence of replies to one command.</summary>
    public const int ReplyCapacity = 8;

    private readonly Queue<byte> _replies = new(ReplyCapacity);
    private readonly Queue<byte> _events = new(EventCapacity);

    public bool IsEmpty => _replies.Count == 0 && _events.Count == 0;

    public int EventRoom => EventCapacity - _events.Count;

    /// <summary>The byte last taken, for the resend command.</summary>
    public byte Last { get; private set; }

    public void Reply(byte value)
    {
        // A host that does not read replies loses them.
        if (_replies.Count < ReplyCapacity)
            _replies.Enqueue(value);
    }

    public bool TryAddEvent(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > EventRoom)
            return false;
        foreach (byte b in bytes)
            _events.Enqueue(b);
        return true;
    }

    public byte Take()
    {
        Last = _replies.Count != 0 ? _replies.Dequeue() : _events.Dequeue();
        return Last;
    }

    /// <summary>A new command arrived: replies to the one before are void.</summary>
    public void ClearReplies() => _replies.Clear();

    public void Clear()
    {
        _replies.Clear();
        _events.Clear();
    }

    public Ps2QueueState Capture() => new([.. _replies], [.. _events], Last);

    public void Restore(Ps2QueueState state)
    {
        if (state.Replies.Length > ReplyCapacity || state.Events.Length > EventCapacity)
            throw new InvalidDataException("A PS/2 device's snapshot holds more bytes than its buffer.");
        Clear();
        foreach (byte b in state.Replies)
            _replies.Enqueue(b);
        foreach (byte b in state.Events)
            _events.Enqueue(b);
        Last = state.Last;
    }
}

/// <summary>The bytes that a PS/2 device has to send.</summary>
/// <param name="Replies">Replies to a command, first to go.</param>
/// <param name="Events">Key codes or movement packets.</param>
/// <param name="Last">The byte last sent.</param>
public sealed record Ps2QueueState(byte[] Replies, byte[] Events, byte Last);
