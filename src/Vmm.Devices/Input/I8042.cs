using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Input;

/// <summary>
/// The keyboard controller of a PC with a keyboard and a mouse: ports 0x60 and 0x64, interrupts 1 and 12, and the system reset that
/// guests ask for by pulsing output port bit 0 (command 0xFE). Its A20 gate is kept for reading back; the line is always open.
/// </summary>
public sealed class I8042 : IResettable, ISnapshotable<I8042State>, II8042Pins
{
    /// <summary>The data port.</summary>
    public const ushort DataPort = 0x60;

    /// <summary>The status and command port.</summary>
    public const ushort CommandPort = 0x64;

    // Guards the chip and the flag; released before lines are driven and the machine is asked.
    private readonly Lock _lock = new();
    private readonly I8042Chip _chip;
    private readonly InterruptPin _keyboardInterrupt;
    private readonly InterruptPin _auxiliaryInterrupt;
    private readonly IMachineControl _control;
    private bool _resetRequested;

    /// <summary>Makes the controller.</summary>
    /// <param name="keyboardLine">ISA IRQ 1.</param>
    /// <param name="auxiliaryLine">ISA IRQ 12.</param>
    /// <param name="control">Takes the reset.</param>
    public I8042(IInterruptLine keyboardLine, IInterruptLine auxiliaryLine, IMachineControl control)
    {
        _keyboardInterrupt = new InterruptPin(keyboardLine);
        _auxiliaryInterrupt = new InterruptPin(auxiliaryLine);
        _control = control;
        _chip = new I8042Chip(this);
    }

    /// <summary>LEDs that the guest has lit: scroll, num and caps lock in bits 0 to 2.</summary>
    public byte Leds
    {
        get
        {
            lock (_lock)
                return _chip.Keyboard.Leds;
        }
    }

    /// <summary>Puts the controller on the port bus.</summary>
    public void Map(Bus ports)
    {
        ports.Map("i8042-data", DataPort, 1, new DataWindow(this));
        ports.Map("i8042-command", CommandPort, 1, new CommandWindow(this));
    }

    /// <summary>Presses or releases a key. Any thread.</summary>
    /// <param name="code">Its make code in scan code set 2, without prefix.</param>
    /// <param name="extended">Whether the code has the prefix E0.</param>
    /// <param name="pressed">Down or up.</param>
    public void Key(byte code, bool extended, bool pressed)
    {
        lock (_lock)
        {
            _chip.Keyboard.Key(code, extended, pressed);
            _chip.Poll();
        }
        Flush();
    }

    /// <summary>Moves the mouse. Any thread.</summary>
    /// <param name="x">Counts to the right.</param>
    /// <param name="y">Counts upwards.</param>
    /// <param name="wheel">Notches of the wheel, towards the user.</param>
    /// <param name="buttons">Buttons held now.</param>
    public void MoveMouse(int x, int y, int wheel, MouseButtons buttons)
    {
        lock (_lock)
        {
            _chip.Mouse.Move(x, y, wheel, buttons);
            _chip.Poll();
        }
        Flush();
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
            _chip.Reset();
        Flush();
    }

    /// <inheritdoc/>
    public I8042State Capture()
    {
        lock (_lock)
            return _chip.Capture();
    }

    /// <inheritdoc/>
    public void Restore(I8042State state)
    {
        lock (_lock)
        {
            var (keyboard, auxiliary) = _chip.Restore(state);
            _keyboardInterrupt.Restore(keyboard);
            _auxiliaryInterrupt.Restore(auxiliary);
        }
    }

    /// <inheritdoc/>
    void II8042Pins.KeyboardInterruptChanged(bool asserted) => _keyboardInterrupt.Set(asserted);

    /// <inheritdoc/>
    void II8042Pins.AuxiliaryInterruptChanged(bool asserted) => _auxiliaryInterrupt.Set(asserted);

    /// <inheritdoc/>
    void II8042Pins.SystemReset() => _resetRequested = true;

    private byte ReadData()
    {
        byte value;
        lock (_lock)
            value = _chip.ReadData();
        Flush();
        return value;
    }

    private byte ReadStatus()
    {
        lock (_lock)
            return _chip.ReadStatus();
    }

    private void Write(bool command, byte value)
    {
        bool reset;
        lock (_lock)
        {
            if (command)
                _chip.WriteCommand(value);
            else
                _chip.WriteData(value);
            (reset, _resetRequested) = (_resetRequested, false);
        }
        Flush();
        if (reset)
            _control.Request(new MachineRequest(MachineRequestKind.Reset));
    }

    private void Flush()
    {
        _keyboardInterrupt.Flush();
        _auxiliaryInterrupt.Flush();
    }

    private sealed class DataWindow(I8042 controller) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => controller.ReadData();

        protected override void WriteByte(uint offset, byte value) => controller.Write(command: false, value);
    }

    private sealed class CommandWindow(I8042 controller) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => controller.ReadStatus();

        protected override void WriteByte(uint offset, byte value) => controller.Write(command: true, value);
    }
}
