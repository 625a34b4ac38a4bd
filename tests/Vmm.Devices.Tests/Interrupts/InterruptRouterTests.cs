using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

[TestFixture]
internal sealed class InterruptRouterTests
{
    private PcInterruptControllers _pc = null!;

    [SetUp]
    public void SetUp() => _pc = new PcInterruptControllers();

    private uint Pins => _pc.IoApic.Capture().Lines;

    private int PicInputs => _pc.Pic.Capture().Master.Lines | _pc.Pic.Capture().Slave.Lines << 8;

    [Test]
    public void IsaLines_DriveBothControllers()
    {
        for (int irq = 0; irq < 16; irq++)
        {
            if (irq == 2)
                continue;
            var line = _pc.Router.CreateIsaLine(irq);
            line.SetLevel(true);
            // INTR of the 8259s is on pin 0, and their cascade on input 2.
            Assert.That(Pins & ~1u, Is.EqualTo(irq == 0 ? 4u : 1u << irq));
            Assert.That(PicInputs & ~4, Is.EqualTo(1 << irq));
            line.SetLevel(false);
            Assert.That(Pins & ~1u, Is.Zero);
            Assert.That(PicInputs & ~4, Is.Zero);
        }
        Assert.That(() => _pc.Router.CreateIsaLine(2), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void PciLines_DriveTheIoApic_AndARoutedIsaRequest()
    {
        var line = _pc.Router.CreateLine(18);
        line.SetLevel(true);
        Assert.That(Pins, Is.EqualTo(1u << 18));
        Assert.That(PicInputs, Is.Zero);
        _pc.Router.RoutePci(18, 10);
        Assert.That(PicInputs & ~4, Is.EqualTo(1 << 10));
        var isa = _pc.Router.CreateIsaLine(10);
        isa.SetLevel(true);
        line.SetLevel(false);
        Assert.That(PicInputs & ~4, Is.EqualTo(1 << 10), "the other user holds it");
        isa.SetLevel(false);
        Assert.That(PicInputs & ~4, Is.Zero);
        line.SetLevel(true);
        _pc.Router.RoutePci(18, 11);
        Assert.That(PicInputs & ~4, Is.EqualTo(1 << 11));
        _pc.Router.RoutePci(18, null);
        Assert.That(PicInputs & ~4, Is.Zero);
    }

    [Test]
    public void SharedLine_IsTheOrOfItsUsers()
    {
        var first = _pc.Router.CreateLine(20);
        var second = _pc.Router.CreateLine(20);
        first.SetLevel(true);
        first.SetLevel(true);
        second.SetLevel(true);
        first.SetLevel(false);
        Assert.That(Pins, Is.EqualTo(1u << 20));
        second.SetLevel(false);
        Assert.That(Pins, Is.Zero);
    }

    [Test]
    public void RacingUsers_LeaveTheLineRight()
    {
        var lines = Enumerable.Range(0, 3).Select(_ => _pc.Router.CreateLine(19)).ToArray();
        Parallel.ForEach(lines, line =>
        {
            for (int i = 0; i < 20_000; i++)
                line.SetLevel((i & 1) == 0);
        });
        Assert.That(Pins, Is.Zero);
        lines[1].SetLevel(true);
        Assert.That(Pins, Is.EqualTo(1u << 19));
    }

    [Test]
    public void Gate_CutsAndReconnects()
    {
        var wire = new RecordingLine();
        var gate = new GatedInterruptLine(wire);
        gate.SetLevel(true);
        gate.Connected = false;
        Assert.That(wire.Level, Is.False);
        gate.SetLevel(false);
        gate.SetLevel(true);
        Assert.That(wire.RisingEdges, Is.EqualTo(1));
        gate.Connected = true;
        Assert.That(wire.Level);
    }

    [Test]
    public void Snapshot_LetsALineFallAgain()
    {
        var first = _pc.Router.CreateLine(17);
        var second = _pc.Router.CreateIsaLine(5);
        _pc.Router.RoutePci(17, 5);
        first.SetLevel(true);
        second.SetLevel(true);
        var other = new PcInterruptControllers();
        var otherFirst = other.Router.CreateLine(17);
        var otherSecond = other.Router.CreateIsaLine(5);
        other.Router.Restore(_pc.Router.Capture());
        other.IoApic.Restore(_pc.IoApic.Capture());
        other.Pic.Restore(_pc.Pic.Capture());
        Assert.That(other.Router.Capture().Lines, Is.EqualTo(new[] { true, true }));
        otherFirst.SetLevel(false);
        Assert.That(other.IoApic.Capture().Lines & ~1u, Is.EqualTo(1u << 5));
        Assert.That(other.Pic.Capture().Master.Lines, Is.EqualTo(1 << 5));
        otherSecond.SetLevel(false);
        Assert.That(other.IoApic.Capture().Lines & ~1u, Is.Zero);
        Assert.That(other.Pic.Capture().Master.Lines, Is.Zero);
        other.Router.CreateLine(17);
        Assert.That(() => other.Router.Restore(_pc.Router.Capture()), Throws.InstanceOf<InvalidDataException>());
    }
}
