using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>The wired controllers of a PC, from a device's line to the processor.</summary>
[TestFixture]
internal sealed class PcInterruptControllersTests
{
    private readonly ManualVmClock _clock = new();
    private PcInterruptControllers _pc = null!;
    private LocalApic _bsp = null!;
    private RecordingSignals _signals = null!;
    private Bus _ports = null!;
    private Bus _mmio = null!;

    [SetUp]
    public void SetUp()
    {
        _pc = new PcInterruptControllers();
        _bsp = new LocalApic(_pc.Apics, 0, bootstrap: true, _clock, 1_000_000_000);
        _signals = new RecordingSignals();
        _bsp.Attach(_signals);
        _ports = Bus.CreatePortBus();
        _mmio = Bus.CreateMmioBus();
        _pc.Map(_ports, _mmio);
    }

    private void InitializePics(byte mask = 0)
    {
        foreach (var (port, value) in new (ulong, byte)[]
                 {
                     (0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, 0x01), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 0x02), (0xA1, 0x01),
                     (0x21, mask), (0xA1, mask),
                 })
            _ports.Write(port, 1, value);
    }

    private void WriteRedirection(int pin, ulong entry)
    {
        _mmio.Write(IoApic.DefaultBase, 4, (ulong)(0x10 + 2 * pin + 1));
        _mmio.Write(IoApic.DefaultBase + 0x10, 4, entry >> 32);
        _mmio.Write(IoApic.DefaultBase, 4, (ulong)(0x10 + 2 * pin));
        _mmio.Write(IoApic.DefaultBase + 0x10, 4, (uint)entry);
    }

    [Test]
    public void VirtualWire_CarriesThe8259sInterrupt()
    {
        InitializePics();
        _bsp.ConfigureVirtualWire();
        var line = _pc.Router.CreateIsaLine(4);
        line.SetLevel(true);
        Assert.That(_bsp.InterruptPending);
        Assert.That(_signals.Requests, Is.EqualTo(1));
        Assert.That(_bsp.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x24));
        Assert.That(_bsp.InterruptPending, Is.False);
    }

    [Test]
    public void MaskedLint0_HoldsThe8259sBack()
    {
        InitializePics();
        _pc.Router.CreateIsaLine(4).SetLevel(true);
        Assert.That(_bsp.InterruptPending, Is.False);
        _bsp.WritePage(0xF0, 4, 0x1FF);
        _bsp.WritePage(0x350, 4, 0x700);
        Assert.That(_bsp.InterruptPending);
    }

    [Test]
    public void DisabledApic_MakesLint0TheInterruptPin()
    {
        InitializePics();
        Assert.That(_bsp.TryWriteMsr(0x1B, LocalApic.DefaultBase));
        _pc.Router.CreateIsaLine(8).SetLevel(true);
        Assert.That(_bsp.InterruptPending);
        Assert.That(_bsp.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x28));
    }

    [Test]
    public void TimerInterrupt_ComesOnPin2()
    {
        _bsp.WritePage(0xF0, 4, 0x1FF);
        WriteRedirection(2, 0x30);
        var pit = new Pit8254(_clock, _pc.Router.CreateIsaLine(0));
        pit.Map(_ports);
        _ports.Write(0x43, 1, 0x34);
        _ports.Write(0x40, 1, 0xA9);
        _ports.Write(0x40, 1, 0x04);
        for (int i = 0; i < 100; i++)
        {
            _clock.Advance(1_000_200);
            Assert.That(_bsp.TryAcknowledge(out byte vector), $"tick {i}");
            Assert.That(vector, Is.EqualTo(0x30));
            _bsp.WritePage(0xB0, 4, 0);
        }
    }

    [Test]
    public void LevelInterrupt_RepeatsUntilTheLineFalls()
    {
        _bsp.WritePage(0xF0, 4, 0x1FF);
        WriteRedirection(17, 0x8000 | 0x41);
        var first = _pc.Router.CreateLine(17);
        var second = _pc.Router.CreateLine(17);
        first.SetLevel(true);
        second.SetLevel(true);
        for (int i = 0; i < 3; i++)
        {
            Assert.That(_bsp.TryAcknowledge(out byte vector));
            Assert.That(vector, Is.EqualTo(0x41));
            Assert.That(_bsp.InterruptPending, Is.False);
            if (i == 1)
                first.SetLevel(false);
            if (i == 2)
                second.SetLevel(false);
            _bsp.WritePage(0xB0, 4, 0);
        }
        Assert.That(_bsp.InterruptPending, Is.False);
    }
}
