using Vmm.Core.Buses;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>The pair, over the port bus.</summary>
[TestFixture]
internal sealed class DualPicTests
{
    private RecordingLine _intr = null!;
    private DualPic _pic = null!;
    private Bus _ports = null!;

    [SetUp]
    public void SetUp()
    {
        _intr = new RecordingLine();
        _pic = new DualPic(_intr);
        _ports = Bus.CreatePortBus();
        _pic.Map(_ports);
        foreach (var (port, value) in new (ulong, byte)[]
                 {
                     (0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01),
                 })
            _ports.Write(port, 1, value);
    }

    [Test]
    public void SlaveInterrupt_ComesThroughTheCascade()
    {
        _pic.SetInput(12, true);
        Assert.That(_intr.Level);
        Assert.That(_pic.Intr);
        Assert.That(_pic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x74));
        Assert.That(_intr.Level, Is.False);
        _ports.Write(0x20, 1, 0x0B);
        Assert.That(_ports.Read(0x20, 1), Is.EqualTo(0x04), "the master has its input 2 in service");
        Assert.That(_pic.TryAcknowledge(out _), Is.False);
    }

    [Test]
    public void HigherSlaveRequest_WaitsForTheMastersEoi()
    {
        _pic.SetInput(12, true);
        _pic.TryAcknowledge(out _);
        _pic.SetInput(8, true);
        Assert.That(_intr.Level, Is.False);
        _ports.Write(0x20, 1, 0x20);
        Assert.That(_pic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x70));
    }

    [Test]
    public void TwoSlaveRequests_AreBothServed()
    {
        _pic.SetInput(14, true);
        _pic.SetInput(9, true);
        var vectors = new List<byte>();
        for (int i = 0; i < 2; i++)
        {
            Assert.That(_pic.TryAcknowledge(out byte vector));
            vectors.Add(vector);
            _ports.Write(0xA0, 1, 0x20);
            _ports.Write(0x20, 1, 0x20);
        }
        Assert.That(vectors, Is.EqualTo(new byte[] { 0x71, 0x76 }));
        Assert.That(_pic.Intr, Is.False);
    }

    [Test]
    public void SpuriousRequests_AreIrq7AndIrq15()
    {
        Assert.That(_pic.Acknowledge(), Is.EqualTo(0x0F));
        // The slave's request goes away after it reached the master.
        _ports.Write(0x4D1, 1, 0x10);
        _pic.SetInput(12, true);
        _pic.SetInput(12, false);
        Assert.That(_pic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x77));
        _ports.Write(0xA0, 1, 0x0B);
        Assert.That(_ports.Read(0xA0, 1), Is.Zero);
    }

    [Test]
    public void EdgeLevelControl_KeepsTheEdgeOnlyInputs()
    {
        _ports.Write(0x4D0, 2, 0xFFFF);
        Assert.That(_ports.Read(0x4D0, 2), Is.EqualTo(0xDEF8));
        _pic.Reset();
        Assert.That(_ports.Read(0x4D0, 2), Is.Zero);
    }

    [Test]
    public void CascadeInput_TakesNoDevice()
    {
        _pic.SetInput(2, true);
        Assert.That(_pic.Intr, Is.False);
        Assert.That(() => _pic.SetInput(16, true), Throws.Nothing);
    }

    [Test]
    public void Snapshot_RaisesNoEdge()
    {
        _pic.SetInput(4, true);
        var state = _pic.Capture();
        var line = new RecordingLine();
        var other = new DualPic(line);
        other.Restore(state);
        Assert.That(other.Capture(), Is.EqualTo(state));
        Assert.That(other.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x0C));
    }
}
