namespace Vmm.Devices.Serial;

internal sealed partial class Uart16550
{
    public Uart16550State Capture()
    {
        var (received, errors) = _receiver.Capture();
        byte[] transmit = new byte[_transmitCount];
        for (int i = 0; i < transmit.Length; i++)
            transmit[i] = _transmit[(_transmitHead + i) % TransmitterDepth];
        return new Uart16550State
        {
            Divisor = _divisor,
            InterruptEnable = (byte)_interruptEnable,
            FifoControl = (byte)_fifoControl,
            LineControl = (byte)_lineControl,
            ModemControl = (byte)_modemControl,
            LineErrors = (byte)_errors,
            ModemStatus = (byte)_modemStatus,
            ModemInputs = (byte)_modemInputs,
            Scratch = _scratch,
            Received = received,
            LastReceived = _lastReceived,
            ReceivedErrors = errors,
            Transmit = transmit,
            TransmitterShift = _shiftBusy ? _shift : null,
            TransmitterEmptyPending = _transmitterEmptyPending,
            CharacterTimeoutPending = _timeoutPending,
        };
    }

    /// <summary>Puts a state in without driving INTR.</summary>
    /// <returns>The level of INTR in that state.</returns>
    public bool Restore(Uart16550State state)
    {
        Validate(state);
        _divisor = state.Divisor;
        _interruptEnable = (InterruptEnable)state.InterruptEnable;
        _fifoControl = (FifoControl)state.FifoControl;
        _lineControl = (LineControl)state.LineControl;
        _modemControl = (ModemControl)state.ModemControl;
        _errors = (LineStatus)state.LineErrors;
        _modemStatus = (ModemStatus)state.ModemStatus;
        _modemInputs = (ModemStatus)state.ModemInputs;
        _scratch = state.Scratch;
        _receiver.Restore(state.Received, state.ReceivedErrors);
        _lastReceived = state.LastReceived;
        state.Transmit.CopyTo(_transmit, 0);
        (_transmitHead, _transmitCount) = (0, state.Transmit.Length);
        (_shift, _shiftBusy) = (state.TransmitterShift ?? 0, state.TransmitterShift is not null);
        _transmitterEmptyPending = state.TransmitterEmptyPending;
        _timeoutPending = state.CharacterTimeoutPending;
        TimeoutRestart = true;
        _interrupt = PendingInterrupt() != InterruptIdentification.None;
        return _interrupt;
    }

    private static void Validate(Uart16550State state)
    {
        const FifoControl FifoBits = FifoControl.Enable | FifoControl.DmaMode | FifoControl.TriggerMask;
        int depth = ((FifoControl)state.FifoControl & FifoControl.Enable) != 0 ? TransmitterDepth : 1;
        bool valid = state.Version == 1
            && ((InterruptEnable)state.InterruptEnable & ~InterruptEnable.All) == 0
            && ((FifoControl)state.FifoControl & ~FifoBits) == 0
            && ((ModemControl)state.ModemControl & ~ModemControl.All) == 0
            && ((LineStatus)state.LineErrors & ~(LineStatus.Errors | LineStatus.ErrorInReceiverFifo)) == 0
            && ((ModemStatus)state.ModemInputs & ~ModemStatus.Inputs) == 0
            && state.Received.Length <= depth
            && state.ReceivedErrors.Length == state.Received.Length
            && state.ReceivedErrors.All(e => ((LineStatus)e & ~LineStatus.CharacterErrors) == 0)
            && state.Transmit.Length <= depth;
        if (!valid)
            throw new InvalidDataException("The serial port's snapshot holds a value that a 16550A cannot have.");
    }
}
