using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;
using Vmm.Devices.Acpi;

namespace Vmm.Devices.Tests.Acpi;

/// <summary>The fixed hardware against ACPI 6.5, 4.8.</summary>
[TestFixture]
internal sealed class AcpiPmTests
{
    private ManualVmClock _clock = null!;
    private RecordingLine _sci = null!;
    private RecordingControl _machine = null!;
    private AcpiPm _pm = null!;
    private Bus _ports = null!;

    [SetUp]
    public void SetUp()
    {
        _clock = new ManualVmClock();
        _sci = new RecordingLine();
        _machine = new RecordingControl();
        _pm = new AcpiPm(_clock, _sci, _machine);
        _ports = Bus.CreatePortBus();
        _pm.Map(_ports);
    }

    [TearDown]
    public void TearDown() => _pm.Dispose();

    private void EnableAcpi() => _ports.Write(AcpiPm.SmiCommandPort, 1, AcpiPm.AcpiEnableValue);

    [Test]
    public void SmiCommand_TurnsAcpiModeOnAndOff()
    {
        Assert.That(_ports.Read(AcpiPm.Pm1ControlPort, 2) & 1, Is.Zero);
        EnableAcpi();
        Assert.That(_ports.Read(AcpiPm.Pm1ControlPort, 2) & 1, Is.EqualTo(1));
        Assert.That(_pm.IsAcpiEnabled);
        _ports.Write(AcpiPm.Pm1ControlPort, 2, 0);
        Assert.That(_pm.IsAcpiEnabled, "SCI_EN is the firmware's");
        _ports.Write(AcpiPm.SmiCommandPort, 1, AcpiPm.AcpiDisableValue);
        Assert.That(_pm.IsAcpiEnabled, Is.False);
    }

    [Test]
    public void PowerButton_RaisesSci_UntilItsStatusIsCleared()
    {
        EnableAcpi();
        _ports.Write(AcpiPm.Pm1EventPort + 2, 2, 0x0100);
        _pm.PressPowerButton();
        Assert.That(_sci.Level);
        Assert.That(_ports.Read(AcpiPm.Pm1EventPort, 2), Is.EqualTo(0x0100));
        Assert.That(_ports.Read(AcpiPm.Pm1EventPort, 4), Is.EqualTo(0x0100_0100));
        _ports.Write(AcpiPm.Pm1EventPort, 2, 0x0021);
        Assert.That(_sci.Level);
        _ports.Write(AcpiPm.Pm1EventPort + 1, 1, 0x01);
        Assert.That(_sci.Level, Is.False, "by its byte");
        Assert.That(_ports.Read(AcpiPm.Pm1EventPort, 2), Is.Zero);
    }

    [Test]
    public void EventsWait_ForTheirEnableAndForAcpiMode()
    {
        _pm.PressPowerButton();
        EnableAcpi();
        Assert.That(_sci.Level, Is.False);
        _ports.Write(AcpiPm.Pm1EventPort + 2, 2, 0xFFFF);
        Assert.That(_sci.Level);
        Assert.That(_ports.Read(AcpiPm.Pm1EventPort + 2, 2), Is.EqualTo(0x0721), "defined enables only");
    }

    [Test]
    public void SleepTypeS5_PowersOff()
    {
        _ports.Write(AcpiPm.Pm1ControlPort, 2, AcpiPm.SleepTypeS5 << 10);
        Assert.That(_machine.Requests, Is.Empty);
        _ports.Write(AcpiPm.Pm1ControlPort, 2, AcpiPm.SleepTypeS5 << 10 | 1 << 13);
        Assert.That(_machine.Requests, Is.EqualTo(new[] { new MachineRequest(MachineRequestKind.PowerOff) }));
        Assert.That(_ports.Read(AcpiPm.Pm1ControlPort, 2) & 0x2000, Is.Zero, "SLP_EN reads as 0");
        _ports.Write(AcpiPm.Pm1ControlPort, 2, 1 << 10 | 1 << 13);
        Assert.That(_machine.Requests, Has.Count.EqualTo(1), "another sleep state");
    }

    [Test]
    public void SleepByBytes_PowersOffToo()
    {
        _ports.Write(AcpiPm.Pm1ControlPort + 1, 1, (AcpiPm.SleepTypeS5 << 10 | 1 << 13) >> 8);
        Assert.That(_machine.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public void Timer_CountsAt3_579545MHz()
    {
        _clock.Advance(1_000_000_000);
        Assert.That(_ports.Read(AcpiPm.PmTimerPort, 4), Is.EqualTo(3_579_545));
        Assert.That(_ports.Read(AcpiPm.PmTimerPort + 1, 1), Is.EqualTo(3_579_545 >> 8 & 0xFF));
        _ports.Write(AcpiPm.PmTimerPort, 4, 0);
        Assert.That(_ports.Read(AcpiPm.PmTimerPort, 4), Is.EqualTo(3_579_545));
    }

    [Test]
    public void TimerCarry_SetsStatusAndInterrupts()
    {
        EnableAcpi();
        _ports.Write(AcpiPm.Pm1EventPort + 2, 2, 1);
        long half = (long)((1UL << 31) * 1_000_000_000.0 / AcpiPm.PmTimerFrequency);
        _clock.Advance(half - 1_000_000);
        Assert.That(_sci.Level, Is.False);
        _clock.Advance(2_000_000);
        Assert.That(_sci.Level);
        Assert.That(_ports.Read(AcpiPm.Pm1EventPort, 2), Is.EqualTo(1));
        _ports.Write(AcpiPm.Pm1EventPort, 2, 1);
        Assert.That(_sci.Level, Is.False);
        _clock.Advance(half);
        Assert.That(_sci.Level, "the next toggle");
    }

    [Test]
    public void GpeBlock_HasNoEvents()
    {
        _ports.Write(AcpiPm.Gpe0Port, 2, 0xFFFF);
        Assert.That(_ports.Read(AcpiPm.Gpe0Port, 2), Is.EqualTo(0xFF00));
        Assert.That(_sci.Level, Is.False);
    }

    [Test]
    public void ResetAndSnapshot()
    {
        EnableAcpi();
        _ports.Write(AcpiPm.Pm1EventPort + 2, 2, 0x0100);
        _pm.PressPowerButton();
        var state = _pm.Capture();
        var sci = new RecordingLine();
        using var other = new AcpiPm(_clock, sci, _machine);
        other.Restore(state);
        Assert.That(other.Capture(), Is.EqualTo(state));
        Assert.That(sci.Levels, Is.Empty, "the controller has the level in its own state");
        var ports = Bus.CreatePortBus();
        other.Map(ports);
        ports.Write(AcpiPm.Pm1EventPort, 2, 0x0100);
        Assert.That(sci.Levels, Is.EqualTo(new[] { false }));
        _pm.Reset();
        Assert.That(_sci.Level, Is.False);
        Assert.That(_pm.IsAcpiEnabled, Is.False);
        Assert.That(() => other.Restore(state with { Enable = 0x8000 }), Throws.InstanceOf<InvalidDataException>());
    }
}
