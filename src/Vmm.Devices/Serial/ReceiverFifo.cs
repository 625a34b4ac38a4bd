namespace Vmm.Devices.Serial;

/// <summary>The receiver FIFO: 16 characters, each with the errors it came with.</summary>
internal sealed class ReceiverFifo
{
    public const int Depth = 16;

    private readonly byte[] _data = new byte[Depth];
    private readonly LineStatus[] _errors = new LineStatus[Depth];
    private int _head;

    public int Count { get; private set; }

    /// <summary>Characters that still carry an error.</summary>
    public int Errored { get; private set; }

    public LineStatus TopErrors => Count == 0 ? LineStatus.None : _errors[_head];

    public void Push(byte value, LineStatus errors)
    {
        int i = (_head + Count) % Depth;
        (_data[i], _errors[i]) = (value, errors);
        Count++;
        if (errors != LineStatus.None)
            Errored++;
    }

    public byte Pop()
    {
        ClearTopErrors();
        byte value = _data[_head];
        _head = (_head + 1) % Depth;
        Count--;
        return value;
    }

    /// <summary>The guest has read the top character's errors.</summary>
    public void ClearTopErrors()
    {
        if (TopErrors == LineStatus.None)
            return;
        _errors[_head] = LineStatus.None;
        Errored--;
    }

    public void Clear() => (_head, Count, Errored) = (0, 0, 0);

    public (byte[] Data, byte[] Errors) Capture()
    {
        byte[] data = new byte[Count], errors = new byte[Count];
        for (int i = 0; i < Count; i++)
        {
            data[i] = _data[(_head + i) % Depth];
            errors[i] = (byte)_errors[(_head + i) % Depth];
        }
        return (data, errors);
    }

    public void Restore(byte[] data, byte[] errors)
    {
        Clear();
        for (int i = 0; i < data.Length; i++)
            Push(data[i], (LineStatus)errors[i]);
    }
}
