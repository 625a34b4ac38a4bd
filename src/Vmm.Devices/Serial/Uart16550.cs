namespace Vmm.Devices.Serial;

/// <summary>What a UART drives.</summary>
internal interface IUartPins
{
    /// <summary>The INTR pin changed. Called for every edge, also for the short low pulse within one register write.</summary>
    void InterruptChanged(bool asserted);

    /// <summary>Offers a character to the line. Neither blocks nor calls the UART.</summary>
    /// <returns>False when the line can take none now; it stays in the shift register until <see cref="Uart16550.TransmitReady"/>.</returns>
    bool TryTransmit(byte value);
}

/// <summary>
/// National Semiconductor PC16550D UART (16550A), the register machine alone. The line takes a character at once or refuses it; what the
/// chip does with time, the character timeout, is told to it through <see cref="CharacterTimeout"/>. Not thread-safe.
/// </summary>
internal sealed partial class Uart16550
{
    /// <summary>Input clock, Hz; the divisor divides it by 16 times itself (data sheet, table III).</summary>
    public const int ClockFrequency = 1_843_200;

    private const int TransmitterDepth = 16;

    private readonly IUartPins _pins;
    private readonly ReceiverFifo _receiver = new();
    private readonly byte[] _transmit = new byte[TransmitterDepth];
    private int _transmitHead;
    private int _transmitCount;
    private byte _lastReceived;
    private byte _shift;
    private bool _shiftBusy;

    private ushort _divisor;
    private InterruptEnable _interruptEnable;
    private FifoControl _fifoControl;
    private LineControl _lineControl;
    private ModemControl _modemControl;
    private LineStatus _errors;
    private ModemStatus _modemStatus;
    private ModemStatus _modemInputs;
    private byte _scratch;
    private bool _transmitterEmptyPending;
    private bool _timeoutPending;
    private bool _interrupt;

    public Uart16550(IUartPins pins)
    {
        _pins = pins;
        // The latches are undefined after power-on; 9600 baud is what firmware leaves behind.
        _divisor = 12;
        Reset();
    }

    public bool FifoEnabled => (_fifoControl & FifoControl.Enable) != 0;

    public bool Loopback => (_modemControl & ModemControl.Loop) != 0;

    /// <summary>The RTS pin: in loopback all modem outputs are forced inactive (8.7).</summary>
    public bool RequestToSend => (_modemControl & (ModemControl.RequestToSend | ModemControl.Loop)) == ModemControl.RequestToSend;

    /// <summary>The OUT2 pin, by which a PC's serial port connects INTR to its interrupt line.</summary>
    public bool Out2 => (_modemControl & (ModemControl.Out2 | ModemControl.Loop)) == ModemControl.Out2;

    /// <summary>Characters that fit into the receiver without an overrun.</summary>
    public int ReceiverRoom => (FifoEnabled ? ReceiverFifo.Depth : 1) - _receiver.Count;

    /// <summary>Set by every character received or read: restarts the character timeout. The caller clears it.</summary>
    public bool TimeoutRestart { get; set; }

    /// <summary>Whether the character timeout is to run: characters wait below the trigger level (8.6).</summary>
    public bool TimeoutRunning => FifoEnabled && !_timeoutPending && _receiver.Count > 0 && _receiver.Count < TriggerLevel;

    /// <summary>Duration of one character on the line, nanoseconds: start bit, word, parity and stop bits.</summary>
    public long CharacterTime
    {
        get
        {
            int bits = 1 + WordLength + ((_lineControl & LineControl.ParityEnable) != 0 ? 1 : 0)
                + ((_lineControl & LineControl.TwoStopBits) != 0 ? 2 : 1);
            return bits * 16L * Math.Max(1, (int)_divisor) * 1_000_000_000 / ClockFrequency;
        }
    }

    private int WordLength => 5 + (int)(_lineControl & LineControl.WordLengthMask);

    private bool DivisorLatchAccess => (_lineControl & LineControl.DivisorLatchAccess) != 0;

    private int TriggerLevel => (_fifoControl & FifoControl.TriggerMask) switch
    {
        0 => 1,
        (FifoControl)0x40 => 4,
        (FifoControl)0x80 => 8,
        _ => 14,
    };

    /// <summary>Reads register 0 to 7.</summary>
    public byte Read(uint register) => register switch
    {
        0 => DivisorLatchAccess ? (byte)_divisor : ReadReceiverBuffer(),
        1 => DivisorLatchAccess ? (byte)(_divisor >> 8) : (byte)_interruptEnable,
        2 => ReadInterruptIdentification(),
        3 => (byte)_lineControl,
        4 => (byte)_modemControl,
        5 => ReadLineStatus(),
        6 => ReadModemStatus(),
        7 => _scratch,
        _ => 0xFF,
    };

    /// <summary>Writes register 0 to 7. The status registers are read-only.</summary>
    public void Write(uint register, byte value)
    {
        switch (register)
        {
            case 0 when DivisorLatchAccess:
                _divisor = (ushort)((_divisor & 0xFF00) | value);
                break;
            case 0:
                WriteTransmitterHolding(value);
                break;
            case 1 when DivisorLatchAccess:
                _divisor = (ushort)((_divisor & 0x00FF) | (value << 8));
                break;
            case 1:
                WriteInterruptEnable((InterruptEnable)value & InterruptEnable.All);
                break;
            case 2:
                WriteFifoControl((FifoControl)value);
                break;
            case 3:
                WriteLineControl((LineControl)value);
                break;
            case 4:
                _modemControl = (ModemControl)value & ModemControl.All;
                UpdateModemStatus();
                break;
            case 7:
                _scratch = value;
                break;
        }
    }

    /// <summary>The master reset pin (table I). The latches, the scratch register and the receiver buffer keep their contents.</summary>
    public void Reset()
    {
        _interruptEnable = 0;
        _fifoControl = 0;
        _lineControl = 0;
        _modemControl = 0;
        _errors = LineStatus.None;
        _receiver.Clear();
        _transmitHead = _transmitCount = 0;
        _shiftBusy = false;
        _transmitterEmptyPending = false;
        _timeoutPending = false;
        TimeoutRestart = true;
        _modemStatus = _modemInputs;
        UpdateInterrupt();
    }

    /// <summary>Drives the modem inputs.</summary>
    /// <param name="inputs">Asserted inputs, in bits 7:4.</param>
    public void SetModemInputs(ModemStatus inputs)
    {
        _modemInputs = inputs & ModemStatus.Inputs;
        UpdateModemStatus();
    }

    /// <summary>A character came over the line. With a full receiver this is an overrun.</summary>
    public void Receive(byte value, LineStatus errors = LineStatus.None)
    {
        // In loopback the SIN pin is disconnected (8.7).
        if (!Loopback)
            ReceiveCore(value, errors);
    }

    /// <summary>A break came over the line: one zero character with BI, and FE since it had no stop bit (8.4).</summary>
    public void ReceiveBreak() => Receive(0, LineStatus.BreakInterrupt | LineStatus.FramingError);

    /// <summary>Four character times passed without the receiver FIFO being read or written (8.6).</summary>
    public void CharacterTimeout()
    {
        if (!FifoEnabled || _receiver.Count == 0)
            return;
        _timeoutPending = true;
        UpdateInterrupt();
    }

    /// <summary>The line may take characters again.</summary>
    public void TransmitReady()
    {
        PumpTransmitter();
        UpdateInterrupt();
    }

    private byte ReadReceiverBuffer()
    {
        // The receiver buffer register of character mode keeps its character; an empty FIFO has none.
        if (_receiver.Count == 0)
            return FifoEnabled ? (byte)0 : _lastReceived;
        byte value = _receiver.Pop();
        _lastReceived = value;
        _errors |= _receiver.TopErrors;
        _timeoutPending = false;
        TimeoutRestart = true;
        UpdateInterrupt();
        return value;
    }

    private void WriteTransmitterHolding(byte value)
    {
        if (!FifoEnabled)
            _transmitCount = 0;
        // A character written to a full FIFO is lost; one written to a full holding register replaces it.
        if (_transmitCount < TransmitterDepth)
        {
            _transmit[(_transmitHead + _transmitCount) % TransmitterDepth] = value;
            _transmitCount++;
        }
        _transmitterEmptyPending = false;
        UpdateInterrupt();
        PumpTransmitter();
        UpdateInterrupt();
    }

    private void PumpTransmitter()
    {
        while (true)
        {
            if (_shiftBusy)
            {
                if (!TransmitShifted())
                    return;
                _shiftBusy = false;
            }
            if (_transmitCount == 0)
                return;
            _shift = _transmit[_transmitHead];
            _transmitHead = (_transmitHead + 1) % TransmitterDepth;
            _shiftBusy = true;
            if (--_transmitCount == 0)
                _transmitterEmptyPending = true;
        }
    }

    private bool TransmitShifted()
    {
        if (!Loopback)
            return _pins.TryTransmit(_shift);
        ReceiveCore((byte)(_shift & ((1 << WordLength) - 1)), LineStatus.None);
        return true;
    }

    private void ReceiveCore(byte value, LineStatus errors)
    {
        TimeoutRestart = true;
        if (ReceiverRoom <= 0)
        {
            _errors |= LineStatus.OverrunError;
            // The FIFO keeps what it has; the 16450's buffer is overwritten (8.4).
            if (!FifoEnabled)
            {
                _receiver.Pop();
                PushReceived(value, errors);
            }
        }
        else
        {
            PushReceived(value, errors);
        }
        UpdateInterrupt();
    }

    private void PushReceived(byte value, LineStatus errors)
    {
        _receiver.Push(value, errors);
        if (errors != LineStatus.None && FifoEnabled)
            _errors |= LineStatus.ErrorInReceiverFifo;
        // The errors of a character show when it is at the top of the FIFO.
        if (_receiver.Count == 1)
            _errors |= errors;
    }

    private void WriteInterruptEnable(InterruptEnable value)
    {
        const InterruptEnable Bit = InterruptEnable.TransmitterHoldingRegisterEmpty;
        // Enabling the interrupt while the holding register is empty raises it at once.
        if (((value ^ _interruptEnable) & Bit) != 0)
            _transmitterEmptyPending = (value & Bit) != 0 && _transmitCount == 0;
        _interruptEnable = value;
        UpdateInterrupt();
    }

    private void WriteFifoControl(FifoControl value)
    {
        bool toggled = ((value ^ _fifoControl) & FifoControl.Enable) != 0;
        // Changing between 16450 and FIFO mode clears both FIFOs; other bits are programmed only with bit 0 set (8.5).
        if (toggled || ((value & FifoControl.Enable) != 0 && (value & FifoControl.ReceiverReset) != 0))
        {
            _receiver.Clear();
            _errors &= ~LineStatus.ErrorInReceiverFifo;
            _timeoutPending = false;
        }
        if (toggled || ((value & FifoControl.Enable) != 0 && (value & FifoControl.TransmitterReset) != 0))
        {
            if (_transmitCount != 0)
                _transmitterEmptyPending = true;
            _transmitCount = 0;
        }
        _fifoControl = (value & FifoControl.Enable) != 0
            ? value & (FifoControl.Enable | FifoControl.DmaMode | FifoControl.TriggerMask)
            : 0;
        TimeoutRestart = true;
        UpdateInterrupt();
    }

    private void WriteLineControl(LineControl value)
    {
        bool breakStarts = (value & ~_lineControl & LineControl.SetBreak) != 0;
        _lineControl = value;
        if (breakStarts && Loopback)
            ReceiveCore(0, LineStatus.BreakInterrupt | LineStatus.FramingError);
    }

    private byte ReadInterruptIdentification()
    {
        var source = PendingInterrupt();
        if (source == InterruptIdentification.TransmitterHoldingRegisterEmpty)
        {
            _transmitterEmptyPending = false;
            UpdateInterrupt();
        }
        return (byte)((byte)source | (FifoEnabled ? 0xC0 : 0));
    }

    private byte ReadLineStatus()
    {
        var value = _errors;
        if (_receiver.Count != 0)
            value |= LineStatus.DataReady;
        if (_transmitCount == 0)
            value |= _shiftBusy ? LineStatus.TransmitterHoldingRegisterEmpty
                : LineStatus.TransmitterHoldingRegisterEmpty | LineStatus.TransmitterEmpty;
        if (_errors != LineStatus.None)
        {
            // Bit 7 stays while characters behind the one reported carry errors.
            _receiver.ClearTopErrors();
            _errors = _receiver.Errored != 0 && FifoEnabled ? LineStatus.ErrorInReceiverFifo : LineStatus.None;
            UpdateInterrupt();
        }
        return (byte)value;
    }

    private byte ReadModemStatus()
    {
        var value = _modemStatus;
        if ((value & ModemStatus.Deltas) != 0)
        {
            _modemStatus &= ~ModemStatus.Deltas;
            UpdateInterrupt();
        }
        return (byte)value;
    }

    private void UpdateModemStatus()
    {
        var inputs = Loopback ? LoopedModemOutputs() : _modemInputs;
        var changed = (inputs ^ _modemStatus) & ModemStatus.Inputs;
        var deltas = (ModemStatus)((byte)changed >> 4) & ~ModemStatus.TrailingEdgeRingIndicator;
        // RI tells only of its trailing edge: the input went inactive (8.9).
        if ((changed & _modemStatus & ModemStatus.RingIndicator) != 0)
            deltas |= ModemStatus.TrailingEdgeRingIndicator;
        _modemStatus = (_modemStatus & ModemStatus.Deltas) | deltas | inputs;
        UpdateInterrupt();
    }

    // In loopback RTS, DTR, OUT1 and OUT2 drive CTS, DSR, RI and DCD (8.7).
    private ModemStatus LoopedModemOutputs()
    {
        var inputs = ModemStatus.None;
        if ((_modemControl & ModemControl.RequestToSend) != 0)
            inputs |= ModemStatus.ClearToSend;
        if ((_modemControl & ModemControl.DataTerminalReady) != 0)
            inputs |= ModemStatus.DataSetReady;
        if ((_modemControl & ModemControl.Out1) != 0)
            inputs |= ModemStatus.RingIndicator;
        if ((_modemControl & ModemControl.Out2) != 0)
            inputs |= ModemStatus.DataCarrierDetect;
        return inputs;
    }

    private InterruptIdentification PendingInterrupt()
    {
        if ((_interruptEnable & InterruptEnable.ReceiverLineStatus) != 0 && (_errors & LineStatus.Errors) != 0)
            return InterruptIdentification.ReceiverLineStatus;
        if ((_interruptEnable & InterruptEnable.ReceivedDataAvailable) != 0)
        {
            if (_receiver.Count >= (FifoEnabled ? TriggerLevel : 1))
                return InterruptIdentification.ReceivedDataAvailable;
            if (_timeoutPending)
                return InterruptIdentification.CharacterTimeout;
        }
        if ((_interruptEnable & InterruptEnable.TransmitterHoldingRegisterEmpty) != 0 && _transmitterEmptyPending)
            return InterruptIdentification.TransmitterHoldingRegisterEmpty;
        if ((_interruptEnable & InterruptEnable.ModemStatus) != 0 && (_modemStatus & ModemStatus.Deltas) != 0)
            return InterruptIdentification.ModemStatus;
        return InterruptIdentification.None;
    }

    private void UpdateInterrupt()
    {
        bool asserted = PendingInterrupt() != InterruptIdentification.None;
        if (asserted == _interrupt)
            return;
        _interrupt = asserted;
        _pins.InterruptChanged(asserted);
    }
}
