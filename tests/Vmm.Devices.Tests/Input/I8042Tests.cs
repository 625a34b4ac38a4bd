using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Input;

namespace Vmm.Devices.Tests.Input;

/// <summary>The controller and its two devices as a guest sees them, through ports 0x60 and 0x64.</summary>
internal sealed class I8042Tests
{
    private const byte Ack = 0xFA, Resend = 0xFE;

    private Bus _ports = null!;
    private RecordingLine _irq1 = null!;
    private RecordingLine _irq12 = null!;
    private RecordingControl _control = null!;
    private I8042 _controller = null!;

    [SetUp]
    public void MakeController()
    {
        (_ports, _irq1, _irq12, _control) = (Bus.CreatePortBus(), new RecordingLine(), new RecordingLine(), new RecordingControl());
        _controller = new I8042(_irq1, _irq12, _control);
        _controller.Map(_ports);
    }

    private byte Status => (byte)_ports.Read(0x64, 1);

    private byte Data() => (byte)_ports.Read(0x60, 1);

    private void Command(byte command) => _ports.Write(0x64, 1, command);

    private void Command(byte command, byte parameter)
    {
        Command(command);
        _ports.Write(0x60, 1, parameter);
    }

    // Everything in the output buffer and behind it, with the source of each byte.
    private string Drain()
    {
        var bytes = new List<string>();
        for (byte status; ((status = Status) & 1) != 0 && bytes.Count < 100;)
            bytes.Add(((status & 0x20) != 0 ? "m" : "") + Data().ToString("X2"));
        return string.Join(' ', bytes);
    }

    private string Keyboard(params byte[] bytes)
    {
        foreach (byte b in bytes)
            _ports.Write(0x60, 1, b);
        return Drain();
    }

    private string Mouse(params byte[] bytes)
    {
        string replies = "";
        foreach (byte b in bytes)
        {
            Command(0xD4, b);
            replies = $"{replies} {Drain()}";
        }
        return replies.Replace("m", "", StringComparison.Ordinal).Trim();
    }

    private void SetCommandByte(byte value) => Command(0x60, value);

    [Test]
    public void StateAfterReset()
    {
        Assert.That(Status, Is.EqualTo(0x14), "self-test passed, not inhibited, buffers empty");
        Command(0x20);
        Assert.That(Data(), Is.EqualTo(0x65));
    }

    [TestCase(0xAA, "55")]
    [TestCase(0xAB, "00")]
    [TestCase(0xA9, "00")]
    [TestCase(0xA4, "F1")]
    [TestCase(0xC0, "80")]
    [TestCase(0xE0, "00")]
    [TestCase(0xD0, "CF")]
    [TestCase(0x55, "")]
    public void ControllerCommands(byte command, string reply)
    {
        Command(command);
        Assert.That(Drain(), Is.EqualTo(reply));
    }

    [Test]
    public void CommandWrittenBitFollowsThePort()
    {
        Command(0xA7);
        Assert.That(Status & 0x08, Is.EqualTo(0x08));
        _ports.Write(0x60, 1, 0xEE);
        Assert.That(Status & 0x08, Is.Zero);
    }

    [Test]
    public void InterfacesAreSwitchedInTheCommandByte()
    {
        var steps = new (byte Command, byte Expected)[] { (0xA8, 0x45), (0xA7, 0x65), (0xAD, 0x75), (0xAE, 0x65) };
        foreach (var (command, expected) in steps)
        {
            Command(command);
            Command(0x20);
            Assert.That(Data(), Is.EqualTo(expected), $"after 0x{command:X2}");
        }
    }

    [Test]
    public void ControllerRamKeepsWhatIsWritten()
    {
        for (byte i = 1; i < 32; i++)
            Command((byte)(0x60 + i), (byte)(i * 5));
        for (byte i = 1; i < 32; i++)
        {
            Command((byte)(0x20 + i));
            Assert.That(Data(), Is.EqualTo(i * 5));
        }
    }

    [Test]
    public void TheSystemFlagFollowsTheCommandByte()
    {
        SetCommandByte(0x00);
        Assert.That(Status & 0x04, Is.Zero);
        Command(0xAA);
        Assert.That(Status & 0x04, Is.EqualTo(0x04), "the self-test sets it");
    }

    [TestCase(0xFE, true)]
    [TestCase(0xF0, true)]
    [TestCase(0xFF, false)]
    [TestCase(0xFD, false)]
    public void PulsingBitZeroResets(byte command, bool resets)
    {
        Command(command);
        Assert.That(_control.Requests, Is.EqualTo(resets ? [new MachineRequest(MachineRequestKind.Reset)] : Array.Empty<MachineRequest>()));
    }

    [Test]
    public void OutputPortResetsAndKeepsA20()
    {
        Command(0xD1, 0xDD);
        Command(0xD0);
        Assert.That(Data() & 0x02, Is.Zero);
        Command(0xDF);
        Command(0xD0);
        Assert.That(Data() & 0x02, Is.EqualTo(0x02));
        Assert.That(_control.Requests, Is.Empty);
        Command(0xD1, 0xFE);
        Assert.That(_control.Requests, Has.Count.EqualTo(1));
    }

    [Test]
    public void BytesCanBePutBackAsIfFromADevice()
    {
        SetCommandByte(0x47);
        Command(0xD2, 0x5A);
        Assert.That((_irq1.Level, Drain()), Is.EqualTo((true, "5A")));
        Command(0xD3, 0xA5);
        Assert.That((_irq12.Level, Drain()), Is.EqualTo((true, "mA5")), "how Linux finds the auxiliary port and its interrupt");
        Assert.That((_irq1.Level, _irq12.Level), Is.EqualTo((false, false)));
    }

    [Test]
    public void EachByteMakesAnEdge()
    {
        _controller.Key(0x1C, false, true);
        _controller.Key(0x1C, false, false);
        Assert.That(_irq1.RisingEdges, Is.EqualTo(1));
        Assert.That(Data(), Is.EqualTo(0x1E));
        Assert.That(_irq1.RisingEdges, Is.EqualTo(2));
        Assert.That(Data(), Is.EqualTo(0x9E));
        Assert.That(_irq1.Level, Is.False);
        Assert.That(Data(), Is.EqualTo(0x9E), "an empty buffer repeats the last byte");
    }

    [Test]
    public void WithTheInterruptOffTheLineStaysLow()
    {
        SetCommandByte(0x44);
        _controller.Key(0x1C, false, true);
        Assert.That((_irq1.Levels.Count, Status & 1), Is.EqualTo((0, 1)));
        SetCommandByte(0x45);
        Assert.That(_irq1.Level, "a full buffer asserts it once it is enabled");
    }

    [Test]
    public void KeysTranslatedAndNot()
    {
        _controller.Key(0x1C, false, true);
        _controller.Key(0x75, true, true);
        _controller.Key(0x75, true, false);
        Assert.That(Drain(), Is.EqualTo("1E E0 48 E0 C8"), "set 1");
        SetCommandByte(0x05);
        _controller.Key(0x75, true, true);
        _controller.Key(0x75, true, false);
        Assert.That(Drain(), Is.EqualTo("E0 75 E0 F0 75"), "set 2");
    }

    // From the reference's key tables: key, set 2 code, set 1 code.
    [TestCase(0x76, 0x01, Description = "Esc")]
    [TestCase(0x16, 0x02, Description = "1")]
    [TestCase(0x45, 0x0B, Description = "0")]
    [TestCase(0x66, 0x0E, Description = "Backspace")]
    [TestCase(0x0D, 0x0F, Description = "Tab")]
    [TestCase(0x15, 0x10, Description = "Q")]
    [TestCase(0x5A, 0x1C, Description = "Enter")]
    [TestCase(0x14, 0x1D, Description = "Ctrl")]
    [TestCase(0x12, 0x2A, Description = "Shift")]
    [TestCase(0x1A, 0x2C, Description = "Z")]
    [TestCase(0x11, 0x38, Description = "Alt")]
    [TestCase(0x29, 0x39, Description = "Space")]
    [TestCase(0x58, 0x3A, Description = "Caps Lock")]
    [TestCase(0x05, 0x3B, Description = "F1")]
    [TestCase(0x83, 0x41, Description = "F7")]
    [TestCase(0x09, 0x44, Description = "F10")]
    [TestCase(0x78, 0x57, Description = "F11")]
    [TestCase(0x07, 0x58, Description = "F12")]
    [TestCase(0x77, 0x45, Description = "Num Lock")]
    [TestCase(0x7E, 0x46, Description = "Scroll Lock")]
    [TestCase(0x6C, 0x47, Description = "Keypad 7")]
    public void Translation(byte set2, byte set1)
    {
        Assert.That(ScanCodes.ToSet1(set2), Is.EqualTo(set1));
    }

    [Test]
    public void NoTwoKeysTranslateAlike()
    {
        var codes = Enumerable.Range(1, 0x7F).Select(c => ScanCodes.ToSet1((byte)c)).Where(c => c < 0x80).ToList();
        // 0x02 (F7 on some keyboards) and 0x7F share their translation with 0x83 and 0x84 only.
        Assert.That(codes, Is.Unique);
    }

    [Test]
    public void KeyboardCommands()
    {
        SetCommandByte(0x05);
        Assert.That(Keyboard(0xFF), Is.EqualTo("FA AA"));
        Assert.That(Keyboard(0xF2), Is.EqualTo("FA AB 83"));
        Assert.That(Keyboard(0xEE), Is.EqualTo("EE"));
        Assert.That(Keyboard(0xED), Is.EqualTo("FA"));
        Assert.That(Keyboard(0x05), Is.EqualTo("FA"));
        Assert.That(_controller.Leds, Is.EqualTo(5));
        Assert.That(Keyboard(0xF3), Is.EqualTo("FA"));
        Assert.That(Keyboard(0x20), Is.EqualTo("FA"));
        Assert.That(Keyboard(0xF0), Is.EqualTo("FA"));
        Assert.That(Keyboard(0x00), Is.EqualTo("FA 02"));
        Assert.That(Keyboard(0xFE), Is.EqualTo("02"), "resend");
        Assert.That(Keyboard(0x12), Is.EqualTo("FE"), "unknown");
    }

    [Test]
    public void TheIdIsTranslatedToo()
    {
        Assert.That(Keyboard(0xF2), Is.EqualTo("FA AB 41"));
    }

    [Test]
    public void ScanCodeSetOneByTheKeyboardItself()
    {
        SetCommandByte(0x05);
        Keyboard(0xF0);
        Keyboard(0x01);
        _controller.Key(0x1C, false, true);
        _controller.Key(0x1C, false, false);
        Assert.That(Drain(), Is.EqualTo("1E 9E"));
        Keyboard(0xF0);
        Assert.That(Keyboard(0x03), Is.EqualTo("FE"), "there is no set 3");
    }

    [Test]
    public void ADisabledKeyboardIsSilent()
    {
        Assert.That(Keyboard(0xF5), Is.EqualTo("FA"));
        _controller.Key(0x1C, false, true);
        Assert.That(Drain(), Is.Empty);
        Assert.That(Keyboard(0xF4), Is.EqualTo("FA"));
        _controller.Key(0x1C, false, true);
        Assert.That(Drain(), Is.EqualTo("1E"));
    }

    [Test]
    public void ADisabledInterfaceHoldsKeysBack()
    {
        Command(0xAD);
        _controller.Key(0x1C, false, true);
        Assert.That(Status & 1, Is.Zero);
        Command(0xAE);
        Assert.That(Drain(), Is.EqualTo("1E"));
    }

    [Test]
    public void AFullKeyboardBufferEndsInTheOverrunCode()
    {
        SetCommandByte(0x05);
        for (int i = 0; i < 100; i++)
            _controller.Key(0x1C, false, true);
        Assert.That(Drain(), Does.EndWith("1C 00").And.Length.LessThan(3 * 20));
    }

    [Test]
    public void MouseCommands()
    {
        SetCommandByte(0x47);
        Assert.That(Mouse(0xFF), Is.EqualTo("FA AA 00"));
        Assert.That(Mouse(0xF2), Is.EqualTo("FA 00"));
        Assert.That(Mouse(0xE9), Is.EqualTo("FA 00 02 64"), "defaults: 4 counts/mm, 100 samples/s");
        Assert.That(Mouse(0xE8, 0x03, 0xF3, 0x28, 0xE7, 0xF4), Is.EqualTo("FA FA FA FA FA FA"));
        Assert.That(Mouse(0xE9), Is.EqualTo("FA 30 03 28"));
        Assert.That(Mouse(0xE8, 0x04), Is.EqualTo("FA FE"));
        Assert.That(Mouse(0xF6), Is.EqualTo("FA"));
        Assert.That(Mouse(0xE9), Is.EqualTo("FA 00 02 64"));
        Assert.That(Mouse(0xE1), Is.EqualTo("FE"));
    }

    [Test]
    public void MousePackets()
    {
        SetCommandByte(0x47);
        _controller.MoveMouse(1, 1, 0, MouseButtons.None);
        Assert.That(Drain(), Is.Empty, "not enabled");
        Mouse(0xFF);
        Mouse(0xF4);
        _controller.MoveMouse(5, -3, 0, MouseButtons.Left | MouseButtons.Middle);
        Assert.That(_irq12.Level);
        Assert.That(Drain(), Is.EqualTo("m2D m05 mFD"));
        _controller.MoveMouse(300, 0, 0, MouseButtons.None);
        Assert.That(Drain(), Is.EqualTo("m08 mFF m00 m08 m2D m00"), "movement beyond nine bits takes two packets");
    }

    [Test]
    public void TheWheelIsFoundByItsKnock()
    {
        SetCommandByte(0x47);
        Mouse(0xF3, 200, 0xF3, 100, 0xF3, 80);
        Assert.That(Mouse(0xF2), Is.EqualTo("FA 03"));
        Mouse(0xF4);
        _controller.MoveMouse(0, 0, -1, MouseButtons.None);
        Assert.That(Drain(), Is.EqualTo("m08 m00 m00 mFF"));
        Assert.That(Mouse(0xFF), Is.EqualTo("FA AA 00"), "a reset switches it off");
    }

    [Test]
    public void MouseRemoteAndWrapModes()
    {
        SetCommandByte(0x47);
        Mouse(0xF4);
        Mouse(0xF0);
        _controller.MoveMouse(2, 0, 0, MouseButtons.Right);
        Assert.That(Drain(), Is.Empty);
        Assert.That(Mouse(0xEB), Is.EqualTo("FA 0A 02 00"));
        Assert.That(Mouse(0xEE), Is.EqualTo("FA"));
        Assert.That(Mouse(0xF2), Is.EqualTo("F2"), "echoed");
        Assert.That(Mouse(0xEC), Is.EqualTo("FA"));
        Assert.That(Mouse(0xF2), Is.EqualTo("FA 00"));
    }

    [Test]
    public void AFloodOfMovementIsMergedNotQueued()
    {
        SetCommandByte(0x47);
        Mouse(0xF4);
        for (int i = 0; i < 1000; i++)
            _controller.MoveMouse(1, 0, 0, MouseButtons.None);
        int total = 0, packets = 0;
        while ((Status & 1) != 0)
        {
            Data();
            total += Data();
            Data();
            packets++;
        }
        Assert.That((total, packets), Is.EqualTo((1000, 9)).Or.EqualTo((1000, 10)));
    }

    [Test]
    public void SnapshotRoundTrip()
    {
        SetCommandByte(0x47);
        Keyboard(0xED);
        _controller.Key(0x1C, true, true);
        _controller.MoveMouse(3, 4, 0, MouseButtons.Left);
        var state = _controller.Capture();
        var irq1 = new RecordingLine();
        var copy = new I8042(irq1, new RecordingLine(), _control);
        copy.Restore(state);
        Assert.That(irq1.Levels, Is.Empty);
        var ports = Bus.CreatePortBus();
        copy.Map(ports);
        Assert.That((ports.Read(0x60, 1), ports.Read(0x60, 1)), Is.EqualTo((0xE0UL, 0x1EUL)));
        Assert.That(irq1.Level, Is.False);
        Assert.That(irq1.Levels, Is.Not.Empty, "the line drops when the byte is read");
        Assert.That(() => copy.Restore(state with { Ram = [] }), Throws.InstanceOf<InvalidDataException>());
    }

    [Test]
    public void GarbageNeverThrows()
    {
        var random = new Random(8042);
        for (int i = 0; i < 300_000; i++)
        {
            ulong port = random.Next(2) == 0 ? 0x60UL : 0x64UL;
            switch (random.Next(5))
            {
                case 0:
                    _ports.Read(port, 1 << random.Next(4));
                    break;
                case 1:
                    _controller.Key((byte)random.Next(128), random.Next(2) == 0, random.Next(2) == 0);
                    break;
                case 2:
                    _controller.MoveMouse(random.Next(-1000, 1000), random.Next(-1000, 1000), random.Next(-20, 20), (MouseButtons)random.Next(8));
                    break;
                default:
                    _ports.Write(port, 1, (ulong)random.Next(256));
                    break;
            }
            if (_control.Requests.Count > 1000)
                _control.Requests.Clear();
        }
    }
}
