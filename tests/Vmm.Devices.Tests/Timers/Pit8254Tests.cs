using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

/// <summary>The PIT on its ports, with its interrupt and port 0x61.</summary>
[TestFixture]
internal sealed class Pit8254Tests
{
    private ManualVmClock _clock = null!;
    private RecordingLine _irq = null!;
    private Pit8254 _pit = null!;
    private Bus _ports = null!;

    [SetUp]
    public void SetUp()
    {
        _clock = new ManualVmClock();
        _irq = new RecordingLine();
        _pit = new Pit8254(_clock, _irq);
        _ports = Bus.CreatePortBus();
        _pit.Map(_ports);
    }

    [TearDown]
    public void TearDown() => _pit.Dispose();

    private void Program(int channel, int mode, int count)
    {
        _ports.Write(0x43, 1, (ulong)(channel << 6 | 0x30 | mode << 1));
        _ports.Write(0x40 + (ulong)channel, 1, (ulong)count & 0xFF);
        _ports.Write(0x40 + (ulong)channel, 1, (ulong)count >> 8);
    }

    [TestCase(2)]
    [TestCase(3)]
    public void PeriodicModes_InterruptAtTheirRate(int mode)
    {
        Program(0, mode, 11932);
        int before = _irq.RisingEdges;
        for (int i = 0; i < 1000; i++)
            _clock.Advance(1_000_000);
        Assert.That(_irq.RisingEdges - before, Is.InRange(99, 100), "100 Hz for a second");
    }

    [Test]
    public void OneShot_InterruptsOnceAtItsTime()
    {
        Program(0, 0, 1193);
        Assert.That(_irq.Level, Is.False);
        _clock.Advance(999_000);
        Assert.That(_irq.RisingEdges, Is.Zero);
        _clock.Advance(2_000);
        Assert.That(_irq.RisingEdges, Is.EqualTo(1));
        _clock.Advance(1_000_000_000);
        Assert.That(_irq.RisingEdges, Is.EqualTo(1));
        Program(0, 0, 1193);
        Assert.That(_irq.Level, Is.False, "a new count takes OUT low");
    }

    [Test]
    public void TinyPeriod_IsLimited()
    {
        Program(0, 2, 2);
        int before = _irq.RisingEdges;
        _clock.Advance(1_000_000);
        Assert.That(_irq.RisingEdges - before, Is.InRange(10, 51));
    }

    [Test]
    public void ReadBack_LatchesSeveralCounters()
    {
        Program(0, 2, 1000);
        Program(2, 2, 500);
        _clock.Advance(1_000_000);
        _ports.Write(0x43, 1, 0xC0 | 0x02 | 0x08);
        _clock.Advance(500_000);
        // Status of both first, then the counts latched together.
        Assert.That(_ports.Read(0x40, 1) & 0x3F, Is.EqualTo(0x34));
        Assert.That(_ports.Read(0x42, 1) & 0x3F, Is.EqualTo(0x34));
        ulong count = _ports.Read(0x40, 1) | _ports.Read(0x40, 1) << 8;
        Assert.That(count, Is.EqualTo(1000 - 1192 % 1000).Or.EqualTo(1000 - 1193 % 1000).Or.EqualTo(1001 - 1193 % 1000));
    }

    [Test]
    public void SystemControlPort_GatesAndShowsCounter2()
    {
        Assert.That(_ports.Read(0x61, 1) & 0xEF, Is.Zero);
        _ports.Write(0x61, 1, 0x01);
        Program(2, 0, 11932);
        Assert.That(_ports.Read(0x61, 1) & 0x21, Is.EqualTo(1));
        _clock.Advance(9_999_000);
        Assert.That(_ports.Read(0x61, 1) & 0x20, Is.Zero);
        _clock.Advance(3_000);
        Assert.That(_ports.Read(0x61, 1) & 0x20, Is.EqualTo(0x20));
        _ports.Write(0x61, 1, 0xFF);
        Assert.That(_ports.Read(0x61, 1) & 0x0F, Is.EqualTo(0x0F));
        Assert.That(_ports.Read(0x61, 1) & 0xC0, Is.Zero);
    }

    [Test]
    public void RefreshBit_Toggles()
    {
        int changes = 0;
        ulong last = _ports.Read(0x61, 1) & 0x10;
        for (int i = 0; i < 1000; i++)
        {
            _clock.Advance(1_000);
            ulong bit = _ports.Read(0x61, 1) & 0x10;
            changes += bit != last ? 1 : 0;
            last = bit;
        }
        Assert.That(changes, Is.EqualTo(66), "about every 15 microseconds");
    }

    [Test]
    public void Reset_TakesTheLineDown()
    {
        Program(0, 3, 1000);
        Assert.That(_irq.Level);
        _pit.Reset();
        Assert.That(_irq.Level, Is.False);
        _clock.Advance(10_000_000);
        Assert.That(_irq.Level, Is.False);
    }

    [Test]
    public void Snapshot_GoesOn()
    {
        Program(0, 2, 11932);
        _ports.Write(0x61, 1, 3);
        _clock.Advance(5_000_000);
        var state = _pit.Capture();
        var clock = new ManualVmClock();
        clock.Advance(77);
        var line = new RecordingLine();
        using var other = new Pit8254(clock, line);
        other.Restore(state);
        Assert.That(line.RisingEdges, Is.Zero);
        Assert.That(other.Capture(), Is.EqualTo(state));
        clock.Advance(5_010_000);
        Assert.That(line.RisingEdges, Is.EqualTo(1));
    }
}
