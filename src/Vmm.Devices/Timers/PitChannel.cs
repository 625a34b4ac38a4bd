namespace Vmm.Devices.Timers;

/// <summary>
/// One counter of an Intel 8254 (datasheet order number 231164). Time comes in as CLK pulses since some origin; count and OUT are
/// computed from it, so that nothing runs between accesses.
/// </summary>
internal sealed class PitChannel
{
    public const long Never = long.MaxValue;

    private int _mode;
    private bool _bcd;
    private int _access = 3;
    private bool _gate = true;

    // Counting began with _count at CLK _start; while the gate holds it, _held clocks had passed. A count not yet loaded is in _next.
    private int _count;
    private long _start;
    private bool _loaded;
    private bool _running;
    private long _held;
    private int _next;
    private long _nextAt = Never;
    private bool _idleOutput;

    private int _writeLow;
    private bool _writeHighNext;
    private bool _readHighNext;
    private int _latch = -1;
    private int _statusLatch = -1;

    /// <summary>Mode 0 to 5.</summary>
    public int Mode => _mode;

    /// <summary>The GATE input.</summary>
    public bool Gate => _gate;

    public void Reset(bool gate)
    {
        _gate = gate;
        _mode = 0;
        _bcd = false;
        _access = 3;
        ResetCounter();
    }

    /// <summary>A control word with RW not 0.</summary>
    public void WriteControl(byte value, long now)
    {
        int mode = (value >> 1) & 7;
        _mode = mode > 5 ? mode - 4 : mode; // Modes 2 and 3 ignore bit 2.
        _bcd = (value & 1) != 0;
        _access = (value >> 4) & 3;
        ResetCounter();
        _start = now;
    }

    /// <summary>Counter latch command: holds the count until it is read.</summary>
    public void LatchCount(long now)
    {
        if (_latch < 0)
            _latch = CountRegister(now);
    }

    /// <summary>Read-back of the status byte.</summary>
    public void LatchStatus(long now)
    {
        if (_statusLatch < 0)
            _statusLatch = Status(now);
    }

    /// <summary>The next byte: latched status, then a latched count, then the count itself.</summary>
    public byte Read(long now)
    {
        if (_statusLatch >= 0)
        {
            int status = _statusLatch;
            _statusLatch = -1;
            return (byte)status;
        }
        int value = _latch >= 0 ? _latch : CountRegister(now);
        bool high = _access == 2 || (_access == 3 && _readHighNext);
        if (_access == 3)
            _readHighNext = !_readHighNext;
        if (_access != 3 || high)
            _latch = -1;
        return (byte)(high ? value >> 8 : value);
    }

    /// <summary>A byte of the count.</summary>
    public void Write(byte value, long now)
    {
        switch (_access)
        {
            case 1:
                LoadCount(value, now);
                break;
            case 2:
                LoadCount(value << 8, now);
                break;
            default:
                if (!_writeHighNext)
                {
                    _writeLow = value;
                    _writeHighNext = true;
                    // The first byte stops counting in mode 0 (datasheet, "Mode 0").
                    if (_mode == 0)
                        StopModeZero(now);
                    break;
                }
                _writeHighNext = false;
                LoadCount(_writeLow | (value << 8), now);
                break;
        }
    }

    /// <summary>Drives GATE.</summary>
    public void SetGate(bool gate, long now)
    {
        if (gate == _gate)
            return;
        Settle(now);
        bool rising = gate;
        if (_mode is 0 or 4 && _running)
        {
            // The gate enables counting: the clocks that passed are kept while it is low.
            if (!gate)
                _held = Math.Max(0, now - _start);
            else
                _start = now - _held;
        }
        _gate = gate;
        if (rising && _mode is 1 or 5 && _loaded)
        {
            // OUT stays as it is until the trigger is sampled.
            _idleOutput = Output(now);
            TakeNext();
            (_start, _running) = (now + 1, true);
        }
        else if (_mode is 2 or 3 && _loaded)
        {
            // Low forces OUT high at once; the rising edge starts a new period.
            TakeNext();
            (_start, _running) = (now + 1, gate);
        }
    }

    /// <summary>The OUT pin.</summary>
    public bool Output(long now)
    {
        Settle(now);
        if (!_running)
            return _idleOutput;
        long elapsed = Elapsed(now);
        if (elapsed < 0)
            return _mode != 0 && _idleOutput;
        switch (_mode)
        {
            case 0:
            case 1:
                return elapsed >= _count;
            case 2:
                return elapsed % _count != _count - 1;
            case 3:
                return elapsed % _count < (_count + 1) / 2;
            default:
                return elapsed != _count;
        }
    }

    /// <summary>The next CLK after <paramref name="now"/> at which OUT rises, or <see cref="Never"/>.</summary>
    public long NextRise(long now)
    {
        Settle(now);
        if (!_running || (!_gate && _mode is not (1 or 5)))
            return Never;
        long elapsed = Elapsed(now);
        switch (_mode)
        {
            case 0:
            case 1:
                return elapsed < _count ? _start + _count : Never;
            case 2:
            case 3:
                if (_nextAt != Never)
                    return NextIsHalf ? _nextAt + _next / 2 : _nextAt;
                return elapsed < 0 ? _start + _count : _start + (elapsed / _count + 1) * _count;
            default:
                return elapsed <= _count ? _start + _count + 1 : Never;
        }
    }

    public PitChannelState Capture(long now)
    {
        Settle(now);
        return new PitChannelState((byte)_mode, _bcd, (byte)_access, _gate, _count, now - _start, _loaded, _running, _held, _next,
            _nextAt == Never ? -1 : _nextAt - now, _idleOutput, _writeLow, _writeHighNext, _readHighNext, _latch, _statusLatch);
    }

    public void Restore(PitChannelState s, long now)
    {
        if (s.Mode > 5 || s.Access is < 1 or > 3 || s.Count is < 0 or > 0x10000 || (s.Running && s.Count == 0) || s.Next is < 0 or > 0x10000
            || s.Latch is < -1 or > 0xFFFF || s.StatusLatch is < -1 or > 0xFF || s.WriteLow is < 0 or > 0xFF
            || (s.NextIn >= 0 && s.Next == 0))
            throw new InvalidDataException("The 8254's saved state is not one that it can have.");
        (_mode, _bcd, _access, _gate, _count) = (s.Mode, s.Bcd, s.Access, s.Gate, s.Count);
        (_start, _loaded, _running, _held) = (now - s.Elapsed, s.Loaded, s.Running, s.Held);
        (_next, _nextAt, _idleOutput) = (s.Next, s.NextIn < 0 ? Never : now + s.NextIn, s.IdleOutput);
        (_writeLow, _writeHighNext, _readHighNext) = (s.WriteLow, s.WriteHighNext, s.ReadHighNext);
        (_latch, _statusLatch) = (s.Latch, s.StatusLatch);
    }

    private void ResetCounter()
    {
        _count = 0;
        _loaded = _running = false;
        _held = 0;
        _next = 0;
        _nextAt = Never;
        _idleOutput = _mode != 0;
        _writeHighNext = _readHighNext = false;
        _latch = _statusLatch = -1;
    }

    private void StopModeZero(long now)
    {
        Settle(now);
        _running = false;
        _idleOutput = false;
    }

    private void LoadCount(int value, long now)
    {
        int count = _bcd ? FromBcd(value) : value;
        if (count == 0)
            count = _bcd ? 10000 : 0x10000;
        // One is illegal in modes 2 and 3; the part then behaves as a period of two would.
        if (count == 1 && _mode is 2 or 3)
            count = 2;
        Settle(now);
        switch (_mode)
        {
            case 1:
            case 5:
                // Takes effect at the next trigger.
                if (!_running)
                    _count = count;
                else
                    _next = count;
                _loaded = true;
                return;
            case 2 or 3 when _running:
                // Takes effect at the end of the current period, in mode 3 of the current half (datasheet, "Mode 3").
                _next = count;
                _nextAt = NextBoundary(now);
                return;
            default:
                _count = count;
                _loaded = true;
                _start = now + 1;
                _held = 0;
                _running = _mode is 0 or 4 || _gate;
                return;
        }
    }

    private long NextBoundary(long now)
    {
        long elapsed = Elapsed(now);
        if (elapsed < 0)
            return _start;
        long period = _start + elapsed / _count * _count;
        long half = period + (_count + 1) / 2;
        return _mode == 3 && now < half ? half : period + _count;
    }

    // Applies a count whose time has come.
    private void Settle(long now)
    {
        if (_nextAt == Never || now < _nextAt)
            return;
        // In mode 3 a new count that came in the high half begins with the low one, which is half of it.
        _start = NextIsHalf ? _nextAt - (_next + 1) / 2 : _nextAt;
        _count = _next;
        _nextAt = Never;
        _next = 0;
    }

    private void TakeNext()
    {
        if (_next != 0)
            _count = _next;
        _next = 0;
        _nextAt = Never;
    }

    // Whether the waiting count begins with the low half of mode 3.
    private bool NextIsHalf => _mode == 3 && (_nextAt - _start) % _count != 0;

    private long Elapsed(long now) => !_gate && _mode is 0 or 4 ? _held : now - _start;

    // The counting element as it reads.
    private int CountRegister(long now)
    {
        Settle(now);
        int modulus = _bcd ? 10000 : 0x10000;
        long value = _count;
        if (_running && (_gate || _mode is not (2 or 3)))
        {
            long elapsed = Math.Max(0, Elapsed(now));
            value = _mode switch
            {
                2 => _count - elapsed % _count,
                3 => ModeThreeCount(elapsed),
                _ => _count - elapsed,
            };
        }
        int count = (int)(((value % modulus) + modulus) % modulus);
        return _bcd ? ToBcd(count) : count;
    }

    // Counts down by two in each half.
    private long ModeThreeCount(long elapsed)
    {
        long phase = elapsed % _count;
        long half = (_count + 1) / 2;
        long top = _count & ~1;
        long within = phase < half ? phase : phase - half;
        return Math.Max(top - 2 * within, phase < half && (_count & 1) != 0 ? 0 : 2);
    }

    // Status byte: OUT, NULL COUNT, RW, mode, BCD (datasheet, "Read-Back Command").
    private int Status(long now)
    {
        bool output = Output(now);
        bool nullCount = !_loaded || _next != 0 || (_running && Elapsed(now) < 0);
        return (output ? 0x80 : 0) | (nullCount ? 0x40 : 0) | (_access << 4) | (_mode << 1) | (_bcd ? 1 : 0);
    }

    private static int FromBcd(int value) =>
        (value >> 12 & 15) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 + (value & 15);

    private static int ToBcd(int value) => value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
}

/// <summary>State of a counter of the 8254; times are in CLK pulses relative to the moment of saving.</summary>
public sealed record PitChannelState(
    byte Mode, bool Bcd, byte Access, bool Gate, int Count, long Elapsed, bool Loaded, bool Running, long Held, int Next, long NextIn,
    bool IdleOutput, int WriteLow, bool WriteHighNext, bool ReadHighNext, int Latch, int StatusLatch);
