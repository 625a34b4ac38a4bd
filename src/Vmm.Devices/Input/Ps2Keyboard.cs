namespace Vmm.Devices.Input;

/// <summary>The state of a PS/2 keyboard for a snapshot.</summary>
/// <param name="Queue">Bytes to send.</param>
/// <param name="PendingCommand">A command that waits for its parameter, or 0.</param>
/// <param name="ScanCodeSet">1 or 2.</param>
/// <param name="Leds">LEDs: scroll, num and caps lock in bits 0 to 2.</param>
/// <param name="Typematic">Typematic rate and delay.</param>
/// <param name="Scanning">Whether keys are reported.</param>
public sealed record Ps2KeyboardState(Ps2QueueState Queue, byte PendingCommand, byte ScanCodeSet, byte Leds, byte Typematic, bool Scanning);

/// <summary>
/// An enhanced (MF II) keyboard on a PS/2 port, after the IBM PS/2 hardware reference, "Keyboards (101- and 102-key)": commands, replies,
/// scan code sets 2 and 1. Set 3 is refused, as by keyboards that lack it. Not thread-safe.
/// </summary>
internal sealed class Ps2Keyboard
{
    public const byte Acknowledge = 0xFA;
    public const byte Resend = 0xFE;
    public const byte TestPassed = 0xAA;

    private const byte Overrun = 0x00;
    private const byte BreakPrefix = 0xF0;
    private const byte ExtendedPrefix = 0xE0;
    private const byte DefaultTypematic = 0x2B;

    private byte _pendingCommand;
    private byte _scanCodeSet = 2;
    private byte _typematic = DefaultTypematic;

    public Ps2Queue Output { get; } = new();

    /// <summary>LEDs: scroll, num and caps lock in bits 0 to 2.</summary>
    public byte Leds { get; private set; }

    public bool Scanning { get; private set; } = true;

    /// <summary>A byte from the host.</summary>
    public void Write(byte value)
    {
        Output.ClearReplies();
        byte pending = _pendingCommand;
        _pendingCommand = 0;
        // A command instead of a parameter ends the command before it.
        if (pending != 0 && value < 0xED)
            WriteParameter(pending, value);
        else
            WriteCommand(value);
    }

    /// <summary>A key went down or up.</summary>
    /// <param name="code">Its set 2 make code, without prefix.</param>
    /// <param name="extended">Whether the code has the prefix E0.</param>
    /// <param name="pressed">Down or up.</param>
    public void Key(byte code, bool extended, bool pressed)
    {
        if (!Scanning)
            return;
        Span<byte> bytes = stackalloc byte[3];
        int n = 0;
        if (extended)
            bytes[n++] = ExtendedPrefix;
        if (_scanCodeSet == 1)
        {
            bytes[n++] = (byte)(ScanCodes.ToSet1(code) | (pressed ? 0 : 0x80));
        }
        else
        {
            if (!pressed)
                bytes[n++] = BreakPrefix;
            bytes[n++] = code;
        }
        // The last place of a full buffer tells of the overrun.
        if (Output.EventRoom > n)
            Output.TryAddEvent(bytes[..n]);
        else
            Output.TryAddEvent([_scanCodeSet == 1 ? (byte)0xFF : Overrun]);
    }

    public void Reset()
    {
        Output.Clear();
        _pendingCommand = 0;
        Leds = 0;
        SetDefaults();
        Scanning = true;
    }

    public Ps2KeyboardState Capture() => new(Output.Capture(), _pendingCommand, _scanCodeSet, Leds, _typematic, Scanning);

    public void Restore(Ps2KeyboardState state)
    {
        if (state.ScanCodeSet is not (1 or 2))
            throw new InvalidDataException($"The keyboard's snapshot names scan code set {state.ScanCodeSet}.");
        Output.Restore(state.Queue);
        _pendingCommand = state.PendingCommand;
        _scanCodeSet = state.ScanCodeSet;
        Leds = state.Leds;
        _typematic = state.Typematic;
        Scanning = state.Scanning;
    }

    private void SetDefaults()
    {
        _scanCodeSet = 2;
        _typematic = DefaultTypematic;
    }

    private void WriteCommand(byte command)
    {
        switch (command)
        {
            case 0xED: // Set/reset status indicators
            case 0xF0: // Select alternate scan codes
            case 0xF3: // Set typematic rate and delay
            case 0xFB: // Set key type typematic (set 3)
            case 0xFC: // Set key type make/break (set 3)
            case 0xFD: // Set key type make (set 3)
                _pendingCommand = command;
                Output.Reply(Acknowledge);
                break;
            case 0xEE: // Echo
                Output.Reply(0xEE);
                break;
            case 0xF2: // Read ID
                Output.Reply(Acknowledge);
                Output.Reply(0xAB);
                Output.Reply(0x83);
                break;
            case 0xF4: // Enable
                Output.Clear();
                Scanning = true;
                Output.Reply(Acknowledge);
                break;
            case 0xF5: // Default disable
                Output.Clear();
                SetDefaults();
                Scanning = false;
                Output.Reply(Acknowledge);
                break;
            case 0xF6: // Set default
                Output.Clear();
                SetDefaults();
                Output.Reply(Acknowledge);
                break;
            case >= 0xF7 and <= 0xFA: // Set all keys (set 3)
                Output.Reply(Acknowledge);
                break;
            case 0xFE: // Resend
                Output.Reply(Output.Last);
                break;
            case 0xFF: // Reset
                Reset();
                Output.Reply(Acknowledge);
                Output.Reply(TestPassed);
                break;
            default:
                Output.Reply(Resend);
                break;
        }
    }

    private void WriteParameter(byte command, byte value)
    {
        switch (command)
        {
            case 0xED:
                Leds = (byte)(value & 0x07);
                break;
            case 0xF0 when value == 0:
                Output.Reply(Acknowledge);
                Output.Reply(_scanCodeSet);
                return;
            case 0xF0 when value is 1 or 2:
                _scanCodeSet = value;
                break;
            case 0xF0:
                Output.Reply(Resend);
                return;
            case 0xF3:
                _typematic = (byte)(value & 0x7F);
                break;
        }
        Output.Reply(Acknowledge);
    }
}
