using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>The APIC timer (SDM vol. 3, 11.5.4) through its registers.</summary>
[TestFixture]
internal sealed class LocalApicTimerTests
{
    private const uint LvtTimer = 0x320;
    private const uint InitialCount = 0x380;
    private const uint CurrentCount = 0x390;
    private const uint Divide = 0x3E0;

    private ManualVmClock _clock = null!;
    private LocalApic _apic = null!;

    [SetUp]
    public void SetUp()
    {
        _clock = new ManualVmClock();
        _clock.Advance(12_345);
        _apic = new LocalApic(new ApicBus(), 0, true, _clock, 2_000_000_000);
        Write(0xF0, 0x1FF);
    }

    [TearDown]
    public void TearDown() => _apic.Dispose();

    private void Write(uint offset, uint value) => _apic.WritePage(offset, 4, value);

    private uint Read(uint offset) => (uint)_apic.ReadPage(offset, 4);

    private bool TakeTimer()
    {
        if (!_apic.TryAcknowledge(out byte vector))
            return false;
        Assert.That(vector, Is.EqualTo(0x40));
        Write(0xB0, 0);
        return true;
    }

    // Divide configuration value, divisor (figure 11-10).
    [TestCase(0x0u, 2)]
    [TestCase(0x1u, 4)]
    [TestCase(0x2u, 8)]
    [TestCase(0x3u, 16)]
    [TestCase(0x8u, 32)]
    [TestCase(0x9u, 64)]
    [TestCase(0xAu, 128)]
    [TestCase(0xBu, 1)]
    public void OneShot_CountsDownOnce(uint configuration, int divisor)
    {
        Write(LvtTimer, 0x40);
        Write(Divide, configuration);
        Write(InitialCount, 1000);
        Assert.That(Read(CurrentCount), Is.EqualTo(1000));
        _clock.Advance(400 * divisor);
        Assert.That(Read(CurrentCount), Is.EqualTo(600));
        _clock.Advance(600 * divisor - 1);
        Assert.That(TakeTimer(), Is.False);
        _clock.Advance(1);
        Assert.That(TakeTimer());
        Assert.That(Read(CurrentCount), Is.Zero);
        _clock.Advance(100_000 * divisor);
        Assert.That(TakeTimer(), Is.False);
    }

    [Test]
    public void Periodic_GoesOn_WithoutDrift()
    {
        Write(LvtTimer, 0x20040);
        Write(Divide, 0xB);
        Write(InitialCount, 100_000);
        int ticks = 0;
        for (int i = 0; i < 1_000; i++)
        {
            _clock.Advance(10_000);
            ticks += TakeTimer() ? 1 : 0;
        }
        Assert.That(ticks, Is.EqualTo(100));
        _clock.Advance(30_000);
        Assert.That(Read(CurrentCount), Is.EqualTo(70_000));
    }

    [Test]
    public void TinyPeriod_IsLimited_AndTheCountStillRuns()
    {
        Write(LvtTimer, 0x20040);
        Write(Divide, 0xB);
        Write(InitialCount, 1);
        int ticks = 0;
        for (int i = 0; i < 1000; i++)
        {
            _clock.Advance(1_000);
            ticks += TakeTimer() ? 1 : 0;
        }
        Assert.That(ticks, Is.InRange(40, 1_000_000 / LocalApicTimer.MinimumPeriod + 1));
        Assert.That(Read(CurrentCount), Is.EqualTo(1));
    }

    [Test]
    public void ZeroInitialCount_Stops()
    {
        Write(LvtTimer, 0x20040);
        Write(InitialCount, 100_000);
        Write(InitialCount, 0);
        Assert.That(Read(CurrentCount), Is.Zero);
        _clock.Advance(1_000_000);
        Assert.That(TakeTimer(), Is.False);
    }

    [Test]
    public void MaskedTimer_CountsWithoutInterrupting()
    {
        Write(LvtTimer, 0x10040);
        Write(Divide, 0xB);
        Write(InitialCount, 1000);
        _clock.Advance(500);
        Assert.That(Read(CurrentCount), Is.EqualTo(500));
        _clock.Advance(1000);
        Write(LvtTimer, 0x40);
        Assert.That(TakeTimer(), Is.False);
    }

    [Test]
    public void DividerChange_GoesOnFromTheCount()
    {
        Write(LvtTimer, 0x40);
        Write(Divide, 0xB);
        Write(InitialCount, 1000);
        _clock.Advance(500);
        Write(Divide, 0x3);
        Assert.That(Read(CurrentCount), Is.EqualTo(500));
        _clock.Advance(16 * 499);
        Assert.That(Read(CurrentCount), Is.EqualTo(1));
        Assert.That(TakeTimer(), Is.False);
        _clock.Advance(16);
        Assert.That(TakeTimer());
    }

    [Test]
    public void TscDeadline_FiresOnceAtItsValue()
    {
        Write(LvtTimer, 0x40040);
        ulong tsc = (ulong)_clock.Now * 2;
        Assert.That(_apic.TryWriteMsr(0x6E0, tsc + 2001));
        Assert.That(_apic.TryReadMsr(0x6E0, out ulong armed));
        Assert.That(armed, Is.EqualTo(tsc + 2001));
        _clock.Advance(1000);
        Assert.That(TakeTimer(), Is.False, "the deadline is rounded up");
        _clock.Advance(1);
        Assert.That(TakeTimer());
        _apic.TryReadMsr(0x6E0, out armed);
        Assert.That(armed, Is.Zero);
    }

    [Test]
    public void PastTscDeadline_FiresAtOnce()
    {
        Write(LvtTimer, 0x40040);
        _apic.TryWriteMsr(0x6E0, 1);
        Assert.That(TakeTimer());
        _apic.TryWriteMsr(0x6E0, ulong.MaxValue);
        _clock.Advance(long.MaxValue / 4);
        Assert.That(TakeTimer(), Is.False);
        _apic.TryWriteMsr(0x6E0, 0);
        Assert.That(TakeTimer(), Is.False);
    }

    [Test]
    public void TscOffset_MovesTheDeadline()
    {
        Write(LvtTimer, 0x40040);
        ulong tsc = (ulong)_clock.Now * 2;
        _apic.TryWriteMsr(0x6E0, tsc + 10_000);
        _apic.TscOffset = 6_000;
        _clock.Advance(1_999);
        Assert.That(TakeTimer(), Is.False);
        _clock.Advance(1);
        Assert.That(TakeTimer());
    }

    [Test]
    public void TscDeadline_IsIgnoredInOtherModes_AndInitialCountInIt()
    {
        Write(LvtTimer, 0x40);
        _apic.TryWriteMsr(0x6E0, 1);
        Assert.That(TakeTimer(), Is.False);
        Write(LvtTimer, 0x40040);
        Write(InitialCount, 10);
        Assert.That(Read(CurrentCount), Is.Zero);
        _clock.Advance(1000);
        Assert.That(TakeTimer(), Is.False);
    }

    [Test]
    public void LeavingTscDeadlineMode_Disarms()
    {
        Write(LvtTimer, 0x40040);
        _apic.TryWriteMsr(0x6E0, (ulong)_clock.Now * 2 + 1000);
        Write(LvtTimer, 0x40);
        _clock.Advance(10_000);
        Assert.That(TakeTimer(), Is.False);
        Write(LvtTimer, 0x40040);
        _apic.TryReadMsr(0x6E0, out ulong deadline);
        Assert.That(deadline, Is.Zero);
    }

    [Test]
    public void Snapshot_KeepsCountAndPendingVectors()
    {
        Write(LvtTimer, 0x20040);
        Write(Divide, 0xB);
        Write(InitialCount, 100_000);
        Write(0x80, 0x50);
        _clock.Advance(130_000);
        var state = _apic.Capture();
        var clock = new ManualVmClock();
        var other = new LocalApic(new ApicBus(), 0, true, clock, 2_000_000_000);
        var signals = new RecordingSignals();
        other.Attach(signals);
        other.Restore(state);
        Assert.That(signals.Requests, Is.Zero);
        Assert.That(other.ReadPage(CurrentCount, 4), Is.EqualTo(70_000));
        Assert.That(other.Capture().Registers, Is.EqualTo(state.Registers));
        Assert.That(other.InterruptPending, Is.False);
        other.Cr8 = 0;
        Assert.That(other.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x40));
        other.WritePage(0xB0, 4, 0);
        clock.Advance(70_000);
        Assert.That(other.InterruptPending);
        var foreign = new LocalApic(new ApicBus(), 1, true, clock, 2_000_000_000);
        Assert.That(() => foreign.Restore(state), Throws.InstanceOf<InvalidDataException>());
    }
}
