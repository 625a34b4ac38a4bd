namespace Vmm.Devices.Timers;

/// <summary>Where a timer of the HPET delivers its interrupt.</summary>
internal enum HpetDelivery
{
    None,
    LegacyIrq0,
    LegacyIrq8,
    IoApic,
    Message,
}

/// <summary>
/// The registers of an IA-PC HPET (specification 1.0a): a 64-bit main counter of 10 ns and three timers. Pure: times are in
/// nanoseconds, and what fires is told by <see cref="Expire"/>.
/// </summary>
internal sealed class HpetChip
{
    public const int TimerCount = 3;
    public const long Never = long.MaxValue;

    /// <summary>Nanoseconds of a count.</summary>
    public const long Period = 10;

    /// <summary>I/O APIC pins that a timer can drive: 16 to 23.</summary>
    public const uint AllowedRoutes = 0x00FF0000;

    // Shortest time between two interrupts of a periodic timer, counts (20 microseconds), so that a guest cannot keep the timer
    // thread busy; shorter periods merge.
    private const ulong MinimumPeriod = 2_000;

    private const ulong ConfigEnable = 1;
    private const ulong ConfigLegacy = 2;

    private const ulong TimerLevel = 1 << 1;
    private const ulong TimerEnable = 1 << 2;
    private const ulong TimerPeriodic = 1 << 3;
    private const ulong TimerPeriodicCapable = 1 << 4;
    private const ulong Timer64Bit = 1 << 5;
    private const ulong TimerValueSet = 1 << 6;
    private const ulong Timer32BitMode = 1 << 8;
    private const ulong TimerMessage = 1 << 14;
    private const ulong TimerMessageCapable = 1 << 15;
    private const ulong TimerWritable = TimerLevel | TimerEnable | TimerPeriodic | Timer32BitMode | TimerMessage | (31 << 9);

    private readonly Timer[] _timers = [new(), new(), new()];
    private ulong _config;
    private uint _status;
    private ulong _stopped;
    private long _start;

    /// <summary>General capabilities and ID: revision 1, three timers, 64 bits, legacy routes, vendor 8086h, period in fs.</summary>
    public const ulong Capabilities = 0x01 | ((TimerCount - 1) << 8) | (1 << 13) | (1 << 15) | (0x8086UL << 16)
        | ((ulong)(Period * 1_000_000) << 32);

    /// <summary>LEG_RT_CNF: timers 0 and 1 take over IRQ 0 and IRQ 8.</summary>
    public bool LegacyReplacement => (Volatile.Read(ref _config) & ConfigLegacy) != 0;

    private bool Running => (_config & ConfigEnable) != 0;

    public void Reset()
    {
        _config = 0;
        _status = 0;
        _stopped = 0;
        foreach (var timer in _timers)
            timer.Reset();
    }

    /// <summary>Where a timer's interrupt goes; level timers that are not MSIs hold it until the status bit is cleared.</summary>
    public HpetDelivery DeliveryOf(int index)
    {
        ulong config = _timers[index].Config;
        if ((config & TimerEnable) == 0)
            return HpetDelivery.None;
        if (LegacyReplacement && index < 2)
            return index == 0 ? HpetDelivery.LegacyIrq0 : HpetDelivery.LegacyIrq8;
        if ((config & TimerMessage) != 0)
            return HpetDelivery.Message;
        return (AllowedRoutes >> RouteOf(index) & 1) != 0 ? HpetDelivery.IoApic : HpetDelivery.None;
    }

    /// <summary>The I/O APIC pin that a timer is routed to.</summary>
    public int RouteOf(int index) => (int)(_timers[index].Config >> 9) & 31;

    /// <summary>Whether a timer is level triggered. Legacy routes and messages are edges for their receivers but keep the status.</summary>
    public bool IsLevel(int index) => (_timers[index].Config & TimerLevel) != 0;

    /// <summary>The FSB route: address and data of a timer's MSI.</summary>
    public (uint Address, uint Data) MessageOf(int index) =>
        ((uint)(_timers[index].Message >> 32), (uint)_timers[index].Message);

    /// <summary>Whether the interrupt status bit of a level timer is set.</summary>
    public bool IsActive(int index) => (_status >> index & 1) != 0;

    /// <summary>The main counter.</summary>
    public ulong Counter(long now) => Running ? _stopped + (ulong)(now - _start) / Period : _stopped;

    /// <summary>Reads an aligned 64-bit register.</summary>
    public ulong Read(uint offset, long now)
    {
        switch (offset)
        {
            case 0x000:
                return Capabilities;
            case 0x010:
                return _config;
            case 0x020:
                return _status;
            case 0x0F0:
                return Counter(now);
        }
        int index = (int)(offset - 0x100) >> 5;
        if (offset < 0x100 || index >= TimerCount)
            return 0;
        var timer = _timers[index];
        return (offset & 0x18) switch
        {
            0x00 => timer.Config | TimerPeriodicCapable | Timer64Bit | TimerMessageCapable | ((ulong)AllowedRoutes << 32),
            0x08 => timer.Comparator,
            0x10 => timer.Message,
            _ => 0,
        };
    }

    /// <summary>Writes the bytes of an aligned 64-bit register that <paramref name="mask"/> covers.</summary>
    public void Write(uint offset, ulong value, ulong mask, long now)
    {
        switch (offset)
        {
            case 0x010:
                WriteConfig(_config & ~mask | value & mask, now);
                return;
            case 0x020:
                _status &= ~(uint)(value & mask);
                return;
            case 0x0F0:
                // The counter is written while halted (2.3.7); a running one takes the value too.
                _stopped = Counter(now) & ~mask | value & mask;
                _start = now;
                Retarget(now);
                return;
        }
        int index = (int)(offset - 0x100) >> 5;
        if (offset < 0x100 || index >= TimerCount)
            return;
        var timer = _timers[index];
        switch (offset & 0x18)
        {
            case 0x00:
                WriteTimerConfig(index, timer.Config & ~mask | value & mask, now);
                break;
            case 0x08:
                WriteComparator(timer, value, mask, now);
                break;
            case 0x10:
                timer.Message = timer.Message & ~mask | value & mask;
                break;
            default:
                break;
        }
    }

    /// <summary>Nanoseconds of VM time at which the next timer fires, or <see cref="Never"/>.</summary>
    public long NextExpiry(long now)
    {
        long next = Never;
        if (!Running)
            return next;
        foreach (var timer in _timers)
        {
            if (timer.Target is { } target && (timer.Config & TimerEnable) != 0)
            {
                // Distances beyond some centuries never come.
                ulong distance = target - _stopped;
                if (distance < (ulong)((Never - _start) / Period))
                    next = Math.Min(next, _start + (long)distance * Period);
            }
        }
        return next;
    }

    /// <summary>Lets the timers whose time has come fire.</summary>
    /// <returns>A bit for each timer that fired.</returns>
    public uint Expire(long now)
    {
        uint fired = 0;
        if (!Running)
            return 0;
        ulong counter = Counter(now);
        for (int i = 0; i < TimerCount; i++)
        {
            var timer = _timers[i];
            if (timer.Target is not { } target || counter < target)
                continue;
            Advance(timer, target, counter);
            // With interrupts disabled the status bit still follows in level mode (2.3.8, Tn_INT_ENB_CNF).
            if (IsLevel(i))
                _status |= 1u << i;
            if ((timer.Config & TimerEnable) != 0)
                fired |= 1u << i;
        }
        return fired;
    }

    public HpetState Capture(long now) => new(_config, _status, Counter(now),
        [.. _timers.Select(t => new HpetTimerState(t.Config, t.Comparator, t.Message, t.PeriodValue, t.Target.HasValue))]);

    public void Restore(HpetState state, long now)
    {
        if (state.Timers.Length != TimerCount || (state.Config & ~3UL) != 0 || state.Status >> TimerCount != 0
            || state.Timers.Any(t => (t.Config & ~TimerWritable) != 0))
            throw new InvalidDataException("The HPET's saved state is not one that it can have.");
        (_config, _status, _stopped, _start) = (state.Config, state.Status, state.Counter, now);
        for (int i = 0; i < TimerCount; i++)
        {
            var (timer, saved) = (_timers[i], state.Timers[i]);
            (timer.Config, timer.Comparator, timer.Message, timer.PeriodValue) =
                (saved.Config, saved.Comparator, saved.Message, saved.PeriodValue);
            timer.Target = saved.Armed ? NextMatch(timer, state.Counter) : null;
        }
    }

    private void WriteConfig(ulong value, long now)
    {
        ulong counter = Counter(now);
        bool was = Running;
        _config = value & (ConfigEnable | ConfigLegacy);
        if (was == Running)
            return;
        (_stopped, _start) = (counter, now);
        Retarget(now);
    }

    private void WriteTimerConfig(int index, ulong value, long now)
    {
        var timer = _timers[index];
        ulong before = timer.Config;
        timer.ValueSet = (value & TimerValueSet) != 0;
        timer.Config = value & TimerWritable;
        if ((value & Timer32BitMode) != 0 && (before & Timer32BitMode) == 0)
        {
            timer.Comparator = (uint)timer.Comparator;
            timer.PeriodValue = (uint)timer.PeriodValue;
        }
        // A timer that turns edge triggered gives up what it held.
        if ((value & TimerLevel) == 0)
            _status &= ~(1u << index);
        if (((before ^ timer.Config) & (TimerPeriodic | Timer32BitMode | TimerEnable)) != 0)
            timer.Target = NextMatch(timer, Counter(now));
    }

    // In periodic mode a write sets the period, and with Tn_VAL_SET_CNF the comparator before it (2.3.9.2.2).
    private void WriteComparator(Timer timer, ulong value, ulong mask, long now)
    {
        if ((timer.Config & Timer32BitMode) != 0)
        {
            value = (uint)value;
            mask = (uint)mask;
        }
        bool periodic = (timer.Config & TimerPeriodic) != 0;
        if (!periodic || timer.ValueSet)
            timer.Comparator = timer.Comparator & ~mask | value & mask;
        if (periodic && !timer.ValueSet)
            timer.PeriodValue = timer.PeriodValue & ~mask | value & mask;
        timer.ValueSet = false;
        timer.Target = NextMatch(timer, Counter(now));
    }

    private void Retarget(long now)
    {
        ulong counter = Counter(now);
        foreach (var timer in _timers)
            timer.Target = NextMatch(timer, counter);
    }

    // The value of the 64-bit counter at which the comparator matches next; one that has passed never comes again.
    private static ulong? NextMatch(Timer timer, ulong counter)
    {
        if ((timer.Config & Timer32BitMode) != 0)
            return counter + (uint)((uint)timer.Comparator - (uint)counter);
        return timer.Comparator >= counter ? timer.Comparator : null;
    }

    // After a match: a periodic comparator moves on by whole periods past the counter, a one-shot one matches again after a wrap.
    private static void Advance(Timer timer, ulong target, ulong counter)
    {
        bool narrow = (timer.Config & Timer32BitMode) != 0;
        if ((timer.Config & TimerPeriodic) != 0 && timer.PeriodValue != 0)
        {
            ulong periods = (counter - target) / timer.PeriodValue + 1;
            if (timer.PeriodValue < MinimumPeriod)
                periods += MinimumPeriod / timer.PeriodValue;
            ulong next = target + periods * timer.PeriodValue;
            timer.Comparator = narrow ? (uint)next : next;
            timer.Target = next;
        }
        else
        {
            timer.Target = narrow ? target + (((counter - target) >> 32) + 1 << 32) : null;
        }
    }

    private sealed class Timer
    {
        public ulong Config { get; set; }

        public ulong Comparator { get; set; }

        public ulong Message { get; set; }

        public ulong PeriodValue { get; set; }

        public bool ValueSet { get; set; }

        /// <summary>Counter value of the next match, or null when there is none.</summary>
        public ulong? Target { get; set; }

        public void Reset()
        {
            Config = 0;
            Comparator = ulong.MaxValue;
            Message = PeriodValue = 0;
            ValueSet = false;
            Target = null;
        }
    }
}

/// <summary>State of a timer of the HPET.</summary>
public sealed record HpetTimerState(ulong Config, ulong Comparator, ulong Message, ulong PeriodValue, bool Armed);

/// <summary>State of the HPET.</summary>
public sealed record HpetState(
    ulong Config, uint Status, ulong Counter, System.Collections.Immutable.ImmutableArray<HpetTimerState> Timers);
