using Vmm.Core.Time;

namespace Vmm.Devices.Interrupts;

/// <summary>Modes of the local APIC timer (LVT timer register, bits 18:17).</summary>
internal enum LocalApicTimerMode
{
    OneShot = 0,
    Periodic = 1,
    TscDeadline = 2,
    Reserved = 3,
}

/// <summary>
/// The timer of a local APIC (Intel SDM vol. 3, 11.5.4): a 32-bit down counter behind a divider on a 1 GHz clock, or a deadline on
/// the time-stamp counter. Registers are written by the vCPU's thread, expiry comes on the clock's.
/// </summary>
internal sealed class LocalApicTimer : IDisposable
{
    /// <summary>
    /// Shortest time between two expiries in periodic mode, so that a guest cannot keep the timer thread busy. The counter reads
    /// as programmed; expiries in between merge, as they would in IRR.
    /// </summary>
    public const long MinimumPeriod = 20_000;

    private const long Never = long.MaxValue;

    private readonly Lock _lock = new();
    private readonly VmClock _clock;
    private readonly ulong _tscFrequency;
    private readonly Action _expired;
    private readonly IVmTimer _timer;
    private LocalApicTimerMode _mode;
    private uint _initialCount;
    private int _shift = 1;
    private long _start;
    private long _deadline = Never;
    private ulong _tscDeadline;
    private long _tscOffset;

    /// <param name="clock">VM time.</param>
    /// <param name="tscFrequency">Hz of the time-stamp counter.</param>
    /// <param name="expired">Called without a lock at each expiry, masked or not.</param>
    public LocalApicTimer(VmClock clock, ulong tscFrequency, Action expired)
    {
        ArgumentOutOfRangeException.ThrowIfZero(tscFrequency);
        (_clock, _tscFrequency, _expired) = (clock, tscFrequency, expired);
        _timer = clock.CreateTimer(OnTimer);
    }

    public uint InitialCount => Volatile.Read(ref _initialCount);

    public ulong TscDeadline => Volatile.Read(ref _tscDeadline);

    /// <summary>What is added to VM time times frequency to get the TSC: IA32_TSC_ADJUST.</summary>
    public long TscOffset
    {
        get => Volatile.Read(ref _tscOffset);
        set
        {
            ulong deadline;
            lock (_lock)
            {
                _tscOffset = value;
                deadline = _tscDeadline;
            }
            if (deadline != 0)
                SetTscDeadline(deadline);
        }
    }

    public uint CurrentCount
    {
        get
        {
            lock (_lock)
                return CountAt(_clock.Now);
        }
    }

    /// <summary>Writes the initial count register: starts the counter, or stops it with 0. Ignored in TSC-deadline mode.</summary>
    public void SetInitialCount(uint value)
    {
        lock (_lock)
        {
            if (_mode >= LocalApicTimerMode.TscDeadline)
                return;
            _initialCount = value;
            _start = _clock.Now;
            Schedule(value == 0 ? Never : _start + ((long)value << _shift));
        }
    }

    /// <summary>Changes the divider; the counter goes on from where it is.</summary>
    /// <param name="shift">0 to 7: divides by 1 to 128.</param>
    public void SetDivider(int shift)
    {
        lock (_lock)
        {
            if (shift == _shift)
                return;
            long now = _clock.Now;
            uint count = CountAt(now);
            _shift = shift;
            if (_deadline == Never || _mode >= LocalApicTimerMode.TscDeadline)
                return;
            _start = now - ((long)(_initialCount - count) << shift);
            Schedule(now + ((long)count << shift));
        }
    }

    /// <summary>Changes the mode; a change to or from TSC-deadline mode disarms the timer (SDM vol. 3, 11.5.4.1).</summary>
    public void SetMode(LocalApicTimerMode mode)
    {
        lock (_lock)
        {
            if (mode == _mode)
                return;
            if (mode >= LocalApicTimerMode.TscDeadline || _mode >= LocalApicTimerMode.TscDeadline)
            {
                _initialCount = 0;
                _tscDeadline = 0;
                Schedule(Never);
            }
            else if (_deadline != Never)
            {
                // Between one-shot and periodic the count goes on.
                long now = _clock.Now;
                _start = now - ((long)(_initialCount - CountAt(now)) << _shift);
            }
            _mode = mode;
        }
    }

    /// <summary>Writes IA32_TSC_DEADLINE; ignored outside of TSC-deadline mode. Zero disarms; a time in the past fires at once.</summary>
    public void SetTscDeadline(ulong value)
    {
        lock (_lock)
        {
            if (_mode != LocalApicTimerMode.TscDeadline)
                return;
            long deadline = value == 0 ? Never : DeadlineOf(value);
            if (deadline > _clock.Now)
            {
                _tscDeadline = value;
                Schedule(deadline);
                return;
            }
            _tscDeadline = 0;
            Schedule(Never);
        }
        _expired();
    }

    public void Reset()
    {
        lock (_lock)
        {
            (_mode, _initialCount, _shift, _tscDeadline) = (LocalApicTimerMode.OneShot, 0, 1, 0);
            Schedule(Never);
        }
    }

    public void Dispose() => _timer.Dispose();

    /// <summary>Restores the counter, running if <paramref name="count"/> is not zero.</summary>
    public void Restore(LocalApicTimerMode mode, int shift, uint initialCount, uint count, ulong tscDeadline)
    {
        lock (_lock)
        {
            long now = _clock.Now;
            (_mode, _shift, _initialCount, _tscDeadline) = (mode, shift, initialCount, tscDeadline);
            _start = now - ((long)(initialCount - count) << shift);
            if (mode == LocalApicTimerMode.TscDeadline)
                Schedule(tscDeadline == 0 ? Never : DeadlineOf(tscDeadline));
            else
                Schedule(count == 0 ? Never : now + ((long)count << shift));
        }
    }

    private void OnTimer()
    {
        lock (_lock)
        {
            if (_deadline == Never)
                return;
            long now = _clock.Now;
            if (now < _deadline)
            {
                // A callback of an earlier deadline that was already on its way.
                _timer.Arm(_deadline);
                return;
            }
            Expire(now);
        }
        _expired();
    }

    private void Expire(long now)
    {
        if (_mode == LocalApicTimerMode.Periodic)
        {
            long period = (long)_initialCount << _shift;
            long next = _start + ((now - _start) / period + 1) * period;
            Schedule(Math.Max(next, now + MinimumPeriod));
            return;
        }
        _tscDeadline = 0;
        _deadline = Never;
    }

    private void Schedule(long deadline)
    {
        if (deadline == Never)
        {
            if (_deadline != Never)
                _timer.Disarm();
        }
        else
        {
            _timer.Arm(deadline);
        }
        _deadline = deadline;
    }

    private uint CountAt(long now)
    {
        if (_initialCount == 0 || _mode >= LocalApicTimerMode.TscDeadline)
            return 0;
        ulong elapsed = (ulong)(now - _start) >> _shift;
        if (_mode == LocalApicTimerMode.Periodic && _deadline != Never)
            return _initialCount - (uint)(elapsed % _initialCount);
        return elapsed >= _initialCount ? 0 : _initialCount - (uint)elapsed;
    }

    // VM time at which the TSC reaches the value, rounded up; far values never come.
    private long DeadlineOf(ulong tsc)
    {
        Int128 cycles = (Int128)tsc - _tscOffset;
        if (cycles <= 0)
            return 0;
        if (_tscFrequency == 1_000_000_000)
            return cycles >= Never ? Never - 1 : (long)cycles;
        Int128 time = (cycles * 1_000_000_000 + (_tscFrequency - 1)) / _tscFrequency;
        return time >= Never ? Never - 1 : (long)time;
    }
}
