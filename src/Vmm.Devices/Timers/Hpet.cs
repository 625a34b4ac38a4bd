using System.Numerics;
using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Timers;

/// <summary>
/// The HPET of a PC: 1 KiB of MMIO, three timers that drive I/O APIC pins 16 to 23, send MSIs, or replace IRQ 0 and IRQ 8.
/// </summary>
public sealed class Hpet : IBusDevice, IResettable, ISnapshotable<HpetState>, IDisposable
{
    /// <summary>Where a PC has its HPET.</summary>
    public const ulong DefaultBase = 0xFED00000;

    /// <summary>Bytes of MMIO.</summary>
    public const ulong RegisterLength = 0x400;

    /// <summary>The event timer block ID of the ACPI HPET table: the low half of the capabilities register.</summary>
    public const uint EventTimerBlockId = unchecked((uint)HpetChip.Capabilities);

    private const uint OffsetCounter = 0xF0;

    private readonly HpetChip _chip = new();
    private readonly Lock _lock = new();
    private readonly VmClock _clock;
    private readonly IVmTimer _timer;
    private readonly IMsiSink _sink;
    private readonly GatedInterruptLine? _pitLine;
    private readonly GatedInterruptLine? _rtcLine;
    private readonly InterruptPin _irq0;
    private readonly InterruptPin _irq8;
    private readonly InterruptPin?[] _pins = new InterruptPin?[32];
    private readonly Lock _legacyLock = new();
    private bool _legacyConnected = true;

    /// <summary>Makes the HPET in its reset state.</summary>
    /// <param name="clock">VM time.</param>
    /// <param name="router">Makes the lines of the I/O APIC pins, IRQ 0 and IRQ 8.</param>
    /// <param name="sink">Takes the MSIs.</param>
    /// <param name="pitLine">The PIT's line, cut under legacy replacement.</param>
    /// <param name="rtcLine">The RTC's line, cut under legacy replacement.</param>
    public Hpet(
        VmClock clock, InterruptRouter router, IMsiSink sink, GatedInterruptLine? pitLine = null, GatedInterruptLine? rtcLine = null)
    {
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentNullException.ThrowIfNull(router);
        ArgumentNullException.ThrowIfNull(sink);
        (_clock, _sink, _pitLine, _rtcLine) = (clock, sink, pitLine, rtcLine);
        _irq0 = new InterruptPin(router.CreateIsaLine(0));
        _irq8 = new InterruptPin(router.CreateIsaLine(8));
        for (int pin = 0; pin < InterruptRouter.GsiCount; pin++)
        {
            if ((HpetChip.AllowedRoutes >> pin & 1) != 0)
                _pins[pin] = new InterruptPin(router.CreateLine(pin));
        }
        _timer = clock.CreateTimer(OnTimer);
        _chip.Reset();
    }

    /// <summary>Puts the registers on the MMIO bus.</summary>
    public void Map(Bus mmio, ulong address = DefaultBase)
    {
        ArgumentNullException.ThrowIfNull(mmio);
        mmio.Map("HPET", address, RegisterLength, this);
    }

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        uint register = (uint)offset & ~7u;
        int shift = (int)(offset & 7) * 8;
        ulong value = register == OffsetCounter ? ReadCounter() : ReadSettled(register);
        value >>= shift;
        return size >= 8 ? value : value & ((1UL << (size * 8)) - 1);
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        uint register = (uint)offset & ~7u;
        int shift = (int)(offset & 7) * 8;
        ulong mask = (size >= 8 ? ulong.MaxValue : (1UL << (size * 8)) - 1) << shift;
        uint messages;
        lock (_lock)
        {
            long now = _clock.Now;
            messages = Fire(_chip.Expire(now));
            _chip.Write(register, value << shift, mask, now);
            UpdateLevels();
            Schedule(now);
        }
        Flush(messages);
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _chip.Reset();
            _timer.Disarm();
            UpdateLevels();
        }
        Flush(0);
    }

    /// <inheritdoc/>
    public HpetState Capture()
    {
        lock (_lock)
            return _chip.Capture(_clock.Now);
    }

    /// <inheritdoc/>
    public void Restore(HpetState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
        {
            _chip.Restore(state, _clock.Now);
            UpdateLevels();
            _irq0.Restore(_irq0.Level);
            _irq8.Restore(_irq8.Level);
            foreach (var pin in _pins)
                pin?.Restore(pin.Level);
            _legacyConnected = !_chip.LegacyReplacement;
            Schedule(_clock.Now);
        }
    }

    /// <summary>Stops the timer.</summary>
    public void Dispose() => _timer.Dispose();

    // What clock sources read; nothing else can have changed by it.
    private ulong ReadCounter()
    {
        lock (_lock)
            return _chip.Counter(_clock.Now);
    }

    // Status and comparators show what happened up to now, also for timers without interrupts, which nothing waits for.
    private ulong ReadSettled(uint register)
    {
        ulong value;
        uint messages;
        lock (_lock)
        {
            long now = _clock.Now;
            uint fired = _chip.Expire(now);
            messages = Fire(fired);
            if (fired != 0)
            {
                UpdateLevels();
                Schedule(now);
            }
            value = _chip.Read(register, now);
        }
        Flush(messages);
        return value;
    }

    // With the lock held: edges go to their outputs; the timers that send messages are returned.
    private uint Fire(uint fired)
    {
        uint messages = 0;
        for (; fired != 0; fired &= fired - 1)
        {
            int index = BitOperations.TrailingZeroCount(fired);
            switch (_chip.DeliveryOf(index))
            {
                case HpetDelivery.LegacyIrq0 when !_chip.IsLevel(index):
                    _irq0.Raise();
                    break;
                case HpetDelivery.LegacyIrq8 when !_chip.IsLevel(index):
                    _irq8.Raise();
                    break;
                case HpetDelivery.IoApic when !_chip.IsLevel(index):
                    _pins[_chip.RouteOf(index)]?.Raise();
                    break;
                case HpetDelivery.Message:
                    messages |= 1u << index;
                    break;
                default:
                    break;
            }
        }
        return messages;
    }

    // With the lock held: level timers hold their line while their status bit is set.
    private void UpdateLevels()
    {
        uint pins = 0;
        bool irq0 = false, irq8 = false;
        for (int i = 0; i < HpetChip.TimerCount; i++)
        {
            if (!_chip.IsActive(i) || !_chip.IsLevel(i))
                continue;
            switch (_chip.DeliveryOf(i))
            {
                case HpetDelivery.LegacyIrq0:
                    irq0 = true;
                    break;
                case HpetDelivery.LegacyIrq8:
                    irq8 = true;
                    break;
                case HpetDelivery.IoApic:
                    pins |= 1u << _chip.RouteOf(i);
                    break;
                default:
                    break;
            }
        }
        _irq0.Set(irq0);
        _irq8.Set(irq8);
        for (int pin = 0; pin < _pins.Length; pin++)
            _pins[pin]?.Set((pins >> pin & 1) != 0);
    }

    private void Schedule(long now)
    {
        long next = _chip.NextExpiry(now);
        if (next == HpetChip.Never)
            _timer.Disarm();
        else
            _timer.Arm(next);
    }

    private void OnTimer()
    {
        uint messages;
        lock (_lock)
        {
            long now = _clock.Now;
            messages = Fire(_chip.Expire(now));
            UpdateLevels();
            Schedule(now);
        }
        Flush(messages);
    }

    private void Flush(uint messages)
    {
        ConnectLegacyLines();
        _irq0.Flush();
        _irq8.Flush();
        foreach (var pin in _pins)
            pin?.Flush();
        for (; messages != 0; messages &= messages - 1)
        {
            var (address, data) = _chip.MessageOf(BitOperations.TrailingZeroCount(messages));
            _sink.Send(new MsiMessage(address, data));
        }
    }

    // The setting is read inside of the lock, so that the lines end as it was written last.
    private void ConnectLegacyLines()
    {
        bool connected = !_chip.LegacyReplacement;
        if (connected == Volatile.Read(ref _legacyConnected))
            return;
        lock (_legacyLock)
        {
            connected = !_chip.LegacyReplacement;
            Volatile.Write(ref _legacyConnected, connected);
            if (_pitLine is not null)
                _pitLine.Connected = connected;
            if (_rtcLine is not null)
                _rtcLine.Connected = connected;
        }
    }
}
