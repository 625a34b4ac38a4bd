using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>The 8259A against its datasheet (231468).</summary>
[TestFixture]
internal sealed class Pic8259Tests
{
    private Pic8259 _chip = null!;

    [SetUp]
    public void SetUp()
    {
        _chip = new Pic8259(isMaster: true, levelMask: 0xFF);
        Initialize(0x01);
    }

    private void Initialize(byte icw4, byte icw1 = 0x11)
    {
        _chip.Write(false, icw1);
        _chip.Write(true, 0x47);
        if ((icw1 & 2) == 0)
            _chip.Write(true, 0x04);
        if ((icw1 & 1) != 0)
            _chip.Write(true, icw4);
    }

    private void Pulse(int input)
    {
        _chip.SetInput(input, true);
        _chip.SetInput(input, false);
    }

    private int Acknowledge()
    {
        Assert.That(_chip.Output, "INT");
        byte vector = _chip.Acknowledge(out int input, out bool spurious);
        Assert.That(spurious, Is.False);
        Assert.That(vector, Is.EqualTo(0x40 + input));
        return input;
    }

    private byte ReadRequests()
    {
        _chip.Write(false, 0x0A);
        return _chip.Read(false);
    }

    private byte ReadInService()
    {
        _chip.Write(false, 0x0B);
        return _chip.Read(false);
    }

    [Test]
    public void FixedPriority_NestsHigherRequestsOnly()
    {
        Pulse(4);
        Assert.That(Acknowledge(), Is.EqualTo(4));
        Pulse(5);
        Assert.That(_chip.Output, Is.False);
        Pulse(3);
        Assert.That(Acknowledge(), Is.EqualTo(3));
        Assert.That(ReadInService(), Is.EqualTo(0x18));
        Assert.That(ReadRequests(), Is.EqualTo(0x20));
        _chip.Write(false, 0x20);
        Assert.That(ReadInService(), Is.EqualTo(0x10), "non-specific EOI ends the highest");
        _chip.Write(false, 0x64);
        Assert.That(Acknowledge(), Is.EqualTo(5));
    }

    [Test]
    public void EdgeMode_TakesOneRequestARisingEdge()
    {
        _chip.SetInput(1, true);
        Acknowledge();
        _chip.Write(false, 0x20);
        Assert.That(_chip.Output, Is.False, "held high is no new edge");
        _chip.SetInput(1, false);
        _chip.SetInput(1, true);
        Assert.That(_chip.Output);
    }

    [Test]
    public void LevelInput_RequestsWhileHigh()
    {
        _chip.EdgeLevelControl = 0x20;
        _chip.SetInput(5, true);
        Acknowledge();
        _chip.Write(false, 0x20);
        Assert.That(_chip.Output, "still high");
        _chip.SetInput(5, false);
        Assert.That(_chip.Output, Is.False);
        Assert.That(ReadRequests(), Is.Zero);
    }

    [Test]
    public void Icw1LevelMode_MakesAllInputsLevel()
    {
        Initialize(0x01, 0x19);
        _chip.SetInput(0, true);
        Acknowledge();
        _chip.Write(false, 0x20);
        Assert.That(_chip.Output);
    }

    [Test]
    public void Mask_HoldsRequestsWithoutForgettingThem()
    {
        _chip.Write(true, 0x10);
        Pulse(4);
        Assert.That(_chip.Output, Is.False);
        Assert.That(_chip.Read(true), Is.EqualTo(0x10));
        _chip.Write(true, 0);
        Assert.That(Acknowledge(), Is.EqualTo(4));
    }

    [Test]
    public void Initialization_ClearsEdgesMaskAndPriorities()
    {
        Pulse(3);
        _chip.Write(true, 0xFF);
        _chip.Write(false, 0xC3);
        _chip.Write(false, 0x68);
        _chip.Write(false, 0x0B);
        Initialize(0x01);
        Assert.That(_chip.Output, Is.False);
        Assert.That(_chip.Read(true), Is.Zero);
        Assert.That(_chip.Read(false), Is.Zero);
        Pulse(7);
        Pulse(0);
        Assert.That(_chip.Read(false), Is.EqualTo(0x81), "status read is IRR again");
        Assert.That(Acknowledge(), Is.Zero);
    }

    [Test]
    public void DuringInitialization_NothingIsSignalled()
    {
        _chip.Write(false, 0x11);
        Pulse(1);
        Assert.That(_chip.Output, Is.False);
        _chip.Write(true, 0x40);
        _chip.Write(true, 0x04);
        Assert.That(_chip.Output, Is.False);
        _chip.Write(true, 0x01);
        Assert.That(_chip.Output);
    }

    [Test]
    public void SingleModeWithoutIcw4_NeedsTwoWords()
    {
        Initialize(0, 0x12);
        _chip.Write(true, 0xFE);
        Assert.That(_chip.Read(true), Is.EqualTo(0xFE), "the next word is the mask");
    }

    [Test]
    public void SpuriousInterrupt_IsInput7WithNothingInService()
    {
        byte vector = _chip.Acknowledge(out int input, out bool spurious);
        Assert.That(spurious);
        Assert.That(input, Is.EqualTo(7));
        Assert.That(vector, Is.EqualTo(0x47));
        Assert.That(ReadInService(), Is.Zero);
    }

    [Test]
    public void AutomaticEoi_LeavesNothingInService()
    {
        Initialize(0x03);
        Pulse(2);
        Pulse(6);
        Assert.That(Acknowledge(), Is.EqualTo(2));
        Assert.That(ReadInService(), Is.Zero);
        Assert.That(Acknowledge(), Is.EqualTo(6));
    }

    [Test]
    public void RotationInAutomaticEoi_GivesTheServedLowestPriority()
    {
        Initialize(0x03);
        _chip.Write(false, 0x80);
        Pulse(2);
        Assert.That(Acknowledge(), Is.EqualTo(2));
        Pulse(2);
        Pulse(3);
        Assert.That(Acknowledge(), Is.EqualTo(3));
        _chip.Write(false, 0x00);
        Assert.That(Acknowledge(), Is.EqualTo(2));
        Pulse(3);
        Pulse(4);
        Assert.That(Acknowledge(), Is.EqualTo(4), "rotation is off: 3 stays lowest");
    }

    [Test]
    public void RotateOnNonSpecificEoi()
    {
        // The datasheet's example: 4 in service is the highest and becomes the lowest.
        Pulse(4);
        Pulse(6);
        Acknowledge();
        _chip.Write(false, 0xA0);
        Pulse(4);
        Pulse(5);
        Assert.That(Acknowledge(), Is.EqualTo(5));
        Assert.That(_chip.Output, Is.False);
        _chip.Write(false, 0x20);
        Assert.That(Acknowledge(), Is.EqualTo(6));
        _chip.Write(false, 0x20);
        Assert.That(Acknowledge(), Is.EqualTo(4));
    }

    [Test]
    public void SpecificRotation()
    {
        _chip.Write(false, 0xC5);
        Pulse(0);
        Pulse(5);
        Pulse(6);
        Assert.That(Acknowledge(), Is.EqualTo(6));
        _chip.Write(false, 0xE6);
        Pulse(7);
        Assert.That(Acknowledge(), Is.EqualTo(7), "rotate on specific EOI made 6 the lowest");
    }

    [Test]
    public void SpecialMaskMode_LetsLowerRequestsIn()
    {
        Pulse(2);
        Acknowledge();
        _chip.Write(true, 0x04);
        Pulse(5);
        Assert.That(_chip.Output, Is.False);
        _chip.Write(false, 0x68);
        Assert.That(Acknowledge(), Is.EqualTo(5));
        _chip.Write(false, 0x20);
        Assert.That(ReadInService(), Is.EqualTo(0x04), "a non-specific EOI spares what is masked");
        _chip.Write(false, 0x62);
        _chip.Write(false, 0x48);
        Assert.That(ReadInService(), Is.Zero);
    }

    [Test]
    public void SpecialFullyNestedMode_LetsTheSlaveInterruptAgain()
    {
        Initialize(0x11);
        Pulse(2);
        Acknowledge();
        Pulse(2);
        Assert.That(Acknowledge(), Is.EqualTo(2));
        Initialize(0x01);
        Pulse(2);
        Acknowledge();
        Pulse(2);
        Assert.That(_chip.Output, Is.False);
    }

    [Test]
    public void Poll_ActsAsAcknowledge_OnTheNextRead()
    {
        _chip.Write(false, 0x0C);
        Assert.That(_chip.Read(false), Is.Zero);
        Pulse(3);
        _chip.Write(false, 0x0C);
        Assert.That(_chip.Read(false), Is.EqualTo(0x83));
        Assert.That(ReadInService(), Is.EqualTo(0x08));
    }

    [Test]
    public void State_ComesBackWhole()
    {
        Pulse(3);
        Acknowledge();
        Pulse(1);
        _chip.Write(true, 0x80);
        _chip.Write(false, 0x68);
        _chip.EdgeLevelControl = 0x30;
        var state = _chip.Capture();
        var other = new Pic8259(true, 0xFF);
        other.Restore(state);
        Assert.That(other.Capture(), Is.EqualTo(state));
        Assert.That(other.Output);
        Assert.That(() => other.Restore(state with { LowestPriority = 8 }), Throws.InstanceOf<InvalidDataException>());
    }
}
