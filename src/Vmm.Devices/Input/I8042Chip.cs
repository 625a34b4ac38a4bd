namespace Vmm.Devices.Input;

/// <summary>What the keyboard controller drives.</summary>
internal interface II8042Pins
{
    /// <summary>The keyboard's interrupt pin (IRQ 1) changed.</summary>
    void KeyboardInterruptChanged(bool asserted);

    /// <summary>The auxiliary device's interrupt pin (IRQ 12) changed.</summary>
    void AuxiliaryInterruptChanged(bool asserted);

    /// <summary>The system reset pin was pulled low.</summary>
    void SystemReset();
}

/// <summary>The state of the keyboard controller for a snapshot.</summary>
public sealed record I8042State
{
    /// <summary>The keyboard.</summary>
    public required Ps2KeyboardState Keyboard { get; init; }

    /// <summary>The mouse.</summary>
    public required Ps2MouseState Mouse { get; init; }

    /// <summary>Status register.</summary>
    public byte Status { get; init; }

    /// <summary>The controller's RAM; byte 0 is the command byte.</summary>
    public byte[] Ram { get; init; } = [];

    /// <summary>Output buffer.</summary>
    public byte OutputBuffer { get; init; }

    /// <summary>Output port.</summary>
    public byte OutputPort { get; init; }

    /// <summary>A command that waits for its parameter, or 0.</summary>
    public byte PendingCommand { get; init; }

    /// <summary>A reply that waits for the output buffer, or null.</summary>
    public byte? PendingReply { get; init; }

    /// <summary>The waiting reply pretends to come from the auxiliary device.</summary>
    public bool PendingReplyAuxiliary { get; init; }

    /// <summary>Between a break prefix and its code, while translating.</summary>
    public bool BreakPrefix { get; init; }
}

/// <summary>
/// Intel 8042 keyboard controller as programmed for the IBM PS/2 (IBM PS/2 hardware interface technical reference, "Keyboard and auxiliary
/// device controller"), with a keyboard and a mouse connected. Not thread-safe.
/// </summary>
internal sealed class I8042Chip
{
    // Status register, port 0x64, RO.
    private const byte OutputBufferFull = 0x01;
    private const byte SystemFlag = 0x04;
    private const byte CommandWritten = 0x08;
    private const byte NotInhibited = 0x10;
    private const byte AuxiliaryData = 0x20;

    // Command byte.
    private const byte EnableKeyboardInterrupt = 0x01;
    private const byte EnableAuxiliaryInterrupt = 0x02;
    private const byte CommandSystemFlag = 0x04;
    private const byte DisableKeyboard = 0x10;
    private const byte DisableAuxiliary = 0x20;
    private const byte Translate = 0x40;

    // Output port.
    private const byte ResetNot = 0x01;
    private const byte A20 = 0x02;
    private const byte OutputPortIdle = 0xCF;

    private const byte BreakCode = 0xF0;
    private const byte SelfTestPassed = 0x55;

    private readonly II8042Pins _pins;
    private readonly byte[] _ram = new byte[32];
    private byte _status;
    private byte _outputBuffer;
    private byte _outputPort;
    private byte _pendingCommand;
    private byte? _reply;
    private bool _replyAuxiliary;
    private bool _breakPrefix;
    private bool _keyboardInterrupt;
    private bool _auxiliaryInterrupt;

    public I8042Chip(II8042Pins pins)
    {
        _pins = pins;
        Reset();
    }

    public Ps2Keyboard Keyboard { get; } = new();

    public Ps2Mouse Mouse { get; } = new();

    private ref byte CommandByte => ref _ram[0];

    /// <summary>Reads the status register, port 0x64.</summary>
    public byte ReadStatus() => _status;

    /// <summary>Reads the output buffer, port 0x60. Empty, it still holds the byte last read.</summary>
    public byte ReadData()
    {
        byte value = _outputBuffer;
        if ((_status & OutputBufferFull) != 0)
        {
            _status &= unchecked((byte)~(OutputBufferFull | AuxiliaryData));
            UpdateInterrupts();
            Mouse.Pump();
            FillOutputBuffer();
        }
        return value;
    }

    /// <summary>Writes port 0x60: a parameter of the command before it, or a byte for the keyboard.</summary>
    public void WriteData(byte value)
    {
        _status &= unchecked((byte)~CommandWritten);
        byte command = _pendingCommand;
        _pendingCommand = 0;
        switch (command)
        {
            case 0:
                // Data for the keyboard switches its interface on.
                CommandByte &= unchecked((byte)~DisableKeyboard);
                Keyboard.Write(value);
                break;
            case >= 0x60 and <= 0x7F:
                WriteRam(command & 0x1F, value);
                break;
            case 0xD1:
                WriteOutputPort(value);
                break;
            case 0xD2:
                Reply(value, auxiliary: false);
                break;
            case 0xD3:
                Reply(value, auxiliary: true);
                break;
            case 0xD4:
                CommandByte &= unchecked((byte)~DisableAuxiliary);
                Mouse.Write(value);
                break;
        }
        FillOutputBuffer();
    }

    /// <summary>Writes port 0x64: a command to the controller.</summary>
    public void WriteCommand(byte command)
    {
        _status |= CommandWritten;
        _pendingCommand = 0;
        switch (command)
        {
            case >= 0x20 and <= 0x3F:
                Reply(_ram[command & 0x1F], auxiliary: false);
                break;
            case >= 0x60 and <= 0x7F:
            case 0xD1 or 0xD2 or 0xD3 or 0xD4:
                _pendingCommand = command;
                break;
            case 0xA4: // Test password installed: none
                Reply(0xF1, auxiliary: false);
                break;
            case 0xA7:
                CommandByte |= DisableAuxiliary;
                break;
            case 0xA8:
                CommandByte &= unchecked((byte)~DisableAuxiliary);
                break;
            case 0xA9: // Auxiliary interface test: no error
            case 0xAB: // Keyboard interface test: no error
                Reply(0x00, auxiliary: false);
                break;
            case 0xAA:
                SelfTest();
                break;
            case 0xAD:
                CommandByte |= DisableKeyboard;
                break;
            case 0xAE:
                CommandByte &= unchecked((byte)~DisableKeyboard);
                break;
            case 0xC0: // Read input port: keyboard not locked, colour display
                Reply(0x80, auxiliary: false);
                break;
            case 0xD0:
                Reply(ReadOutputPort(), auxiliary: false);
                break;
            case 0xDD: // A20 off and on by a single command, as in later controllers
                WriteOutputPort((byte)(_outputPort & ~A20));
                break;
            case 0xDF:
                WriteOutputPort((byte)(_outputPort | A20));
                break;
            case 0xE0: // Read test inputs: both clocks idle
                Reply(0x00, auxiliary: false);
                break;
            case >= 0xF0:
                // Pulses low the output port bits 3:0 that are 0 in the command.
                if ((command & ResetNot) == 0)
                    _pins.SystemReset();
                break;
        }
        FillOutputBuffer();
    }

    /// <summary>A device may have something to send.</summary>
    public void Poll() => FillOutputBuffer();

    /// <summary>
    /// Power-on, and what firmware leaves behind: self-test passed, keyboard enabled with its interrupt and translation, mouse disabled.
    /// </summary>
    public void Reset()
    {
        Keyboard.Reset();
        Mouse.Reset();
        Array.Clear(_ram);
        CommandByte = EnableKeyboardInterrupt | CommandSystemFlag | DisableAuxiliary | Translate;
        _status = SystemFlag | NotInhibited;
        _outputBuffer = 0;
        _outputPort = OutputPortIdle;
        _pendingCommand = 0;
        _reply = null;
        _breakPrefix = false;
        UpdateInterrupts();
    }

    public I8042State Capture() => new()
    {
        Keyboard = Keyboard.Capture(),
        Mouse = Mouse.Capture(),
        Status = _status,
        Ram = [.. _ram],
        OutputBuffer = _outputBuffer,
        OutputPort = _outputPort,
        PendingCommand = _pendingCommand,
        PendingReply = _reply,
        PendingReplyAuxiliary = _replyAuxiliary,
        BreakPrefix = _breakPrefix,
    };

    /// <summary>Puts a state in without driving the interrupt pins.</summary>
    /// <returns>The levels of the keyboard's and the auxiliary device's pins.</returns>
    public (bool Keyboard, bool Auxiliary) Restore(I8042State state)
    {
        if (state.Ram.Length != _ram.Length)
            throw new InvalidDataException("The keyboard controller's snapshot lacks its RAM.");
        Keyboard.Restore(state.Keyboard);
        Mouse.Restore(state.Mouse);
        state.Ram.CopyTo(_ram, 0);
        (_status, _outputBuffer, _outputPort, _pendingCommand) = (state.Status, state.OutputBuffer, state.OutputPort, state.PendingCommand);
        (_reply, _replyAuxiliary, _breakPrefix) = (state.PendingReply, state.PendingReplyAuxiliary, state.BreakPrefix);
        (_keyboardInterrupt, _auxiliaryInterrupt) = InterruptLevels();
        return (_keyboardInterrupt, _auxiliaryInterrupt);
    }

    private void SelfTest()
    {
        _status |= SystemFlag;
        CommandByte |= CommandSystemFlag;
        // The test empties the output buffer.
        _status &= unchecked((byte)~(OutputBufferFull | AuxiliaryData));
        UpdateInterrupts();
        Reply(SelfTestPassed, auxiliary: false);
    }

    private void WriteRam(int index, byte value)
    {
        _ram[index] = value;
        if (index != 0)
            return;
        _status = (byte)((_status & ~SystemFlag) | ((value & CommandSystemFlag) != 0 ? SystemFlag : 0));
        UpdateInterrupts();
    }

    private byte ReadOutputPort()
    {
        int value = _outputPort & 0xCF;
        if (_keyboardInterrupt)
            value |= 0x10;
        if (_auxiliaryInterrupt)
            value |= 0x20;
        return (byte)value;
    }

    private void WriteOutputPort(byte value)
    {
        _outputPort = value;
        if ((value & ResetNot) == 0)
            _pins.SystemReset();
    }

    private void Reply(byte value, bool auxiliary)
    {
        // The controller has one reply outstanding; a new command replaces one that was never fetched.
        _reply = value;
        _replyAuxiliary = auxiliary;
    }

    private void FillOutputBuffer()
    {
        while ((_status & OutputBufferFull) == 0)
        {
            if (_reply is byte reply)
            {
                _reply = null;
                Load(reply, _replyAuxiliary);
            }
            else if ((CommandByte & DisableKeyboard) == 0 && !Keyboard.Output.IsEmpty)
            {
                TakeFromKeyboard();
            }
            else if ((CommandByte & DisableAuxiliary) == 0 && !Mouse.Output.IsEmpty)
            {
                Load(Mouse.Output.Take(), auxiliary: true);
            }
            else
            {
                return;
            }
        }
    }

    // While translating, a break prefix is swallowed and sets bit 7 of the code after it.
    private void TakeFromKeyboard()
    {
        byte value = Keyboard.Output.Take();
        if ((CommandByte & Translate) == 0)
        {
            _breakPrefix = false;
            Load(value, auxiliary: false);
        }
        else if (value == BreakCode)
        {
            _breakPrefix = true;
        }
        else
        {
            byte code = ScanCodes.ToSet1(value);
            Load((byte)(_breakPrefix ? code | 0x80 : code), auxiliary: false);
            _breakPrefix = false;
        }
    }

    private void Load(byte value, bool auxiliary)
    {
        _outputBuffer = value;
        _status |= auxiliary ? (byte)(OutputBufferFull | AuxiliaryData) : OutputBufferFull;
        UpdateInterrupts();
    }

    private (bool Keyboard, bool Auxiliary) InterruptLevels()
    {
        bool full = (_status & OutputBufferFull) != 0;
        bool auxiliary = (_status & AuxiliaryData) != 0;
        return (full && !auxiliary && (CommandByte & EnableKeyboardInterrupt) != 0, full && auxiliary && (CommandByte & EnableAuxiliaryInterrupt) != 0);
    }

    private void UpdateInterrupts()
    {
        var (keyboard, auxiliary) = InterruptLevels();
        if (keyboard != _keyboardInterrupt)
        {
            _keyboardInterrupt = keyboard;
            _pins.KeyboardInterruptChanged(keyboard);
        }
        if (auxiliary != _auxiliaryInterrupt)
        {
            _auxiliaryInterrupt = auxiliary;
            _pins.AuxiliaryInterruptChanged(auxiliary);
        }
    }
}
