namespace Vmm.Devices.Timers;

/// <summary>
/// The Motorola MC146818A real-time clock and its RAM, 256 bytes as on later PCs. Pure: it is told two times, the wall clock (whole
/// nanoseconds since 1970) and the oscillator's (nanoseconds of VM time, for the periodic interrupt), and computes the rest.
/// </summary>
internal sealed class RtcChip
{
    public const int Size = 256;
    public const long Never = long.MaxValue;

    public const int RegisterSeconds = 0x00;
    public const int RegisterSecondsAlarm = 0x01;
    public const int RegisterMinutes = 0x02;
    public const int RegisterMinutesAlarm = 0x03;
    public const int RegisterHours = 0x04;
    public const int RegisterHoursAlarm = 0x05;
    public const int RegisterDayOfWeek = 0x06;
    public const int RegisterDayOfMonth = 0x07;
    public const int RegisterMonth = 0x08;
    public const int RegisterYear = 0x09;
    public const int RegisterA = 0x0A;
    public const int RegisterB = 0x0B;
    public const int RegisterC = 0x0C;
    public const int RegisterD = 0x0D;
    public const int RegisterCentury = 0x32;

    private const byte AUpdateInProgress = 0x80;
    private const byte ADividerOn = 0x20;
    private const byte BSet = 0x80;
    private const byte BPeriodic = 0x40;
    private const byte BAlarm = 0x20;
    private const byte BUpdate = 0x10;
    private const byte BBinary = 0x04;
    private const byte B24Hour = 0x02;
    private const byte CPeriodic = 0x40;
    private const byte CAlarm = 0x20;
    private const byte CUpdate = 0x10;
    private const byte CInterrupt = 0x80;
    private const byte DValid = 0x80;

    private const long Second = 1_000_000_000;
    private const long Day = 86_400;

    // The update takes 244 microseconds after UIP is seen, and 1984 at the 32.768 kHz time base (MC146818A, table 6).
    private const long UpdateWindow = 244_000 + 1_984_000;

    private readonly byte[] _ram = new byte[Size];
    private byte _registerA = 0x26;
    private byte _registerB = B24Hour;
    private byte _flags;

    // Guest time is wall time plus this. While SET is on or the divider is held, time stands at _frozen.
    private long _offset;
    private long _frozen;
    private long _lastUpdate = long.MinValue;
    private long _lastPeriodic;

    /// <summary>RAM as the guest finds it, for the board to fill; registers 0 to 0xD are not taken from here.</summary>
    public Span<byte> Ram => _ram;

    /// <summary>IRQF: an enabled flag is set.</summary>
    public bool InterruptRequested => (_flags & _registerB & (CPeriodic | CAlarm | CUpdate)) != 0;

    private bool Running => (_registerB & BSet) == 0 && (_registerA & 0x70) == ADividerOn;

    /// <summary>Reset by RESET: interrupt enables and flags go, time and RAM stay (MC146818A, "RESET").</summary>
    public void Reset(long wall, long oscillator)
    {
        Settle(wall, oscillator);
        _registerB &= unchecked((byte)~(BPeriodic | BAlarm | BUpdate | 0x08));
        _flags = 0;
    }

    public byte Read(int index, long wall, long oscillator)
    {
        Settle(wall, oscillator);
        switch (index)
        {
            case RegisterA:
                return (byte)(_registerA | (UpdateInProgress(wall) ? AUpdateInProgress : 0));
            case RegisterB:
                return _registerB;
            case RegisterC:
                byte flags = (byte)(_flags | (InterruptRequested ? CInterrupt : 0));
                _flags = 0;
                return flags;
            case RegisterD:
                return DValid;
            case RegisterSeconds or RegisterMinutes or (RegisterHours or (>= RegisterDayOfWeek and <= RegisterYear)) or RegisterCentury:
                return ReadTime(index, wall);
            default:
                return _ram[index & (Size - 1)];
        }
    }

    public void Write(int index, byte value, long wall, long oscillator)
    {
        Settle(wall, oscillator);
        switch (index)
        {
            case RegisterA:
                WriteControl((byte)(value & 0x7F), _registerB, wall, oscillator);
                break;
            case RegisterB:
                WriteControl(_registerA, value, wall, oscillator);
                break;
            case RegisterC or RegisterD:
                break;
            case RegisterSeconds or RegisterMinutes or (RegisterHours or (>= RegisterDayOfWeek and <= RegisterYear)) or RegisterCentury:
                WriteTime(index, value, wall);
                break;
            default:
                _ram[index & (Size - 1)] = value;
                break;
        }
    }

    /// <summary>Brings the flags up to date.</summary>
    public void Settle(long wall, long oscillator)
    {
        if (Running)
        {
            long second = FloorSecond(wall + _offset);
            if (_lastUpdate == long.MinValue || second < _lastUpdate)
                _lastUpdate = second; // The host's clock was set back.
            if (second > _lastUpdate)
            {
                _flags |= CUpdate;
                if (NextAlarm(_lastUpdate) <= second)
                    _flags |= CAlarm;
                _lastUpdate = second;
            }
        }
        long period = PeriodTicks;
        if (period == 0)
            return;
        long index = Ticks(oscillator) / period;
        if (index > _lastPeriodic)
            _flags |= CPeriodic;
        _lastPeriodic = index;
    }

    /// <summary>Nanoseconds until an enabled flag gets set, or <see cref="Never"/>.</summary>
    public long NextInterrupt(long wall, long oscillator)
    {
        if (InterruptRequested)
            return Never; // The line is asserted already, until register C is read.
        long wait = Never;
        long period = PeriodTicks;
        if ((_registerB & BPeriodic) != 0 && period != 0)
        {
            wait = ClockRatio.TimeOf((Ticks(oscillator) / period + 1) * period, 32768) - oscillator;
        }
        if (!Running)
            return wait;
        long now = wall + _offset;
        if ((_registerB & BUpdate) != 0)
            wait = Math.Min(wait, (_lastUpdate + 1) * Second - now);
        if ((_registerB & BAlarm) != 0 && NextAlarm(_lastUpdate) is not Never and var alarm)
            wait = Math.Min(wait, alarm * Second - now);
        return wait == Never ? Never : Math.Max(0, wait);
    }

    public RtcState Capture(long wall, long oscillator)
    {
        Settle(wall, oscillator);
        return new RtcState([.. _ram], _registerA, _registerB, _flags, _offset, _frozen);
    }

    public void Restore(RtcState state, long wall, long oscillator)
    {
        if (state.Ram.Length != Size || state.RegisterA > 0x7F || state.Offset is < -MaximumOffset or > MaximumOffset
            || state.Frozen is < -MaximumOffset or > MaximumOffset)
            throw new InvalidDataException("The real-time clock's saved state is not one that it can have.");
        state.Ram.CopyTo(_ram);
        (_registerA, _registerB, _flags, _offset, _frozen) = (state.RegisterA, state.RegisterB, state.Flags, state.Offset, state.Frozen);
        _lastUpdate = FloorSecond(wall + _offset);
        _lastPeriodic = PeriodTicks == 0 ? 0 : Ticks(oscillator) / PeriodTicks;
    }

    // Years 1970 to 2106 or so, in nanoseconds: sums of two stay far from overflow.
    private const long MaximumOffset = 4_300_000_000 * Second;

    private long PeriodTicks
    {
        get
        {
            int rate = _registerA & 15;
            if (rate == 0 || (_registerA & 0x70) != ADividerOn)
                return 0;
            // Rates 1 and 2 repeat 8 and 9 at 32.768 kHz (MC146818A, table 5).
            return 1L << ((rate <= 2 ? rate + 7 : rate) - 1);
        }
    }

    private static long Ticks(long oscillator) => ClockRatio.TicksAt(oscillator, 32768);

    private static long FloorSecond(long time) => time >= 0 ? time / Second : (time - (Second - 1)) / Second;

    private bool UpdateInProgress(long wall)
    {
        if (!Running)
            return false;
        long time = wall + _offset;
        return time - FloorSecond(time) * Second >= Second - UpdateWindow;
    }

    private long TimeNow(long wall) => Running ? wall + _offset : _frozen;

    private void WriteControl(byte a, byte b, long wall, long oscillator)
    {
        bool wasRunning = Running;
        bool wasHeld = (_registerA & 0x70) != ADividerOn;
        long time = TimeNow(wall);
        long period = PeriodTicks;
        // SET clears UIE (MC146818A, "Register B").
        if ((b & BSet) != 0)
            b &= unchecked((byte)~BUpdate);
        (_registerA, _registerB) = (a, b);
        if (wasRunning && !Running)
        {
            _frozen = time;
        }
        else if (!wasRunning && Running)
        {
            // Out of divider reset the first update comes half a second later (MC146818A, "Divider Control").
            if (wasHeld)
                _frozen = FloorSecond(_frozen) * Second + Second / 2;
            _offset = _frozen - wall;
            _lastUpdate = FloorSecond(_frozen);
        }
        if (PeriodTicks != period && PeriodTicks != 0)
            _lastPeriodic = Ticks(oscillator) / PeriodTicks;
    }

    private byte ReadTime(int index, long wall)
    {
        var time = DateTime.UnixEpoch.AddSeconds(FloorSecond(TimeNow(wall)));
        return index switch
        {
            RegisterSeconds => Encode(time.Second),
            RegisterMinutes => Encode(time.Minute),
            RegisterHours => EncodeHour(time.Hour),
            RegisterDayOfWeek => Encode((int)time.DayOfWeek + 1),
            RegisterDayOfMonth => Encode(time.Day),
            RegisterMonth => Encode(time.Month),
            RegisterYear => Encode(time.Year % 100),
            _ => Encode(time.Year / 100),
        };
    }

    // A field changes and the others stay; what is out of range is taken as far as it goes, a guest cannot make an impossible date.
    private void WriteTime(int index, byte value, long wall)
    {
        long nanoseconds = TimeNow(wall);
        long seconds = FloorSecond(nanoseconds);
        var time = DateTime.UnixEpoch.AddSeconds(seconds);
        int v = Decode(value);
        int year = time.Year, month = time.Month, day = time.Day, hour = time.Hour, minute = time.Minute, second = time.Second;
        switch (index)
        {
            case RegisterSeconds:
                second = Math.Min(v, 59);
                break;
            case RegisterMinutes:
                minute = Math.Min(v, 59);
                break;
            case RegisterHours:
                hour = DecodeHour(value);
                break;
            case RegisterDayOfMonth:
                day = v;
                break;
            case RegisterMonth:
                month = Math.Clamp(v, 1, 12);
                break;
            case RegisterYear:
                year = year / 100 * 100 + v % 100;
                break;
            case RegisterCentury:
                year = v * 100 + year % 100;
                break;
            default:
                return; // The day of the week follows from the date.
        }
        year = Math.Clamp(year, 1970, 2099);
        day = Math.Clamp(day, 1, DateTime.DaysInMonth(year, month));
        var written = new DateTime(year, month, day, hour, minute, second, DateTimeKind.Utc);
        long to = (long)(written - DateTime.UnixEpoch).TotalSeconds * Second + (nanoseconds - seconds * Second);
        if (!Running)
        {
            _frozen = to;
            return;
        }
        _offset = to - wall;
        _lastUpdate = FloorSecond(to);
    }

    // The first second after one at which all three alarm bytes match, as a count from 1970; codes 0xC0 to 0xFF match anything.
    private long NextAlarm(long after)
    {
        int wantSecond = AlarmField(_ram[RegisterSecondsAlarm], hour: false);
        int wantMinute = AlarmField(_ram[RegisterMinutesAlarm], hour: false);
        int wantHour = AlarmField(_ram[RegisterHoursAlarm], hour: true);
        if (wantSecond > 59 || wantMinute > 59 || wantHour > 23)
            return Never;
        long first = after + 1;
        long midnight = first - ((first % Day) + Day) % Day;
        int from = (int)(first - midnight);
        int found = NextInDay(from, wantHour, wantMinute, wantSecond);
        if (found >= 0)
            return midnight + found;
        return midnight + Day + NextInDay(0, wantHour, wantMinute, wantSecond);
    }

    private static int NextInDay(int from, int wantHour, int wantMinute, int wantSecond)
    {
        int firstHour = from / 3600, firstMinute = from / 60 % 60, firstSecond = from % 60;
        for (int hour = firstHour; hour < 24; hour++)
        {
            if (wantHour >= 0 && hour != wantHour)
                continue;
            for (int minute = hour == firstHour ? firstMinute : 0; minute < 60; minute++)
            {
                if (wantMinute >= 0 && minute != wantMinute)
                    continue;
                int low = hour == firstHour && minute == firstMinute ? firstSecond : 0;
                int second = wantSecond < 0 ? low : wantSecond;
                if (second >= low)
                    return hour * 3600 + minute * 60 + second;
            }
        }
        return -1;
    }

    // -1 is "don't care".
    private int AlarmField(byte value, bool hour)
    {
        if (value >= 0xC0)
            return -1;
        return hour ? DecodeAlarmHour(value) : Decode(value);
    }

    private int DecodeAlarmHour(byte value)
    {
        if ((_registerB & B24Hour) != 0)
            return Decode(value);
        int hour = Decode((byte)(value & 0x7F));
        return hour is < 1 or > 12 ? 99 : hour % 12 + ((value & 0x80) != 0 ? 12 : 0);
    }

    private byte Encode(int value) => (byte)((_registerB & BBinary) != 0 ? value : value / 10 << 4 | value % 10);

    private int Decode(byte value) => (_registerB & BBinary) != 0 ? value : (value >> 4) * 10 + (value & 15);

    private byte EncodeHour(int hour)
    {
        if ((_registerB & B24Hour) != 0)
            return Encode(hour);
        int twelve = hour % 12 == 0 ? 12 : hour % 12;
        return (byte)(Encode(twelve) | (hour >= 12 ? 0x80 : 0));
    }

    private int DecodeHour(byte value)
    {
        if ((_registerB & B24Hour) != 0)
            return Math.Min(Decode(value), 23);
        int hour = Math.Clamp(Decode((byte)(value & 0x7F)), 1, 12) % 12;
        return hour + ((value & 0x80) != 0 ? 12 : 0);
    }
}

/// <summary>State of the real-time clock; times in nanoseconds.</summary>
public sealed record RtcState(
    System.Collections.Immutable.ImmutableArray<byte> Ram, byte RegisterA, byte RegisterB, byte Flags, long Offset, long Frozen);
