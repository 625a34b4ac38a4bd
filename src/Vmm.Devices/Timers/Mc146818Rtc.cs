using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Timers;

/// <summary>
/// The MC146818 real-time clock and CMOS RAM of a PC: index and data at ports 0x70 and 0x71, the upper 128 bytes at 0x72 and 0x73,
/// IRQ 8. The time is UTC, of the given provider.
/// </summary>
public sealed class Mc146818Rtc : IResettable, ISnapshotable<RtcState>, IDisposable
{
    /// <summary>CMOS index of the century byte, which the FADT names.</summary>
    public const byte CenturyIndex = RtcChip.RegisterCentury;

    private readonly RtcChip _chip = new();
    private readonly Lock _lock = new();
    private readonly VmClock _clock;
    private readonly TimeProvider _time;
    private readonly IVmTimer _timer;
    private readonly InterruptPin _output;
    private byte _index;
    private byte _highIndex;

    /// <summary>Makes the clock.</summary>
    /// <param name="clock">VM time: the oscillator.</param>
    /// <param name="time">The wall clock that the guest starts with.</param>
    /// <param name="irq8">What the IRQ pin drives.</param>
    public Mc146818Rtc(VmClock clock, TimeProvider time, IInterruptLine irq8)
    {
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentNullException.ThrowIfNull(time);
        ArgumentNullException.ThrowIfNull(irq8);
        (_clock, _time) = (clock, time);
        _output = new InterruptPin(irq8);
        _timer = clock.CreateTimer(OnTimer);
    }

    /// <summary>Bit 7 of port 0x70: NMIs are masked.</summary>
    public bool NmiMasked => (_index & 0x80) != 0;

    private long Wall => (_time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;

    /// <summary>Puts ports 0x70–0x73 on the bus.</summary>
    public void Map(Bus ports)
    {
        ArgumentNullException.ThrowIfNull(ports);
        ports.Map("RTC", 0x70, 4, new Ports(this));
    }

    /// <summary>Reads a byte of CMOS RAM, as the board's firmware would.</summary>
    public byte ReadRam(byte index)
    {
        lock (_lock)
            return _chip.Ram[index];
    }

    /// <summary>Writes a byte of CMOS RAM: memory sizes, boot order, equipment. Not the clock's registers 0 to 0xD.</summary>
    public void WriteRam(byte index, byte value)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(index, (byte)0x0E);
        lock (_lock)
            _chip.Ram[index] = value;
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _chip.Reset(Wall, _clock.Now);
            _index = _highIndex = 0;
            _timer.Disarm();
            _output.Set(false);
        }
        _output.Flush();
    }

    /// <inheritdoc/>
    public RtcState Capture()
    {
        lock (_lock)
            return _chip.Capture(Wall, _clock.Now);
    }

    /// <inheritdoc/>
    public void Restore(RtcState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
        {
            _chip.Restore(state, Wall, _clock.Now);
            _output.Restore(_chip.InterruptRequested);
            Schedule(Wall, _clock.Now);
        }
    }

    /// <summary>Stops the timer.</summary>
    public void Dispose() => _timer.Dispose();

    private byte Read(uint offset)
    {
        byte value;
        lock (_lock)
        {
            switch (offset)
            {
                case 0:
                    return 0xFF; // The index port is write-only.
                case 2:
                    return _highIndex;
            }
            long wall = Wall, now = _clock.Now;
            value = _chip.Read(offset == 1 ? _index & 0x7F : _highIndex | 0x80, wall, now);
            Update(wall, now);
        }
        _output.Flush();
        return value;
    }

    private void Write(uint offset, byte value)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case 0:
                    _index = value;
                    return;
                case 2:
                    _highIndex = (byte)(value & 0x7F);
                    return;
            }
            long wall = Wall, now = _clock.Now;
            _chip.Write(offset == 1 ? _index & 0x7F : _highIndex | 0x80, value, wall, now);
            Update(wall, now);
        }
        _output.Flush();
    }

    private void Update(long wall, long now)
    {
        _output.Set(_chip.InterruptRequested);
        Schedule(wall, now);
    }

    private void Schedule(long wall, long now)
    {
        long wait = _chip.NextInterrupt(wall, now);
        if (wait == RtcChip.Never)
            _timer.Disarm();
        else
            _timer.Arm(now + Math.Max(wait, 1));
    }

    private void OnTimer()
    {
        lock (_lock)
        {
            long wall = Wall, now = _clock.Now;
            _chip.Settle(wall, now);
            Update(wall, now);
        }
        _output.Flush();
    }

    private sealed class Ports(Mc146818Rtc rtc) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => rtc.Read(offset);

        protected override void WriteByte(uint offset, byte value) => rtc.Write(offset, value);
    }
}
