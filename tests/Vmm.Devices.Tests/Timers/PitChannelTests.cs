using System.Text;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

/// <summary>A counter of the 8254 against the timing diagrams of its datasheet (231164, figures 15 to 20).</summary>
[TestFixture]
internal sealed class PitChannelTests
{
    private PitChannel _channel = null!;
    private long _now;

    [SetUp]
    public void SetUp()
    {
        _channel = new PitChannel();
        _channel.Reset(gate: true);
        _now = 100;
    }

    // Control word with low byte then high byte, and a count.
    private void Program(int mode, int count, bool bcd = false)
    {
        _channel.WriteControl((byte)(0x30 | mode << 1 | (bcd ? 1 : 0)), _now);
        Load(count);
    }

    private void Load(int count)
    {
        _channel.Write((byte)count, _now);
        _channel.Write((byte)(count >> 8), _now);
    }

    private int ReadCount()
    {
        _channel.LatchCount(_now);
        return _channel.Read(_now) | _channel.Read(_now) << 8;
    }

    // OUT at each of the next clocks, "H" or "L", and the count as it reads.
    private string Outputs(int clocks)
    {
        var text = new StringBuilder();
        for (int i = 0; i < clocks; i++)
        {
            _now++;
            text.Append(_channel.Output(_now) ? 'H' : 'L');
        }
        return text.ToString();
    }

    private int[] Counts(int clocks)
    {
        var counts = new int[clocks];
        for (int i = 0; i < clocks; i++)
        {
            _now++;
            counts[i] = ReadCount();
        }
        return counts;
    }

    [Test]
    public void Mode0_RaisesOutOnceAtTerminalCount()
    {
        Program(0, 4);
        Assert.That(Outputs(8), Is.EqualTo("LLLLHHHH"));
        Program(0, 4);
        Assert.That(Counts(7), Is.EqualTo(new[] { 4, 3, 2, 1, 0, 0xFFFF, 0xFFFE }));
    }

    [Test]
    public void Mode0_GateHoldsTheCount()
    {
        Program(0, 4);
        Assert.That(Outputs(2), Is.EqualTo("LL"));
        _channel.SetGate(false, _now);
        Assert.That(Counts(3), Is.EqualTo(new[] { 3, 3, 3 }));
        _channel.SetGate(true, _now);
        Assert.That(Counts(3), Is.EqualTo(new[] { 2, 1, 0 }));
        Assert.That(_channel.Output(_now));
    }

    [Test]
    public void Mode0_NewCountRestarts_AndItsFirstByteStops()
    {
        Program(0, 2);
        Assert.That(Outputs(4), Is.EqualTo("LLHH"));
        _channel.Write(3, _now);
        Assert.That(Outputs(4), Is.EqualTo("LLLL"));
        _channel.Write(0, _now);
        Assert.That(Outputs(5), Is.EqualTo("LLLHH"));
    }

    [Test]
    public void Mode1_IsARetriggerableOneShot()
    {
        _channel.SetGate(false, _now);
        Program(1, 3);
        Assert.That(Outputs(3), Is.EqualTo("HHH"), "waits for the trigger");
        _channel.SetGate(true, _now);
        Assert.That(Outputs(5), Is.EqualTo("LLLHH"));
        _channel.SetGate(false, _now);
        _channel.SetGate(true, _now);
        Assert.That(Outputs(2), Is.EqualTo("LL"));
        _channel.SetGate(false, _now);
        _channel.SetGate(true, _now);
        Assert.That(Outputs(5), Is.EqualTo("LLLHH"), "retriggered");
        Load(2);
        _channel.SetGate(false, _now);
        _channel.SetGate(true, _now);
        Assert.That(Outputs(4), Is.EqualTo("LLHH"), "a new count from the next trigger on");
    }

    [Test]
    public void Mode2_IsLowForOneClockAPeriod()
    {
        Program(2, 3);
        Assert.That(Outputs(7), Is.EqualTo("HHLHHLH"));
        Program(2, 3);
        Assert.That(Counts(7), Is.EqualTo(new[] { 3, 2, 1, 3, 2, 1, 3 }));
    }

    [Test]
    public void Mode2_GateForcesHighAndReloads()
    {
        Program(2, 3);
        Assert.That(Outputs(3), Is.EqualTo("HHL"));
        _channel.SetGate(false, _now);
        Assert.That(_channel.Output(_now), "at once");
        Assert.That(Outputs(4), Is.EqualTo("HHHH"));
        _channel.SetGate(true, _now);
        Assert.That(Outputs(6), Is.EqualTo("HHLHHL"));
    }

    [Test]
    public void Mode2_NewCountWaitsForTheEndOfThePeriod()
    {
        Program(2, 4);
        Assert.That(Outputs(2), Is.EqualTo("HH"));
        Load(5);
        Assert.That(Outputs(7), Is.EqualTo("HLHHHHL"));
    }

    [Test]
    public void Mode3_HalvesEvenCounts_AndGivesOddOnesTheLongerHigh()
    {
        Program(3, 4);
        Assert.That(Outputs(8), Is.EqualTo("HHLLHHLL"));
        Program(3, 4);
        Assert.That(Counts(5), Is.EqualTo(new[] { 4, 2, 4, 2, 4 }));
        Program(3, 5);
        Assert.That(Outputs(10), Is.EqualTo("HHHLLHHHLL"));
        Program(3, 5);
        Assert.That(Counts(6), Is.EqualTo(new[] { 4, 2, 0, 4, 2, 4 }));
    }

    [Test]
    public void Mode3_NewCountWaitsForTheEndOfTheHalf()
    {
        Program(3, 8);
        Assert.That(Outputs(2), Is.EqualTo("HH"));
        Load(4);
        Assert.That(_channel.NextRise(_now), Is.EqualTo(_now + 5));
        Assert.That(Outputs(8), Is.EqualTo("HHLLHHLL"));
        Load(8);
        Assert.That(Outputs(8), Is.EqualTo("HHHHLLLL"));
    }

    [Test]
    public void Mode4_StrobesLowForOneClock()
    {
        Program(4, 3);
        Assert.That(Outputs(7), Is.EqualTo("HHHLHHH"));
        Load(1);
        Assert.That(Outputs(4), Is.EqualTo("HLHH"));
    }

    [Test]
    public void Mode5_StrobesAfterATrigger()
    {
        _channel.SetGate(false, _now);
        Program(5, 3);
        Assert.That(Outputs(5), Is.EqualTo("HHHHH"));
        _channel.SetGate(true, _now);
        Assert.That(Outputs(6), Is.EqualTo("HHHLHH"));
    }

    [Test]
    public void ModesSixAndSeven_AreTwoAndThree()
    {
        _channel.WriteControl(0x3C, _now);
        Assert.That(_channel.Mode, Is.EqualTo(2));
        _channel.WriteControl(0x3E, _now);
        Assert.That(_channel.Mode, Is.EqualTo(3));
    }

    [Test]
    public void Bcd_CountsInDecimal()
    {
        Program(2, 0x1000, bcd: true);
        _now += 2;
        Assert.That(ReadCount(), Is.EqualTo(0x0999));
        Program(0, 0, bcd: true);
        _now += 2;
        Assert.That(ReadCount(), Is.EqualTo(0x9999), "zero is 10,000");
    }

    [Test]
    public void ZeroCount_Is65536()
    {
        Program(0, 0);
        _now += 0x10000;
        Assert.That(_channel.Output(_now), Is.False);
        _now++;
        Assert.That(_channel.Output(_now));
    }

    [Test]
    public void LatchedCount_IsHeldUntilRead_AndAgainOnlyThen()
    {
        Program(2, 1000);
        _now += 101;
        _channel.LatchCount(_now);
        _now += 50;
        _channel.LatchCount(_now);
        Assert.That(_channel.Read(_now) | _channel.Read(_now) << 8, Is.EqualTo(900));
        Assert.That(_channel.Read(_now) | _channel.Read(_now) << 8, Is.EqualTo(850));
    }

    [Test]
    public void SingleByteAccess()
    {
        _channel.WriteControl(0x14, _now);
        _channel.Write(100, _now);
        _now += 11;
        Assert.That(_channel.Read(_now), Is.EqualTo(90));
        _channel.WriteControl(0x24, _now);
        _channel.Write(2, _now);
        _now += 1 + 0x80;
        Assert.That(_channel.Read(_now), Is.EqualTo(1));
    }

    [Test]
    public void Status_TellsOutNullCountAndMode()
    {
        _channel.WriteControl(0x34, _now);
        _channel.LatchStatus(_now);
        Assert.That(_channel.Read(_now), Is.EqualTo(0x80 | 0x40 | 0x34));
        Load(100);
        _channel.LatchStatus(_now);
        Assert.That(_channel.Read(_now), Is.EqualTo(0x80 | 0x40 | 0x34), "not loaded before the next clock");
        _now += 1;
        _channel.LatchStatus(_now);
        _channel.LatchCount(_now);
        Assert.That(_channel.Read(_now), Is.EqualTo(0x80 | 0x34), "status comes before the count");
        Assert.That(_channel.Read(_now) | _channel.Read(_now) << 8, Is.EqualTo(100));
        Load(50);
        _channel.LatchStatus(_now);
        Assert.That(_channel.Read(_now), Is.EqualTo(0xF4), "a count waits");
    }

    [Test]
    public void NextRise_IsWhereOutRises([Range(0, 5)] int mode, [Values(2, 3, 7, 100)] int count, [Values] bool late)
    {
        _channel.SetGate(false, _now);
        Program(mode, count);
        _channel.SetGate(true, _now);
        if (late)
        {
            _now += count / 2 + 1;
            Load(count + 3);
        }
        for (int edge = 0; edge < 5; edge++)
        {
            long next = _channel.NextRise(_now);
            bool before = _channel.Output(_now);
            for (int i = 0; i < 4 * count + 20 && _now < next; i++)
            {
                _now++;
                bool output = _channel.Output(_now);
                if (output && !before)
                    break;
                before = output;
            }
            if (next == PitChannel.Never)
                break;
            Assert.That(_now, Is.EqualTo(next), $"edge {edge}");
            Assert.That(_channel.Output(_now));
        }
    }

    [Test]
    public void State_ComesBackAtAnotherTime([Range(0, 5)] int mode)
    {
        _channel.SetGate(false, _now);
        Program(mode, 10);
        _channel.SetGate(true, _now);
        _now += 3;
        Load(6);
        _now += 2;
        var state = _channel.Capture(_now);
        var other = new PitChannel();
        other.Restore(state, _now + 1_000_000);
        for (int i = 0; i < 40; i++)
            Assert.That(other.Output(_now + 1_000_000 + i), Is.EqualTo(_channel.Output(_now + i)), $"clock {i}");
        Assert.That(() => other.Restore(state with { Count = 0, Running = true }, 0), Throws.InstanceOf<InvalidDataException>());
    }
}
