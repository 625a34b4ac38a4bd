using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

/// <summary>The real-time clock against the MC146818A datasheet, on its ports.</summary>
[TestFixture]
internal sealed class Mc146818RtcTests
{
    private const byte Second = 0, SecondAlarm = 1, Minute = 2, MinuteAlarm = 3, Hour = 4, HourAlarm = 5, Weekday = 6, Day = 7, Month = 8,
        Year = 9, A = 10, B = 11, C = 12, D = 13, Century = 0x32;

    private ManualVmClock _clock = null!;
    private RecordingLine _irq = null!;
    private Mc146818Rtc _rtc = null!;
    private Bus _ports = null!;

    [SetUp]
    public void SetUp()
    {
        _clock = new ManualVmClock();
        _irq = new RecordingLine();
        _rtc = new Mc146818Rtc(_clock, new ClockTime(_clock, new DateTime(2024, 2, 29, 23, 59, 50, DateTimeKind.Utc)), _irq);
        _ports = Bus.CreatePortBus();
        _rtc.Map(_ports);
    }

    [TearDown]
    public void TearDown() => _rtc.Dispose();

    private byte Read(byte index)
    {
        _ports.Write(0x70, 1, index);
        return (byte)_ports.Read(0x71, 1);
    }

    private void Write(byte index, byte value)
    {
        _ports.Write(0x70, 1, index);
        _ports.Write(0x71, 1, value);
    }

    private byte[] Time() => [Read(Century), Read(Year), Read(Month), Read(Day), Read(Hour), Read(Minute), Read(Second)];

    [Test]
    public void Time_IsBcdUtc()
    {
        Assert.That(Time(), Is.EqualTo(new byte[] { 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x50 }));
        Assert.That(Read(Weekday), Is.EqualTo(5), "a Thursday");
        Assert.That(Read(A), Is.EqualTo(0x26));
        Assert.That(Read(B), Is.EqualTo(0x02));
        Assert.That(Read(D), Is.EqualTo(0x80));
        _clock.Advance(10_000_000_000);
        Assert.That(Time(), Is.EqualTo(new byte[] { 0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00 }));
    }

    [Test]
    public void BinaryAndTwelveHourFormats()
    {
        Write(B, 0x06);
        Assert.That(Time(), Is.EqualTo(new byte[] { 20, 24, 2, 29, 23, 59, 50 }));
        Write(B, 0x04);
        Assert.That(Read(Hour), Is.EqualTo(0x80 | 11));
        _clock.Advance(10_000_000_000);
        Assert.That(Read(Hour), Is.EqualTo(12), "midnight is 12 AM");
        Write(B, 0x00);
        Write(Hour, 0x92);
        Assert.That(Read(Hour), Is.EqualTo(0x92), "noon");
        Write(B, 0x02);
        Assert.That(Read(Hour), Is.EqualTo(0x12));
    }

    [Test]
    public void SettingTheTime_WithSetHeld()
    {
        Write(B, 0x82);
        _clock.Advance(5_000_000_000);
        Assert.That(Read(Second), Is.EqualTo(0x50), "frozen");
        Write(Year, 0x99);
        Write(Century, 0x19);
        Write(Month, 0x12);
        Write(Day, 0x31);
        Write(Hour, 0x12);
        Write(Minute, 0x34);
        Write(Second, 0x56);
        Write(B, 0x02);
        Assert.That(Time(), Is.EqualTo(new byte[] { 0x19, 0x99, 0x12, 0x31, 0x12, 0x34, 0x56 }));
        _clock.Advance(4_000_000_000);
        Assert.That(Read(Minute), Is.EqualTo(0x35));
    }

    [Test]
    public void UpdateInProgress_PrecedesTheUpdate()
    {
        _clock.Advance(997_000_000);
        Assert.That(Read(A) & 0x80, Is.Zero);
        _clock.Advance(1_000_000);
        Assert.That(Read(A) & 0x80, Is.EqualTo(0x80));
        Assert.That(Read(Second), Is.EqualTo(0x50));
        _clock.Advance(2_000_000);
        Assert.That(Read(A) & 0x80, Is.Zero);
        Assert.That(Read(Second), Is.EqualTo(0x51));
        Write(B, 0x82);
        _clock.Advance(998_500_000);
        Assert.That(Read(A) & 0x80, Is.Zero, "no update while SET is on");
    }

    [Test]
    public void UpdateInterrupt_ComesEachSecond_AndRegisterCClearsIt()
    {
        Write(B, 0x12);
        Read(C);
        _clock.Advance(999_999_999);
        Assert.That(_irq.Level, Is.False);
        _clock.Advance(1);
        Assert.That(_irq.Level);
        _clock.Advance(3_000_000_000);
        Assert.That(_irq.RisingEdges, Is.EqualTo(1), "the line stays until C is read");
        Assert.That(Read(C) & 0xB0, Is.EqualTo(0x90));
        Assert.That(_irq.Level, Is.False);
        Assert.That(Read(C), Is.Zero);
        _clock.Advance(1_000_000_000);
        Assert.That(_irq.RisingEdges, Is.EqualTo(2));
    }

    // Rate select, microseconds (MC146818A, table 5, 32.768 kHz).
    [TestCase(1, 3906.25)]
    [TestCase(2, 7812.5)]
    [TestCase(3, 122.0703125)]
    [TestCase(6, 976.5625)]
    [TestCase(15, 500_000)]
    public void PeriodicInterrupt_HasItsRate(int rate, double microseconds)
    {
        Write(A, (byte)(0x20 | rate));
        Write(B, 0x42);
        Read(C);
        int count = 0;
        long step = (long)(microseconds * 100);
        for (int i = 0; i < 1000; i++)
        {
            _clock.Advance(step);
            if (!_irq.Level)
                continue;
            Assert.That(Read(C) & 0xC0, Is.EqualTo(0xC0));
            count++;
        }
        Assert.That(count, Is.InRange(99, 100));
    }

    [Test]
    public void RateZero_IsSilent()
    {
        Write(A, 0x20);
        Write(B, 0x42);
        _clock.Advance(5_000_000_000);
        Assert.That(_irq.Level, Is.False);
    }

    [Test]
    public void Alarm_ComesAtItsTime()
    {
        Write(HourAlarm, 0x00);
        Write(MinuteAlarm, 0x01);
        Write(SecondAlarm, 0x30);
        Write(B, 0x22);
        Read(C);
        _clock.Advance(99_999_999_999);
        Assert.That(_irq.Level, Is.False);
        _clock.Advance(1);
        Assert.That(_irq.Level);
        Assert.That(Read(C) & 0xA0, Is.EqualTo(0xA0));
        _clock.Advance(86_399_000_000_000);
        Assert.That(_irq.Level, Is.False);
        _clock.Advance(1_000_000_000);
        Assert.That(_irq.Level, "the next day again");
    }

    [Test]
    public void DontCareAlarm_ComesEveryMinute()
    {
        Write(HourAlarm, 0xFF);
        Write(MinuteAlarm, 0xC0);
        Write(SecondAlarm, 0x15);
        Write(B, 0x22);
        int count = 0;
        for (int i = 0; i < 300; i++)
        {
            _clock.Advance(1_000_000_000);
            if (_irq.Level)
            {
                Assert.That(Read(Second), Is.EqualTo(0x15));
                Read(C);
                count++;
            }
        }
        Assert.That(count, Is.EqualTo(5));
    }

    [Test]
    public void ImpossibleAlarm_NeverComes()
    {
        Write(HourAlarm, 0x25);
        Write(B, 0x22);
        _clock.Advance(200_000_000_000_000);
        Assert.That(_irq.Level, Is.False);
    }

    [Test]
    public void FlagsAreSetWithoutEnables()
    {
        Read(C);
        _clock.Advance(1_100_000_000);
        Assert.That(Read(C), Is.EqualTo(0x50), "PF and UF, no IRQF");
        Assert.That(_irq.RisingEdges, Is.Zero);
    }

    [Test]
    public void Set_ClearsTheUpdateEnable()
    {
        Write(B, 0x12);
        Write(B, 0x92);
        Assert.That(Read(B), Is.EqualTo(0x82));
    }

    [Test]
    public void DividerReset_UpdatesHalfASecondAfterRelease()
    {
        Write(A, 0x76);
        _clock.Advance(3_300_000_000);
        Assert.That(Read(Second), Is.EqualTo(0x50));
        Write(A, 0x26);
        _clock.Advance(499_000_000);
        Assert.That(Read(Second), Is.EqualTo(0x50));
        _clock.Advance(2_000_000);
        Assert.That(Read(Second), Is.EqualTo(0x51));
    }

    [Test]
    public void Ram_IsKept_InBothBanks()
    {
        _rtc.WriteRam(0x15, 0x80);
        Assert.That(Read(0x15), Is.EqualTo(0x80));
        Write(0x40, 0x12);
        Assert.That(_rtc.ReadRam(0x40), Is.EqualTo(0x12));
        _ports.Write(0x72, 1, 0x40);
        _ports.Write(0x73, 1, 0x34);
        Assert.That(_rtc.ReadRam(0xC0), Is.EqualTo(0x34));
        Assert.That(_ports.Read(0x72, 1), Is.EqualTo(0x40));
        _rtc.Reset();
        Assert.That(Read(0x40), Is.EqualTo(0x12));
    }

    [Test]
    public void NmiMask_IsBit7OfTheIndex()
    {
        _ports.Write(0x70, 1, 0x80 | 0x32);
        Assert.That(_rtc.NmiMasked);
        Assert.That(_ports.Read(0x71, 1), Is.EqualTo(0x20), "the index is seven bits");
        _ports.Write(0x70, 1, 0x32);
        Assert.That(_rtc.NmiMasked, Is.False);
    }

    [Test]
    public void NonsenseDates_AreTamed()
    {
        foreach (byte register in new byte[] { Second, Minute, Hour, Day, Month, Year, Century, Weekday })
        {
            foreach (byte value in new byte[] { 0x00, 0x1A, 0x60, 0x99, 0xFF })
            {
                Write(register, value);
                Assert.That(() => Time(), Throws.Nothing);
            }
        }
        Write(Month, 0x02);
        Write(Day, 0x31);
        Assert.That(Read(Day), Is.EqualTo(0x28).Or.EqualTo(0x29));
    }

    [Test]
    public void Snapshot_KeepsTheOffset()
    {
        Write(Hour, 0x05);
        Write(0x50, 0xAB);
        Write(B, 0x42);
        var state = _rtc.Capture();
        var line = new RecordingLine();
        using var other = new Mc146818Rtc(_clock, new ClockTime(_clock, new DateTime(2024, 2, 29, 23, 59, 50, DateTimeKind.Utc)), line);
        other.Restore(state);
        var ports = Bus.CreatePortBus();
        other.Map(ports);
        ports.Write(0x70, 1, Hour);
        Assert.That(ports.Read(0x71, 1), Is.EqualTo(0x05));
        Assert.That(other.ReadRam(0x50), Is.EqualTo(0xAB));
        Assert.That(line.RisingEdges, Is.Zero);
        Assert.That(() => other.Restore(state with { Offset = long.MaxValue }), Throws.InstanceOf<InvalidDataException>());
    }

    /// <summary>A wall clock that follows the VM's.</summary>
    private sealed class ClockTime(VmClock clock, DateTime start) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => new DateTimeOffset(start).AddTicks(clock.Now / 100);
    }
}
