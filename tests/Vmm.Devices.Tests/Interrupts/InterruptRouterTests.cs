using Vmm.Core.Interrupts;
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
        Assert.That(wire.Rises, Is.EqualTo(1));
        gate.Connected = true;
        Assert.That(wire.Level);
    }

    [Test]
    public void Output_EndsAtTheLevelSetLast()
    {
        var wire = new RecordingLine();
        var output = new InterruptOutput(wire);
        var gate = new Lock();
        int level = 0;
        Parallel.For(0, 4, worker =>
        {
            for (int i = 0; i < 20_000; i++)
            {
                lock (gate)
                    output.Set((++level & 1) != 0);
                output.Flush();
            }
        });
        Assert.That(wire.Level, Is.EqualTo((level & 1) != 0));
        lock (gate)
            output.Set(true);
        output.Flush();
        Assert.That(wire.Level);
        int rises = wire.Rises;
        output.RaiseEdge();
        output.Flush();
        Assert.That(wire.Rises, Is.EqualTo(rises + 1));
        Assert.That(wire.Level);
    }
}
