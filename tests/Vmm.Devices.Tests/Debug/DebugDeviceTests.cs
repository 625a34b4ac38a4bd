using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Debug;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Debug;

internal sealed class DebugDeviceTests
{
    private Bus _ports = null!;
    private Bus _mmio = null!;
    private RecordingControl _control = null!;

    [SetUp]
    public void MakeBuses() => (_ports, _mmio, _control) = (Bus.CreatePortBus(), Bus.CreateMmioBus(), new RecordingControl());

    [Test]
    public void PvPanicReportsPanics()
    {
        new PvPanic(_control, NullLogger<PvPanic>.Instance).Map(_ports);
        Assert.That(_ports.Read(0x505, 1), Is.EqualTo(3));
        _ports.Write(0x505, 1, 0x02);
        _ports.Write(0x505, 1, 0xFC);
        Assert.That(_control.Requests, Is.Empty, "a crash kernel goes on, unknown events are nothing");
        _ports.Write(0x505, 1, 0x01);
        Assert.That(_control.Requests, Is.EqualTo(new[] { new MachineRequest(MachineRequestKind.GuestPanicked) }));
    }

    [TestCase(0xF4UL, 1, 0x31UL, 0x31u)]
    [TestCase(0xF4UL, 2, 0x1234UL, 0x1234u)]
    [TestCase(0xF4UL, 4, 0x80000001UL, 0x80000001u)]
    public void DebugExitTakesAnySize(ulong port, int size, ulong value, uint code)
    {
        new DebugExit(_control).Map(_ports);
        _ports.Write(port, size, value);
        Assert.That(_control.Requests, Is.EqualTo(new[] { new MachineRequest(MachineRequestKind.DebugExit, code) }));
        Assert.That(_ports.Read(port, size), Is.Zero);
    }

    [Test]
    public void DebugConsoleWritesAndIsFound()
    {
        using var backend = new MemoryCharacterBackend();
        new DebugConsole(backend).Map(_ports);
        Assert.That((_ports.Read(0xE9, 1), _ports.Read(0x402, 1)), Is.EqualTo((0xE9UL, 0xE9UL)));
        _ports.Write(0xE9, 1, 'o');
        _ports.Write(0x402, 1, 'k');
        byte[] buffer = new byte[2];
        backend.Console.ReadExactly(buffer);
        Assert.That(Encoding.ASCII.GetString(buffer), Is.EqualTo("ok"));
    }

    [Test]
    public void TestDevicePortsKeepWhatIsWritten()
    {
        new PcTestDevice([]).Map(_ports, _mmio);
        _ports.Write(0xE0, 4, 0x12345678);
        Assert.That(_ports.Read(0xE0, 4), Is.EqualTo(0x12345678));
        Assert.That(_ports.Read(0xE0, 2), Is.EqualTo(0x5678));
        Assert.That(_ports.Read(0xE0, 1), Is.EqualTo(0x78));
        Assert.That(_ports.Read(0xE2, 2), Is.EqualTo(0x1234));
        _ports.Write(0xE1, 1, 0xAA);
        Assert.That(_ports.Read(0xE0, 4), Is.EqualTo(0x1234AA78));
        Assert.That(_ports.Read(0xE8, 4), Is.EqualTo(0x1234AA78), "the same data byte by byte");
        _ports.Write(0xE8, 1, 0x11);
        Assert.That(_ports.Read(0xE0, 1), Is.EqualTo(0x11));
        _ports.Write(0xE4, 4, 0x1000);
        Assert.That(_ports.Read(0xE4, 4), Is.Zero);
    }

    [Test]
    public void TestDeviceDrivesInterruptLines()
    {
        RecordingLine[] lines = [.. Enumerable.Range(0, 20).Select(_ => new RecordingLine())];
        new PcTestDevice(lines).Map(_ports, _mmio);
        _ports.Write(0x2005, 1, 1);
        Assert.That(lines.Select(l => l.Level), Is.EqualTo(lines.Select((_, i) => i == 5)));
        _ports.Write(0x2005, 1, 0);
        _ports.Write(0x2017, 1, 1);
        Assert.That(lines.Select(l => l.Level), Is.All.False, "a line that the machine lacks is nothing");
    }

    [Test]
    public void TestDeviceMemory()
    {
        new PcTestDevice(Array.Empty<IInterruptLine>()).Map(_ports, _mmio);
        _mmio.Write(0xFF000000, 8, 0x1122334455667788);
        _mmio.Write(0xFF00FFFC, 4, 0xCAFEBABE);
        Assert.That(_mmio.Read(0xFF000003, 2), Is.EqualTo(0x4455));
        Assert.That(_mmio.Read(0xFF00FFFE, 4), Is.EqualTo(0xFFFFCAFE), "the end of the range");
    }

    [Test]
    public void TheDebugConsoleKeepsItsPortBesideTheTestDevice()
    {
        using var backend = new MemoryCharacterBackend();
        new PcTestDevice([]).Map(_ports, _mmio);
        new DebugConsole(backend).Map(_ports);
        Assert.That(_ports.Read(0xE9, 1), Is.EqualTo(0xE9));
    }
}
