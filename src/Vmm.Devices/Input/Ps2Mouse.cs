namespace Vmm.Devices.Input;

/// <summary>Buttons of a mouse, as in the first byte of a movement packet.</summary>
[Flags]
public enum MouseButtons
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>The left button.</summary>
    Left = 1,

    /// <summary>The right button.</summary>
    Right = 2,

    /// <summary>The middle button.</summary>
    Middle = 4,
}

/// <summary>The state of a PS/2 mouse for a snapshot.</summary>
public sealed record Ps2MouseState
{
    /// <summary>Bytes to send.</summary>
    public Ps2QueueState Queue { get; init; } = new([], [], 0);

    /// <summary>A command that waits for its parameter, or 0.</summary>
    public byte PendingCommand { get; init; }

    /// <summary>Device ID: 0, or 3 with a wheel.</summary>
    public byte Id { get; init; }

    /// <summary>The last three sample rates set, newest last.</summary>
    public byte[] RateHistory { get; init; } = [];

    /// <summary>Samples a second.</summary>
    public byte SampleRate { get; init; }

    /// <summary>Resolution: 0 to 3 for 1 to 8 counts a millimetre.</summary>
    public byte Resolution { get; init; }

    /// <summary>Mode bits: remote, enabled, scaling 2:1 as in the status byte, and wrap in bit 7.</summary>
    public byte Mode { get; init; }

    /// <summary>Buttons held.</summary>
    public byte Buttons { get; init; }

    /// <summary>Movement not yet reported: x, y, wheel.</summary>
    public int[] Movement { get; init; } = [0, 0, 0];
}

/// <summary>
/// A PS/2 mouse (IBM PS/2 hardware reference, "Mouse"), with the wheel that the sample rates 200, 100, 80 in a row switch on, as in
/// Microsoft's IntelliMouse. Not thread-safe.
/// </summary>
internal sealed class Ps2Mouse
{
    private const byte Acknowledge = 0xFA;
    private const byte Nack = 0xFE;

    // Bits of the first status byte; Wrap is kept beside them and never sent.
    private const byte RemoteMode = 0x40;
    private const byte Enabled = 0x20;
    private const byte Scaling = 0x10;
    private const byte Wrap = 0x80;

    private byte _pendingCommand;
    private byte _id;
    private readonly byte[] _rates = new byte[3];
    private byte _sampleRate;
    private byte _resolution;
    private byte _mode;
    private byte _buttons;
    private byte _reportedButtons;
    private int _x;
    private int _y;
    private int _wheel;

    public Ps2Mouse() => Reset();

    public Ps2Queue Output { get; } = new();

    private int PacketSize => _id == 0 ? 3 : 4;

    /// <summary>A byte from the host.</summary>
    public void Write(byte value)
    {
        Output.ClearReplies();
        if ((_mode & Wrap) != 0 && value is not (0xEC or 0xFF))
        {
            Output.Reply(value);
            return;
        }
        byte pending = _pendingCommand;
        _pendingCommand = 0;
        if (pending != 0)
            WriteParameter(pending, value);
        else
            WriteCommand(value);
    }

    /// <summary>The mouse moved or its buttons changed.</summary>
    /// <param name="x">Counts to the right.</param>
    /// <param name="y">Counts upwards.</param>
    /// <param name="wheel">Notches of the wheel, towards the user.</param>
    /// <param name="buttons">Buttons held now.</param>
    public void Move(int x, int y, int wheel, MouseButtons buttons)
    {
        const int Limit = 1 << 20;
        _x = Math.Clamp(_x + x, -Limit, Limit);
        _y = Math.Clamp(_y + y, -Limit, Limit);
        _wheel = Math.Clamp(_wheel + wheel, -Limit, Limit);
        _buttons = (byte)((int)buttons & 0x07);
        Pump();
    }

    /// <summary>Turns movement into packets while the buffer takes them.</summary>
    public void Pump()
    {
        if ((_mode & (Enabled | RemoteMode | Wrap)) != Enabled)
            return;
        Span<byte> packet = stackalloc byte[4];
        while (HasMovement && Output.EventRoom >= PacketSize)
        {
            int n = TakePacket(packet, scale: true);
            Output.TryAddEvent(packet[..n]);
        }
    }

    /// <summary>Power-on: as the reset command, without its replies.</summary>
    public void Reset()
    {
        Output.Clear();
        SetDefaults();
        _pendingCommand = 0;
        _id = 0;
        Array.Clear(_rates);
    }

    public Ps2MouseState Capture() => new()
    {
        Queue = Output.Capture(),
        PendingCommand = _pendingCommand,
        Id = _id,
        RateHistory = [.. _rates],
        SampleRate = _sampleRate,
        Resolution = _resolution,
        Mode = _mode,
        Buttons = _buttons,
        Movement = [_x, _y, _wheel],
    };

    public void Restore(Ps2MouseState state)
    {
        if (state.Id is not (0 or 3) || state.RateHistory.Length != 3 || state.Resolution > 3 || state.Buttons > 7 || state.Movement.Length != 3)
            throw new InvalidDataException("The mouse's snapshot holds a value that it cannot have.");
        Output.Restore(state.Queue);
        _pendingCommand = state.PendingCommand;
        _id = state.Id;
        state.RateHistory.CopyTo(_rates, 0);
        _sampleRate = state.SampleRate;
        _resolution = state.Resolution;
        _mode = state.Mode;
        _buttons = _reportedButtons = state.Buttons;
        (_x, _y, _wheel) = (state.Movement[0], state.Movement[1], state.Movement[2]);
    }

    private bool HasMovement => _x != 0 || _y != 0 || (_id != 0 && _wheel != 0) || _buttons != _reportedButtons;

    private void SetDefaults()
    {
        _sampleRate = 100;
        _resolution = 2;
        _mode = 0;
        (_x, _y, _wheel) = (0, 0, 0);
        _reportedButtons = _buttons;
    }

    private void WriteCommand(byte command)
    {
        switch (command)
        {
            case 0xE6: // Reset scaling
                Set(Scaling, false);
                break;
            case 0xE7: // Set scaling 2:1
                Set(Scaling, true);
                break;
            case 0xE8: // Set resolution
            case 0xF3: // Set sampling rate
                _pendingCommand = command;
                break;
            case 0xE9: // Status request
                Output.Reply(Acknowledge);
                Output.Reply((byte)((_mode & (RemoteMode | Enabled | Scaling)) | StatusButtons()));
                Output.Reply(_resolution);
                Output.Reply(_sampleRate);
                return;
            case 0xEA: // Set stream mode
                Set(RemoteMode, false);
                break;
            case 0xEB: // Read data
                ReplyWithPacket();
                return;
            case 0xEC: // Reset wrap mode
                Set(Wrap, false);
                break;
            case 0xEE: // Set wrap mode
                Set(Wrap, true);
                break;
            case 0xF0: // Set remote mode
                Set(RemoteMode, true);
                break;
            case 0xF2: // Read device type
                Output.Reply(Acknowledge);
                Output.Reply(_id);
                return;
            case 0xF4: // Enable
                Set(Enabled, true);
                break;
            case 0xF5: // Disable
                Set(Enabled, false);
                break;
            case 0xF6: // Set default
                SetDefaults();
                break;
            case 0xFE: // Resend
                Output.Reply(Output.Last);
                return;
            case 0xFF: // Reset
                Reset();
                Output.Reply(Acknowledge);
                Output.Reply(Ps2Keyboard.TestPassed);
                Output.Reply(_id);
                return;
            default:
                Output.Reply(Nack);
                return;
        }
        Output.Reply(Acknowledge);
    }

    private void WriteParameter(byte command, byte value)
    {
        if (command == 0xE8)
        {
            if (value > 3)
            {
                Output.Reply(Nack);
                return;
            }
            _resolution = value;
        }
        else
        {
            _sampleRate = value;
            (_rates[0], _rates[1], _rates[2]) = (_rates[1], _rates[2], value);
            if (_rates is [200, 100, 80])
                _id = 3;
        }
        Output.Reply(Acknowledge);
    }

    private void ReplyWithPacket()
    {
        Span<byte> packet = stackalloc byte[4];
        int n = TakePacket(packet, scale: false);
        Output.Reply(Acknowledge);
        foreach (byte b in packet[..n])
            Output.Reply(b);
    }

    private int TakePacket(Span<byte> packet, bool scale)
    {
        int x = Math.Clamp(_x, -255, 255), y = Math.Clamp(_y, -255, 255);
        _x -= x;
        _y -= y;
        _reportedButtons = _buttons;
        // Scaling 2:1 applies to reports in stream mode only.
        if (scale && (_mode & Scaling) != 0)
            (x, y) = (Scale(x), Scale(y));
        packet[0] = (byte)(0x08 | _buttons | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0));
        packet[1] = (byte)x;
        packet[2] = (byte)y;
        if (_id == 0)
            return 3;
        int wheel = Math.Clamp(_wheel, -8, 7);
        _wheel -= wheel;
        packet[3] = (byte)wheel;
        return 4;
    }

    // The reference's table of counts at scaling 2:1.
    private static int Scale(int counts) => Math.Abs(counts) switch
    {
        0 => 0,
        1 or 2 => Math.Sign(counts),
        3 => 3 * Math.Sign(counts),
        4 => 6 * Math.Sign(counts),
        5 => 9 * Math.Sign(counts),
        _ => Math.Clamp(2 * counts, -255, 255),
    };

    // In the status byte the buttons stand as left 2, middle 1, right 0.
    private byte StatusButtons() =>
        (byte)(((_buttons & 1) << 2) | ((_buttons & 4) >> 1) | ((_buttons & 2) >> 1));

    private void Set(byte mode, bool on)
    {
        _mode = (byte)(on ? _mode | mode : _mode & ~mode);
    }
}
