using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Timers;

/// <summary>State of the 8254 and of port 0x61.</summary>
public sealed record Pit8254State(PitChannelState Channel0, PitChannelState Channel1, PitChannelState Channel2, byte SystemControl);

/// <summary>
/// The 8254 of a PC at ports 0x40–0x43: counter 0 on IRQ 0, counter 1 the former memory refresh, counter 2 the speaker, gated and seen
/// through port 0x61.
/// </summary>
public sealed class Pit8254 : IResettable, ISnapshotable<Pit8254State>, IDisposable
{
    /// <summary>CLK of all three counters, Hz.</summary>
    public const long Frequency = 1_193_182;

    // Shortest time between two interrupts, so that a guest cannot keep the timer thread busy; counts read as programmed.
    private const long MinimumPeriod = 20_000;

    // Port 0x61 (82371SB datasheet, 2.5.4): R/W bits 0-3; 4 toggles with each refresh; 5 is OUT of counter 2.
    private const byte SystemGate2 = 0x01;
    private const byte SystemWritable = 0x0F;
    private const byte SystemRefresh = 0x10;
    private const byte SystemOut2 = 0x20;
    private const long RefreshPeriod = 15_085;

    private readonly PitChannel[] _channels = [new(), new(), new()];
    private readonly Lock _lock = new();
    private readonly VmClock _clock;
    private readonly IVmTimer _timer;
    private readonly InterruptPin _output;
    private byte _systemControl;
    private long _nextRise = PitChannel.Never;

    /// <summary>Makes the timer in its reset state.</summary>
    /// <param name="clock">VM time.</param>
    /// <param name="irq0">What OUT of counter 0 drives.</param>
    public Pit8254(VmClock clock, IInterruptLine irq0)
    {
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentNullException.ThrowIfNull(irq0);
        _clock = clock;
        _output = new InterruptPin(irq0);
        _timer = clock.CreateTimer(OnTimer);
        ResetChannels();
    }

    /// <summary>Puts ports 0x40–0x43 and 0x61 on the bus.</summary>
    public void Map(Bus ports)
    {
        ArgumentNullException.ThrowIfNull(ports);
        ports.Map("8254", 0x40, 4, new CounterPorts(this));
        ports.Map("port 0x61", 0x61, 1, new SystemControlPort(this));
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            ResetChannels();
            _output.Set(false);
        }
        _output.Flush();
    }

    /// <inheritdoc/>
    public Pit8254State Capture()
    {
        lock (_lock)
        {
            long now = Now();
            return new Pit8254State(_channels[0].Capture(now), _channels[1].Capture(now), _channels[2].Capture(now), _systemControl);
        }
    }

    /// <inheritdoc/>
    public void Restore(Pit8254State state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
        {
            long now = Now();
            _channels[0].Restore(state.Channel0, now);
            _channels[1].Restore(state.Channel1, now);
            _channels[2].Restore(state.Channel2, now);
            _systemControl = (byte)(state.SystemControl & SystemWritable);
            _output.Restore(_channels[0].Output(now));
            _nextRise = PitChannel.Never;
            Schedule(now);
        }
    }

    /// <summary>Stops the timer.</summary>
    public void Dispose() => _timer.Dispose();

    private void ResetChannels()
    {
        _channels[0].Reset(gate: true);
        _channels[1].Reset(gate: true);
        _channels[2].Reset(gate: false);
        _systemControl = 0;
        _nextRise = PitChannel.Never;
        _timer.Disarm();
    }

    private long Now() => ToClocks(_clock.Now);

    private static long ToClocks(long nanoseconds) => ClockRatio.TicksAt(nanoseconds, Frequency);

    private static long ToNanoseconds(long clocks) => ClockRatio.TimeOf(clocks, Frequency);

    private byte Read(uint offset)
    {
        if (offset == 3)
            return 0xFF; // The control word register cannot be read.
        lock (_lock)
            return _channels[offset].Read(Now());
    }

    private void Write(uint offset, byte value)
    {
        lock (_lock)
        {
            long now = Now();
            if (offset == 3)
                WriteControl(value, now);
            else
                _channels[offset].Write(value, now);
            Update(now);
        }
        _output.Flush();
    }

    private void WriteControl(byte value, long now)
    {
        int select = value >> 6;
        if (select == 3)
        {
            ReadBack(value, now);
            return;
        }
        if ((value & 0x30) == 0)
            _channels[select].LatchCount(now);
        else
            _channels[select].WriteControl(value, now);
    }

    // Read-back command: COUNT# in bit 5, STATUS# in bit 4, counters in bits 3 to 1.
    private void ReadBack(byte value, long now)
    {
        for (int i = 0; i < 3; i++)
        {
            if ((value & (2 << i)) == 0)
                continue;
            if ((value & 0x20) == 0)
                _channels[i].LatchCount(now);
            if ((value & 0x10) == 0)
                _channels[i].LatchStatus(now);
        }
    }

    private byte ReadSystemControl()
    {
        lock (_lock)
        {
            long time = _clock.Now;
            int value = _systemControl;
            if ((time / RefreshPeriod & 1) != 0)
                value |= SystemRefresh;
            if (_channels[2].Output(ToClocks(time)))
                value |= SystemOut2;
            return (byte)value;
        }
    }

    private void WriteSystemControl(byte value)
    {
        lock (_lock)
        {
            _systemControl = (byte)(value & SystemWritable);
            _channels[2].SetGate((value & SystemGate2) != 0, Now());
        }
    }

    // With the lock held. Falling edges need no timer: the line falls with the next rising edge, an edge all the same.
    private void Update(long now)
    {
        if (now >= _nextRise)
            _output.Raise();
        _output.Set(_channels[0].Output(now));
        Schedule(now);
    }

    private void Schedule(long now)
    {
        long rise = _channels[0].NextRise(now);
        if (rise == _nextRise)
            return;
        _nextRise = rise;
        if (rise == PitChannel.Never)
            _timer.Disarm();
        else if (_channels[0].Mode is 2 or 3)
            _timer.Arm(Math.Max(ToNanoseconds(rise), _clock.Now + MinimumPeriod));
        else
            _timer.Arm(ToNanoseconds(rise));
    }

    private void OnTimer()
    {
        lock (_lock)
        {
            long now = Now();
            if (_nextRise == PitChannel.Never)
                return;
            if (now < _nextRise)
            {
                _timer.Arm(ToNanoseconds(_nextRise));
                return;
            }
            Update(now);
        }
        _output.Flush();
    }

    private sealed class CounterPorts(Pit8254 pit) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => pit.Read(offset);

        protected override void WriteByte(uint offset, byte value) => pit.Write(offset, value);
    }

    private sealed class SystemControlPort(Pit8254 pit) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => pit.ReadSystemControl();

        protected override void WriteByte(uint offset, byte value) => pit.WriteSystemControl(value);
    }
}
