using Vmm.Core.Interrupts;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>The I/O APIC against the 82093AA datasheet (290566).</summary>
[TestFixture]
internal sealed class IoApicTests
{
    private const ulong Masked = 0x10000;
    private const ulong Level = 0x8000;

    private MessageRecorder _sink = null!;
    private IoApic _io = null!;

    [SetUp]
    public void SetUp()
    {
        _sink = new MessageRecorder();
        _io = new IoApic(_sink);
    }

    private uint ReadRegister(byte index)
    {
        _io.Write(0, 4, index);
        return (uint)_io.Read(0x10, 4);
    }

    private void WriteRegister(byte index, uint value)
    {
        _io.Write(0, 4, index);
        _io.Write(0x10, 4, value);
    }

    private void WriteEntry(int pin, ulong entry)
    {
        WriteRegister((byte)(0x11 + 2 * pin), (uint)(entry >> 32));
        WriteRegister((byte)(0x10 + 2 * pin), (uint)entry);
    }

    private ulong ReadEntry(int pin) => ReadRegister((byte)(0x10 + 2 * pin)) | (ulong)ReadRegister((byte)(0x11 + 2 * pin)) << 32;

    [Test]
    public void Reset_MasksEveryPin()
    {
        Assert.That(ReadRegister(1), Is.EqualTo(0x00170020), "24 pins, version 0x20");
        Assert.That(ReadRegister(0), Is.Zero);
        for (int pin = 0; pin < IoApic.PinCount; pin++)
            Assert.That(ReadEntry(pin), Is.EqualTo(Masked));
        Assert.That(ReadRegister(0x40), Is.Zero, "beyond the last entry");
        Assert.That(ReadRegister(0x05), Is.Zero);
    }

    [Test]
    public void IdAndArbitration_ShareTheirValue()
    {
        WriteRegister(0, 0xFF00FFFF);
        Assert.That(ReadRegister(0), Is.EqualTo(0x0F000000));
        Assert.That(ReadRegister(2), Is.EqualTo(0x0F000000));
        Assert.That(_io.Read(0, 4), Is.EqualTo(2), "IOREGSEL reads back");
    }

    [Test]
    public void ReadOnlyAndReservedBitsOfAnEntry_StayClear()
    {
        WriteEntry(5, ulong.MaxValue);
        Assert.That(ReadEntry(5), Is.EqualTo(0xFF0000000001AFFF));
    }

    [Test]
    public void Edge_SendsOneMessage()
    {
        WriteEntry(4, 0x31 | 7UL << 56);
        _io.SetPin(4, true);
        _io.SetPin(4, true);
        Assert.That(_sink.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE07000, 0x31) }));
        _io.SetPin(4, false);
        _io.SetPin(4, true);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2));
        Assert.That(ReadEntry(4) & 0x4000, Is.Zero, "no remote IRR for edges");
    }

    [Test]
    public void EdgeOnAMaskedPin_IsLost()
    {
        WriteEntry(4, 0x31 | Masked);
        _io.SetPin(4, true);
        WriteEntry(4, 0x31);
        Assert.That(_sink.Messages, Is.Empty);
    }

    [Test]
    public void LevelPin_IsSentOnceUntilEoi()
    {
        WriteEntry(16, 0x41 | Level);
        _io.SetPin(16, true);
        Assert.That(_sink.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE00000, 0xC041) }));
        Assert.That(ReadEntry(16) & 0x4000, Is.EqualTo(0x4000), "remote IRR");
        _io.SetPin(16, false);
        _io.SetPin(16, true);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1));
        _io.EndOfInterrupt(0x42);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1), "another vector");
        _io.EndOfInterrupt(0x41);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2));
        _io.SetPin(16, false);
        _io.Write(0x40, 4, 0x41);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2), "EOI register, the line is low");
        Assert.That(ReadEntry(16) & 0x4000, Is.Zero);
    }

    [Test]
    public void LevelOnAMaskedPin_IsSentWhenUnmasked()
    {
        WriteEntry(16, 0x41 | Level | Masked);
        _io.SetPin(16, true);
        Assert.That(_sink.Messages, Is.Empty);
        WriteEntry(16, 0x41 | Level);
        Assert.That(_sink.Messages, Has.Count.EqualTo(1));
    }

    [Test]
    public void SharedVector_EndsOnAllPins()
    {
        WriteEntry(16, 0x41 | Level);
        WriteEntry(17, 0x41 | Level);
        _io.SetPin(16, true);
        _io.SetPin(17, true);
        _io.EndOfInterrupt(0x41);
        Assert.That(_sink.Messages, Has.Count.EqualTo(4));
    }

    [Test]
    public void SwitchingToEdge_ForgetsRemoteIrr()
    {
        WriteEntry(16, 0x41 | Level);
        _io.SetPin(16, true);
        WriteEntry(16, 0x41 | Masked);
        WriteEntry(16, 0x41 | Level | Masked);
        Assert.That(ReadEntry(16) & 0x4000, Is.Zero);
        WriteEntry(16, 0x41 | Level);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2));
    }

    [TestCase(0UL, 0xFEE05000UL, 0x0031u)]
    [TestCase(0x100UL, 0xFEE05000UL, 0x0131u)]
    [TestCase(0x900UL, 0xFEE05004UL, 0x0131u)]
    [TestCase(0x400UL, 0xFEE05000UL, 0x0431u)]
    [TestCase(0x700UL, 0xFEE05000UL, 0x0731u)]
    public void DestinationAndModes_AreCarried(ulong bits, ulong address, uint data)
    {
        WriteEntry(0, 0x31 | bits | 5UL << 56);
        _io.SetPin(0, true);
        Assert.That(_sink.Messages, Is.EqualTo(new[] { new MsiMessage(address, data) }));
    }

    [Test]
    public void NmiProgrammedLevel_IsAnEdge()
    {
        WriteEntry(3, 0x400 | Level);
        _io.SetPin(3, true);
        Assert.That(_sink.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE00000, 0x400) }));
        Assert.That(ReadEntry(3) & 0x4000, Is.Zero);
        _io.SetPin(3, false);
        _io.SetPin(3, true);
        Assert.That(_sink.Messages, Has.Count.EqualTo(2));
    }

    [Test]
    public void State_ComesBackWithoutAMessage()
    {
        WriteEntry(16, 0x41 | Level);
        WriteRegister(0, 0x02000000);
        _io.SetPin(16, true);
        var state = _io.Capture();
        var sink = new MessageRecorder();
        var other = new IoApic(sink);
        other.Restore(state);
        Assert.That(sink.Messages, Is.Empty);
        Assert.That(other.Capture().Entries, Is.EqualTo(state.Entries));
        other.EndOfInterrupt(0x41);
        Assert.That(sink.Messages, Has.Count.EqualTo(1), "the line is still high");
        Assert.That(() => other.Restore(state with { Lines = 1u << 24 }), Throws.InstanceOf<InvalidDataException>());
    }

    private sealed class MessageRecorder : IMsiSink
    {
        public List<MsiMessage> Messages { get; } = [];

        public void Send(MsiMessage message) => Messages.Add(message);
    }
}
