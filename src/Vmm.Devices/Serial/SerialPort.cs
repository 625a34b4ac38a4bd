using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;

namespace Vmm.Devices.Serial;

/// <summary>The state of a <see cref="SerialPort"/> for a snapshot.</summary>
/// <param name="Uart">The chip.</param>
/// <param name="TimeoutDeadline">When the character timeout falls due, nanoseconds of VM time, or null when it does not run.</param>
public sealed record SerialPortState(Uart16550State Uart, long? TimeoutDeadline);

/// <summary>
/// A PC serial port: a 16550A on eight ports, with its interrupt line connected through OUT2 as on the PC/AT, and a character backend
/// at the other end of the cable. Characters travel as fast as the backend takes them; the line rate matters only to the
/// character timeout. Received characters wait in the backend while the receiver is full, and while the guest holds RTS
/// deasserted after having asserted it.
/// </summary>
public sealed class SerialPort : ByteWideDevice, IResettable, ISnapshotable<SerialPortState>, ICharacterFrontend, IUartPins, IDisposable
{
    /// <summary>Ports that one serial port takes.</summary>
    public const int PortCount = 8;

    // Data sheet 8.6: the timeout comes after four character times.
    private const int TimeoutCharacters = 4;

    // Guards the chip and the fields below. Above the backend's lock and the clock's; never held while the line is driven.
    private readonly Lock _lock = new();
    private readonly Uart16550 _uart;
    private readonly ICharacterBackend _backend;
    private readonly InterruptPin _interrupt;
    private readonly VmClock _clock;
    private readonly IVmTimer _timer;
    private bool _pin;
    private bool _inputWaiting;
    private bool _flowControl;
    private long? _timeoutDeadline;
    private bool _timerArmed;

    /// <summary>Makes a port and attaches it to its backend.</summary>
    /// <param name="backend">The far end; stays the caller's to dispose, after the port.</param>
    /// <param name="line">The interrupt line: ISA IRQ 4 for COM1 and COM3, 3 for COM2 and COM4.</param>
    /// <param name="clock">The VM's time, for the character timeout.</param>
    public SerialPort(ICharacterBackend backend, IInterruptLine line, VmClock clock)
    {
        (_backend, _clock) = (backend, clock);
        _interrupt = new InterruptPin(line);
        _uart = new Uart16550(this);
        _uart.SetModemInputs(ModemStatus.ClearToSend | ModemStatus.DataSetReady | ModemStatus.DataCarrierDetect);
        _uart.Reset();
        _timer = clock.CreateTimer(OnTimer);
        _backend.Attach(this);
    }

    /// <summary>Puts the port on the port bus.</summary>
    /// <param name="ports">The port bus.</param>
    /// <param name="basePort">First port: 0x3F8, 0x2F8, 0x3E8 or 0x2E8 on a PC.</param>
    public BusMapping Map(Bus ports, ushort basePort) => ports.Map($"serial-{basePort:x}", basePort, PortCount, this);

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _uart.Reset();
            _flowControl = false;
            AfterAccess();
        }
        _interrupt.Flush();
    }

    /// <inheritdoc/>
    public SerialPortState Capture()
    {
        lock (_lock)
            return new SerialPortState(_uart.Capture(), _timeoutDeadline);
    }

    /// <inheritdoc/>
    public void Restore(SerialPortState state)
    {
        lock (_lock)
        {
            _pin = _uart.Restore(state.Uart);
            _interrupt.Restore(_pin && _uart.Out2);
            _flowControl = _uart.RequestToSend;
            _uart.TimeoutRestart = false;
            _timeoutDeadline = state.TimeoutDeadline;
            _timerArmed = _timeoutDeadline is not null;
            if (_timeoutDeadline is long deadline)
                _timer.Arm(deadline);
            else
                _timer.Disarm();
        }
    }

    /// <summary>Stops the timeout. The backend is disposed by its owner.</summary>
    public void Dispose() => _timer.Dispose();

    /// <inheritdoc/>
    void ICharacterFrontend.InputAvailable()
    {
        lock (_lock)
        {
            _inputWaiting = true;
            AfterAccess();
        }
        _interrupt.Flush();
    }

    /// <inheritdoc/>
    void ICharacterFrontend.OutputReady()
    {
        lock (_lock)
            _uart.TransmitReady();
        _interrupt.Flush();
    }

    /// <inheritdoc/>
    void IUartPins.InterruptChanged(bool asserted)
    {
        _pin = asserted;
        _interrupt.Set(asserted && _uart.Out2);
    }

    /// <inheritdoc/>
    bool IUartPins.TryTransmit(byte value) => _backend.TryWrite(value);

    /// <inheritdoc/>
    protected override byte ReadByte(uint offset)
    {
        byte value;
        lock (_lock)
        {
            value = _uart.Read(offset);
            AfterAccess();
        }
        _interrupt.Flush();
        return value;
    }

    /// <inheritdoc/>
    protected override void WriteByte(uint offset, byte value)
    {
        lock (_lock)
        {
            _uart.Write(offset, value);
            _flowControl |= _uart.RequestToSend;
            AfterAccess();
        }
        _interrupt.Flush();
    }

    // What follows from a change of the chip: INTR through OUT2, room for input, the character timeout.
    private void AfterAccess()
    {
        if (_inputWaiting)
            PumpInput();
        _interrupt.Set(_pin && _uart.Out2);
        if (_uart.TimeoutRestart)
            RestartTimeout();
    }

    private void PumpInput()
    {
        while (_uart.ReceiverRoom > 0 && !_uart.Loopback && (!_flowControl || _uart.RequestToSend))
        {
            if (!_backend.TryRead(out var character))
            {
                _inputWaiting = false;
                return;
            }
            if (character.IsBreak)
                _uart.ReceiveBreak();
            else
                _uart.Receive(character.Value);
        }
    }

    // The timer is armed once and looks at the deadline again when it fires: a stream of characters does not re-arm it each time.
    private void RestartTimeout()
    {
        _uart.TimeoutRestart = false;
        if (!_uart.TimeoutRunning)
        {
            _timeoutDeadline = null;
            return;
        }
        long deadline = _clock.Now + TimeoutCharacters * _uart.CharacterTime;
        _timeoutDeadline = deadline;
        if (_timerArmed)
            return;
        _timerArmed = true;
        _timer.Arm(deadline);
    }

    private void OnTimer()
    {
        lock (_lock)
        {
            _timerArmed = false;
            if (_timeoutDeadline is not long deadline)
                return;
            if (_clock.Now < deadline)
            {
                _timerArmed = true;
                _timer.Arm(deadline);
                return;
            }
            _timeoutDeadline = null;
            _uart.CharacterTimeout();
        }
        _interrupt.Flush();
    }
}
