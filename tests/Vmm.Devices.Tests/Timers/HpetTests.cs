using Vmm.Core.Interrupts;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;
using Vmm.Devices.Tests.Interrupts;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

/// <summary>The HPET against the IA-PC HPET specification 1.0a.</summary>
[TestFixture]
internal sealed class HpetTests
{
    private const ulong Config = 0x10, Status = 0x20, Counter = 0xF0;

    private ManualVmClock _clock = null!;
    private PcInterruptControllers _pc = null!;
    private MessageRecorder _sink = null!;
    private GatedInterruptLine _pitLine = null!;
    private RecordingLine _pitWire = null!;
    private Hpet _hpet = null!;

    [SetUp]
    public void SetUp()
    {
        _clock = new ManualVmClock();
        _pc = new PcInterruptControllers();
        _sink = new MessageRecorder();
        _pitWire = new RecordingLine();
        _pitLine = new GatedInterruptLine(_pitWire);
        _hpet = new Hpet(_clock, _pc.Router, _sink, _pitLine);
    }

    [TearDown]
    public void TearDown() => _hpet.Dispose();

    private ulong Read(ulong offset) => _hpet.Read(offset, 8);

    private void Write(ulong offset, ulong value) => _hpet.Write(offset, 8, value);

    private static ulong TimerConfig(int index) => 0x100 + 0x20 * (ulong)index;

    private static ulong Comparator(int index) => 0x108 + 0x20 * (ulong)index;

    private void UseMessages(int index, ulong config = 0)
    {
        Write(0x110 + 0x20 * (ulong)index, 0xFEE00000_00000060UL + (ulong)index);
        Write(TimerConfig(index), 0x4004 | config);
    }

    private bool Pin(int pin) => (_pc.IoApic.Capture().Lines >> pin & 1) != 0;

    [Test]
    public void Capabilities_TellTimersWidthAndPeriod()
    {
        ulong capabilities = Read(0);
        Assert.That(capabilities >> 32, Is.EqualTo(10_000_000), "femtoseconds");
        Assert.That(capabilities >> 16 & 0xFFFF, Is.EqualTo(0x8086));
        Assert.That(capabilities & 0xFFFF, Is.EqualTo(0xA201), "legacy, 64 bits, three timers, revision 1");
        Assert.That((uint)capabilities, Is.EqualTo(Hpet.EventTimerBlockId));
        Assert.That(Read(TimerConfig(0)), Is.EqualTo(0x00FF0000_00008030));
        Assert.That(Read(0x160), Is.Zero, "there is no fourth timer");
    }

    [Test]
    public void Counter_RunsWhileEnabled()
    {
        _clock.Advance(1000);
        Assert.That(Read(Counter), Is.Zero);
        Write(Config, 1);
        _clock.Advance(1000);
        Assert.That(Read(Counter), Is.EqualTo(100));
        Assert.That(_hpet.Read(Counter, 4), Is.EqualTo(100));
        Write(Config, 0);
        _clock.Advance(1000);
        Assert.That(Read(Counter), Is.EqualTo(100));
        Write(Counter, 0x1_0000_0005);
        Assert.That(_hpet.Read(Counter + 4, 4), Is.EqualTo(1));
        Write(Config, 1);
        _clock.Advance(10);
        Assert.That(Read(Counter), Is.EqualTo(0x1_0000_0006));
    }

    [Test]
    public void OneShot_FiresOnceOnEquality()
    {
        UseMessages(1);
        Write(Comparator(1), 500);
        Write(Config, 1);
        _clock.Advance(4_999);
        Assert.That(_sink.Messages, Is.Empty);
        _clock.Advance(1);
        Assert.That(_sink.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE00000, 0x61) }));
        _clock.Advance(100_000_000_000);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1));
        Write(Comparator(1), 100);
        _clock.Advance(100_000_000_000);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1), "a comparator behind the counter waits for the wrap");
    }

    [Test]
    public void OneShotOf32Bits_FiresAtEachWrap()
    {
        UseMessages(0, 0x100);
        Write(Comparator(0), 0xFFFFFFFF_00000064);
        Assert.That(Read(Comparator(0)), Is.EqualTo(100));
        Write(Config, 1);
        _clock.Advance(1_000);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1));
        _clock.Advance((1L << 32) * 10);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2));
    }

    [Test]
    public void Periodic_AccumulatesWithoutDrift()
    {
        UseMessages(0, 0x48);
        Write(Comparator(0), 10_000);
        Write(Comparator(0), 100_000);
        Write(Config, 1);
        _clock.Advance(100_000);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1), "the accumulator set by VAL_SET");
        Assert.That(Read(Comparator(0)), Is.EqualTo(110_000));
        _clock.Advance(100_000_000);
        Assert.That(_sink.Messages, Has.Count.EqualTo(101));
    }

    [Test]
    public void PeriodicWithoutValueSet_TakesThePeriodOnly()
    {
        UseMessages(0, 0x48);
        Write(Comparator(0), 50_000);
        Write(Comparator(0), 20_000);
        Assert.That(Read(Comparator(0)), Is.EqualTo(50_000));
        Write(Comparator(0), 30_000);
        Write(Config, 1);
        _clock.Advance(500_000);
        Assert.That(Read(Comparator(0)), Is.EqualTo(80_000));
    }

    [Test]
    public void TinyPeriod_IsLimited()
    {
        UseMessages(0, 0x48);
        Write(Comparator(0), 1);
        Write(Comparator(0), 1);
        Write(Config, 1);
        _clock.Advance(1_000_000);
        Assert.That(_sink.Messages.Count, Is.InRange(10, 51));
    }

    [Test]
    public void LevelTimer_HoldsItsPinUntilTheStatusIsCleared()
    {
        Write(TimerConfig(2), 0x6 | 20 << 9);
        Write(Comparator(2), 10);
        Write(Config, 1);
        _clock.Advance(100);
        Assert.That(Pin(20));
        Assert.That(Read(Status), Is.EqualTo(4));
        Write(Status, 3);
        Assert.That(Pin(20));
        Write(Status, 4);
        Assert.That(Pin(20), Is.False);
        Assert.That(Read(Status), Is.Zero);
    }

    [Test]
    public void DisabledLevelTimer_SetsItsStatusOnly()
    {
        Write(TimerConfig(2), 0x2 | 20 << 9);
        Write(Comparator(2), 10);
        Write(Config, 1);
        _clock.Advance(1_000);
        Assert.That(Pin(20), Is.False);
        Assert.That(Read(Status), Is.EqualTo(4));
        Write(TimerConfig(2), 0x6 | 20 << 9);
        Assert.That(Pin(20));
    }

    [Test]
    public void LegacyReplacement_TakesIrq0AndIrq8()
    {
        _pitLine.SetLevel(true);
        Write(TimerConfig(0), 0x4);
        Write(TimerConfig(1), 0x6);
        Write(Comparator(0), 10);
        Write(Comparator(1), 20);
        Write(Config, 3);
        Assert.That(_pitWire.Level, Is.False, "the PIT is cut off");
        _clock.Advance(200);
        Assert.That(_pc.Pic.Capture().Master.Requested & 1, Is.EqualTo(1));
        Assert.That(Pin(8));
        Write(Config, 1);
        Assert.That(_pitWire.Level);
        Assert.That(Pin(8), Is.False);
    }

    [Test]
    public void UnroutedTimer_FiresNowhere()
    {
        Write(TimerConfig(0), 0x4 | 3 << 9);
        Write(Comparator(0), 10);
        Write(Config, 1);
        Assert.That(() => _clock.Advance(1000), Throws.Nothing);
        Assert.That(_pc.IoApic.Capture().Lines & ~1u, Is.Zero);
    }

    [Test]
    public void HalfWrites_MergeIntoTheRegister()
    {
        _hpet.Write(Comparator(1), 4, 0x11111111);
        _hpet.Write(Comparator(1) + 4, 4, 0x22222222);
        Assert.That(Read(Comparator(1)), Is.EqualTo(0x22222222_11111111));
    }

    [Test]
    public void Snapshot_GoesOn()
    {
        UseMessages(0, 0x48);
        Write(Comparator(0), 10_000);
        Write(Comparator(0), 10_000);
        Write(Config, 1);
        _clock.Advance(150_000);
        var state = _hpet.Capture();
        var clock = new ManualVmClock();
        var sink = new MessageRecorder();
        using var other = new Hpet(clock, _pc.Router, sink);
        other.Restore(state);
        Assert.That(sink.Messages, Is.Empty);
        Assert.That(other.Read(Counter, 8), Is.EqualTo(15_000));
        clock.Advance(50_000);
        Assert.That(sink.Messages, Has.Count.EqualTo(1));
        Assert.That(() => other.Restore(state with { Status = 8 }), Throws.InstanceOf<InvalidDataException>());
    }

    private sealed class MessageRecorder : IMsiSink
    {
        public List<MsiMessage> Messages { get; } = [];

        public void Send(MsiMessage message) => Messages.Add(message);
    }
}
