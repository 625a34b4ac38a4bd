using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Acpi;

/// <summary>State of the ACPI fixed hardware.</summary>
public sealed record AcpiPmState(ushort Status, ushort Enable, ushort Control, byte GpeStatus, byte GpeEnable, byte SmiData);

/// <summary>
/// The ACPI fixed hardware (ACPI 6.5, 4.8): PM1 event and control blocks with the power button, the 3.579545 MHz PM timer, an empty
/// GPE block, and the SMI command port that turns ACPI mode on. The port numbers here are those that the FADT tells.
/// </summary>
public sealed class AcpiPm : IResettable, ISnapshotable<AcpiPmState>, IDisposable
{
    /// <summary>PM1a_EVT_BLK: status and enable, 4 bytes.</summary>
    public const ushort Pm1EventPort = 0x600;

    /// <summary>PM1_EVT_LEN.</summary>
    public const byte Pm1EventLength = 4;

    /// <summary>PM1a_CNT_BLK: 2 bytes.</summary>
    public const ushort Pm1ControlPort = 0x604;

    /// <summary>PM1_CNT_LEN.</summary>
    public const byte Pm1ControlLength = 2;

    /// <summary>PM_TMR_BLK: 4 bytes.</summary>
    public const ushort PmTimerPort = 0x608;

    /// <summary>PM_TMR_LEN.</summary>
    public const byte PmTimerLength = 4;

    /// <summary>GPE0_BLK: a status and an enable byte.</summary>
    public const ushort Gpe0Port = 0x620;

    /// <summary>GPE0_BLK_LEN.</summary>
    public const byte Gpe0Length = 2;

    /// <summary>SMI_CMD; the status port 0xB3 is beside it.</summary>
    public const ushort SmiCommandPort = 0xB2;

    /// <summary>ACPI_ENABLE: written to SMI_CMD, sets SCI_EN.</summary>
    public const byte AcpiEnableValue = 0xF1;

    /// <summary>ACPI_DISABLE: written to SMI_CMD, clears SCI_EN.</summary>
    public const byte AcpiDisableValue = 0xF0;

    /// <summary>SLP_TYP of S5, for the DSDT's \_S5 object.</summary>
    public const byte SleepTypeS5 = 5;

    /// <summary>SCI_INT: the system control interrupt, level, active high on this board's I/O APIC.</summary>
    public const byte SciInterrupt = 9;

    /// <summary>Frequency of the PM timer, Hz (ACPI 6.5, 4.8.2.1).</summary>
    public const long PmTimerFrequency = 3_579_545;

    private const ushort StatusTimer = 1 << 0;
    private const ushort StatusBusMaster = 1 << 4;
    private const ushort StatusGlobal = 1 << 5;
    private const ushort StatusPowerButton = 1 << 8;
    private const ushort StatusSleepButton = 1 << 9;
    private const ushort StatusRtc = 1 << 10;
    private const ushort StatusWake = 1 << 15;
    private const ushort StatusClearable = StatusTimer | StatusBusMaster | StatusGlobal | StatusPowerButton | StatusSleepButton | StatusRtc
        | StatusWake;
    private const ushort EnableWritable = StatusTimer | StatusGlobal | StatusPowerButton | StatusSleepButton | StatusRtc;
    private const ushort ControlSciEnable = 1 << 0;
    private const ushort ControlBusMasterReload = 1 << 1;
    private const ushort ControlSleepType = 7 << 10;
    private const ushort ControlSleepEnable = 1 << 13;

    private readonly Lock _lock = new();
    private readonly VmClock _clock;
    private readonly IMachineControl _machine;
    private readonly IVmTimer _timer;
    private readonly InterruptPin _sci;
    private ushort _status;
    private ushort _enable;
    private ushort _control;
    private byte _gpeStatus;
    private byte _gpeEnable;
    private byte _smiData;
    private bool _timerBit;

    /// <summary>Makes the fixed hardware in its reset state.</summary>
    /// <param name="clock">VM time.</param>
    /// <param name="sci">The system control interrupt.</param>
    /// <param name="machine">Takes the request to power off.</param>
    public AcpiPm(VmClock clock, IInterruptLine sci, IMachineControl machine)
    {
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentNullException.ThrowIfNull(sci);
        ArgumentNullException.ThrowIfNull(machine);
        (_clock, _machine) = (clock, machine);
        _sci = new InterruptPin(sci);
        _timer = clock.CreateTimer(OnTimer);
    }

    /// <summary>Whether the guest has turned ACPI mode on.</summary>
    public bool IsAcpiEnabled => (_control & ControlSciEnable) != 0;

    // The counter is 32 bits wide; TMR_STS is set whenever bit 31 toggles (ACPI 6.5, 4.8.2.1).
    private ulong TimerTicks => (ulong)ClockRatio.TicksAt(_clock.Now, PmTimerFrequency);

    /// <summary>Puts the registers on the port bus.</summary>
    public void Map(Bus ports)
    {
        ArgumentNullException.ThrowIfNull(ports);
        ports.Map("ACPI PM1 event", Pm1EventPort, Pm1EventLength, new WordBlock(this, ReadEvent, WriteEvent));
        ports.Map("ACPI PM1 control", Pm1ControlPort, Pm1ControlLength, new WordBlock(this, ReadControl, WriteControl));
        ports.Map("ACPI PM timer", PmTimerPort, PmTimerLength, new TimerBlock(this));
        ports.Map("ACPI GPE0", Gpe0Port, Gpe0Length, new GpeBlock(this));
        ports.Map("ACPI SMI command", SmiCommandPort, 2, new SmiPort(this));
    }

    /// <summary>Presses the power button: sets PWRBTN_STS and asks by SCI. Any thread.</summary>
    public void PressPowerButton() => SetStatus(StatusPowerButton);

    /// <summary>Presses the sleep button. Any thread.</summary>
    public void PressSleepButton() => SetStatus(StatusSleepButton);

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _status = _enable = _control = 0;
            _gpeStatus = _gpeEnable = _smiData = 0;
            _timer.Disarm();
            _sci.Set(false);
        }
        _sci.Flush();
    }

    /// <inheritdoc/>
    public AcpiPmState Capture()
    {
        lock (_lock)
            return new AcpiPmState(_status, _enable, _control, _gpeStatus, _gpeEnable, _smiData);
    }

    /// <inheritdoc/>
    public void Restore(AcpiPmState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        if ((state.Status & ~StatusClearable) != 0 || (state.Enable & ~EnableWritable) != 0)
            throw new InvalidDataException("The ACPI registers' saved state is not one that they can have.");
        lock (_lock)
        {
            (_status, _enable, _control) = (state.Status, state.Enable, state.Control);
            (_gpeStatus, _gpeEnable, _smiData) = (state.GpeStatus, state.GpeEnable, state.SmiData);
            _timerBit = ((TimerTicks >> 31) & 1) != 0;
            Update();
            _sci.Restore(_sci.Level);
        }
    }

    /// <summary>Stops the timer.</summary>
    public void Dispose() => _timer.Dispose();

    private void SetStatus(ushort bits)
    {
        lock (_lock)
        {
            _status |= bits;
            Update();
        }
        _sci.Flush();
    }

    // With the lock held. Until the guest turns ACPI mode on, events are the firmware's (SMI), and there is none.
    private void Update()
    {
        bool carry = ((TimerTicks >> 31) & 1) != 0;
        if (carry != _timerBit)
            _status |= StatusTimer;
        _timerBit = carry;
        bool fixedEvent = (_status & _enable) != 0;
        bool generalEvent = (_gpeStatus & _gpeEnable) != 0;
        _sci.Set((_control & ControlSciEnable) != 0 && (fixedEvent || generalEvent));
        if ((_enable & StatusTimer) == 0)
            _timer.Disarm();
        else
            _timer.Arm(NextCarry());
    }

    private long NextCarry() => ClockRatio.TimeOf((long)((TimerTicks >> 31) + 1) << 31, PmTimerFrequency);

    private void OnTimer()
    {
        lock (_lock)
            Update();
        _sci.Flush();
    }

    private ushort ReadEvent(uint offset)
    {
        Update();
        return offset == 0 ? _status : _enable;
    }

    private bool WriteEvent(uint offset, ushort value, ushort mask)
    {
        if (offset == 0)
            _status &= (ushort)~(value & mask & StatusClearable);
        else
            _enable = (ushort)((_enable & ~mask | value & mask) & EnableWritable);
        return false;
    }

    private ushort ReadControl(uint offset) => _control;

    // SLP_EN is write-only; SCI_EN changes through the SMI command port only. Returns whether the guest asks to power off.
    private bool WriteControl(uint offset, ushort value, ushort mask)
    {
        const ushort Writable = ControlBusMasterReload | ControlSleepType;
        int merged = _control & ~mask | value & mask;
        _control = (ushort)(merged & Writable | _control & ControlSciEnable);
        bool sleep = (value & mask & ControlSleepEnable) != 0;
        return sleep && (_control & ControlSleepType) == SleepTypeS5 << 10;
    }

    private void WriteSmiCommand(byte value)
    {
        lock (_lock)
        {
            if (value == AcpiEnableValue)
                _control |= ControlSciEnable;
            else if (value == AcpiDisableValue)
                _control &= unchecked((ushort)~ControlSciEnable);
            Update();
        }
        _sci.Flush();
    }

    private delegate bool WordWriter(uint offset, ushort value, ushort mask);

    // Sixteen-bit registers that may be accessed by byte, word or double word.
    private sealed class WordBlock(AcpiPm pm, Func<uint, ushort> read, WordWriter write) : IBusDevice
    {
        public ulong Read(ulong offset, int size)
        {
            uint first = (uint)offset & ~1u;
            ulong value;
            lock (pm._lock)
            {
                value = read(first);
                if ((uint)offset + (uint)size > first + 2)
                    value |= (ulong)read(first + 2) << 16;
            }
            pm._sci.Flush();
            value >>= (int)(offset & 1) * 8;
            return value & ((1UL << (size * 8)) - 1);
        }

        public void Write(ulong offset, int size, ulong value)
        {
            uint first = (uint)offset & ~1u;
            int shift = (int)(offset & 1) * 8;
            uint mask = (uint)((1UL << (size * 8)) - 1) << shift;
            uint shifted = (uint)value << shift;
            bool powerOff;
            lock (pm._lock)
            {
                powerOff = write(first, (ushort)shifted, (ushort)mask);
                if (mask >> 16 != 0)
                    powerOff |= write(first + 2, (ushort)(shifted >> 16), (ushort)(mask >> 16));
                pm.Update();
            }
            pm._sci.Flush();
            if (powerOff)
                pm._machine.Request(new MachineRequest(MachineRequestKind.PowerOff));
        }
    }

    private sealed class TimerBlock(AcpiPm pm) : IBusDevice
    {
        public ulong Read(ulong offset, int size) => ((uint)pm.TimerTicks >> ((int)offset * 8)) & ((1UL << (size * 8)) - 1);

        public void Write(ulong offset, int size, ulong value)
        {
            // The timer is read-only.
        }
    }

    private sealed class GpeBlock(AcpiPm pm) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset)
        {
            lock (pm._lock)
                return offset == 0 ? pm._gpeStatus : pm._gpeEnable;
        }

        protected override void WriteByte(uint offset, byte value)
        {
            lock (pm._lock)
            {
                if (offset == 0)
                    pm._gpeStatus &= (byte)~value;
                else
                    pm._gpeEnable = value;
                pm.Update();
            }
            pm._sci.Flush();
        }
    }

    private sealed class SmiPort(AcpiPm pm) : ByteWideDevice
    {
        // APM_STS at 0xB3 is a scratch byte between software and the SMI handler; the command reads as 0, done.
        protected override byte ReadByte(uint offset) => offset == 0 ? (byte)0 : Volatile.Read(ref pm._smiData);

        protected override void WriteByte(uint offset, byte value)
        {
            if (offset == 0)
                pm.WriteSmiCommand(value);
            else
                Volatile.Write(ref pm._smiData, value);
        }
    }
}
