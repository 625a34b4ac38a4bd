using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Chipset;

namespace Vmm.Devices.Tests.Chipset;

internal sealed class ChipsetPortTests
{
    private static readonly MachineRequest Reset = new(MachineRequestKind.Reset);

    private Bus _ports = null!;
    private RecordingControl _control = null!;

    [SetUp]
    public void MakeBus() => (_ports, _control) = (Bus.CreatePortBus(), new RecordingControl());

    [Test]
    public void FastResetIsAnEdge()
    {
        new SystemControlPortA(_control).Map(_ports);
        Assert.That(_ports.Read(0x92, 1), Is.EqualTo(0x02), "A20 is open");
        _ports.Write(0x92, 1, 0x00);
        Assert.That(_ports.Read(0x92, 1), Is.Zero);
        Assert.That(_control.Requests, Is.Empty);
        _ports.Write(0x92, 1, 0x03);
        _ports.Write(0x92, 1, 0x03);
        Assert.That(_control.Requests, Is.EqualTo(new[] { Reset }));
    }

    [TestCase(0x06)]
    [TestCase(0x04)]
    [TestCase(0x0E)]
    public void ResetControlResets(byte value)
    {
        new ResetControlPort(_control).Map(_ports);
        _ports.Write(0xCF9, 1, (byte)(value & ~0x04));
        Assert.That(_control.Requests, Is.Empty);
        _ports.Write(0xCF9, 1, value);
        Assert.That(_control.Requests, Is.EqualTo(new[] { Reset }));
        Assert.That(_ports.Read(0xCF9, 1), Is.EqualTo(value));
        _ports.Write(0xCF9, 1, value);
        Assert.That(_control.Requests, Has.Count.EqualTo(1), "RCPU must go from 0 to 1");
    }

    [Test]
    public void ResetControlHandsOnWhatIsTheBridges()
    {
        var bridge = new RecordingDevice();
        new ResetControlPort(_control, bridge).Map(_ports, 8);
        _ports.Write(0xCF8, 4, 0x80000600);
        _ports.Write(0xCFD, 1, 6);
        _ports.Read(0xCFC, 2);
        _ports.Write(0xCF8, 2, 1);
        _ports.Write(0xCF9, 1, 2);
        Assert.That(bridge.Log, Is.EqualTo(new[] { "W0.4=80000600", "W5.1=6", "R4.2", "W0.2=1" }));
        Assert.That(_control.Requests, Is.Empty, "CONFIG_ADDRESS bits do not reset");
        Assert.That(_ports.Read(0xCF8, 4), Is.EqualTo(0x12345678));
    }

    [Test]
    public void ResetControlAloneReadsOnesElsewhere()
    {
        new ResetControlPort(_control).Map(_ports);
        Assert.That(_ports.Read(0xCF8, 4), Is.EqualTo(0xFFFFFFFF));
    }

    [Test]
    public void PostCodeReadsBack()
    {
        var post = new PostCodePort();
        post.Map(_ports);
        _ports.Write(0x80, 1, 0xA7);
        Assert.That((_ports.Read(0x80, 1), post.LastCode), Is.EqualTo((0xA7UL, (byte)0xA7)));
    }

    [Test]
    public void DmaChannelRegistersGoThroughTheFlipFlop()
    {
        new DmaControllers().Map(_ports);
        foreach (var (first, step) in new[] { (0x00UL, 1UL), (0xC0UL, 2UL) })
        {
            _ports.Write(first + 12 * step, 1, 0);
            for (ulong r = 0; r < 8; r++)
            {
                _ports.Write(first + r * step, 1, 0x30 + r);
                _ports.Write(first + r * step, 1, 0x40 + r);
            }
            for (ulong r = 0; r < 8; r++)
            {
                Assert.That(_ports.Read(first + r * step, 1), Is.EqualTo(0x30 + r));
                Assert.That(_ports.Read(first + r * step, 1), Is.EqualTo(0x40 + r));
            }
            _ports.Read(first, 1);
            _ports.Write(first + 12 * step, 1, 0);
            Assert.That(_ports.Read(first, 1), Is.EqualTo(0x30), "clearing the flip-flop");
        }
    }

    [Test]
    public void DmaMasksAndRequests()
    {
        new DmaControllers().Map(_ports);
        Assert.That(_ports.Read(0x0F, 1), Is.EqualTo(0xFF), "all masked after reset");
        _ports.Write(0x0E, 1, 0);
        Assert.That(_ports.Read(0x0F, 1), Is.EqualTo(0xF0));
        _ports.Write(0x0A, 1, 0x06);
        Assert.That(_ports.Read(0x0F, 1), Is.EqualTo(0xF4));
        _ports.Write(0x0F, 1, 0x0B);
        Assert.That(_ports.Read(0x0F, 1), Is.EqualTo(0xFB));
        _ports.Write(0x09, 1, 0x05);
        Assert.That(_ports.Read(0x08, 1), Is.EqualTo(0x20), "a software request shows in the status");
        _ports.Write(0x0D, 1, 0);
        Assert.That((_ports.Read(0x08, 1), _ports.Read(0x0F, 1)), Is.EqualTo((0UL, 0xFFUL)), "master clear");
    }

    [Test]
    public void DmaPagesAreRegisters()
    {
        new DmaControllers().Map(_ports);
        for (ulong p = 0x81; p <= 0x8F; p++)
            _ports.Write(p, 1, p ^ 0xFF);
        for (ulong p = 0x81; p <= 0x8F; p++)
            Assert.That(_ports.Read(p, 1), Is.EqualTo(p ^ 0xFF));
    }

    [Test]
    public void DmaSnapshot()
    {
        var dma = new DmaControllers();
        dma.Map(_ports);
        _ports.Write(0x02, 1, 0x55);
        _ports.Write(0x87, 1, 0x12);
        var copy = new DmaControllers();
        copy.Restore(dma.Capture());
        var ports = Bus.CreatePortBus();
        copy.Map(ports);
        _ports.Write(0x02, 1, 0x66);
        Assert.That(ports.Read(0x02, 1), Is.Zero, "the flip-flop stood at the high byte");
        Assert.That((ports.Read(0x02, 1), ports.Read(0x87, 1)), Is.EqualTo((0x55UL, 0x12UL)));
        var bad = dma.Capture() with { Pages = [] };
        Assert.That(() => copy.Restore(bad), Throws.InstanceOf<InvalidDataException>());
    }

    private sealed class RecordingDevice : IBusDevice
    {
        public List<string> Log { get; } = [];

        public ulong Read(ulong offset, int size)
        {
            Log.Add($"R{offset}.{size}");
            return 0x12345678;
        }

        public void Write(ulong offset, int size, ulong value) => Log.Add($"W{offset}.{size}={value:x}");
    }
}
