using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Serial;

/// <summary>The chip against the PC16550D data sheet; section numbers are its own.</summary>
internal sealed class Uart16550Tests
{
    private const uint Rbr = 0, Thr = 0, Ier = 1, Iir = 2, Fcr = 2, Lcr = 3, Mcr = 4, Lsr = 5, Msr = 6, Scr = 7;
    private const byte NoInterrupt = 0x01, ModemStatusId = 0x00, ThreId = 0x02, DataId = 0x04, LineStatusId = 0x06, TimeoutId = 0x0C;

    private Pins _pins = null!;
    private Uart16550 _uart = null!;

    private sealed class Pins : IUartPins
    {
        public List<byte> Sent { get; } = [];

        public List<bool> Interrupts { get; } = [];

        public bool LineBusy { get; set; }

        public void InterruptChanged(bool asserted) => Interrupts.Add(asserted);

        public bool TryTransmit(byte value)
        {
            if (!LineBusy)
                Sent.Add(value);
            return !LineBusy;
        }
    }

    [SetUp]
    public void MakeUart()
    {
        _pins = new Pins();
        _uart = new Uart16550(_pins);
    }

    private bool InterruptPin => _pins.Interrupts is [.., true];

    private byte Identify(bool fifo = false)
    {
        byte iir = _uart.Read(Iir);
        Assert.That(iir & 0xC0, Is.EqualTo(fifo ? 0xC0 : 0), "IIR 7:6 tell of the FIFOs");
        return (byte)(iir & 0x0F);
    }

    private void EnableFifo(byte trigger = 0) => _uart.Write(Fcr, (byte)(0x01 | trigger));

    private void Receive(string text)
    {
        foreach (char c in text)
            _uart.Receive((byte)c);
    }

    [Test]
    public void MasterResetValues()
    {
        // Table I.
        Assert.That(_uart.Read(Ier), Is.Zero);
        Assert.That(_uart.Read(Iir), Is.EqualTo(0x01));
        Assert.That(_uart.Read(Lcr), Is.Zero);
        Assert.That(_uart.Read(Mcr), Is.Zero);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
        Assert.That(_uart.Read(Msr) & 0x0F, Is.Zero);
        Assert.That(_pins.Interrupts, Is.Empty);
    }

    [Test]
    public void ReservedBitsReadZero()
    {
        _uart.Write(Ier, 0xFF);
        _uart.Write(Mcr, 0xFF);
        Assert.That(_uart.Read(Ier), Is.EqualTo(0x0F));
        Assert.That(_uart.Read(Mcr), Is.EqualTo(0x1F));
    }

    [Test]
    public void ScratchAndDivisorLatchesKeepTheirValueOverReset()
    {
        _uart.Write(Scr, 0x5A);
        _uart.Write(Lcr, 0x80);
        _uart.Write(0, 0x34);
        _uart.Write(1, 0x12);
        Assert.That((_uart.Read(0), _uart.Read(1)), Is.EqualTo(((byte)0x34, (byte)0x12)));
        _uart.Reset();
        Assert.That(_uart.Read(Scr), Is.EqualTo(0x5A));
        _uart.Write(Lcr, 0x80);
        Assert.That((_uart.Read(0), _uart.Read(1)), Is.EqualTo(((byte)0x34, (byte)0x12)));
        Assert.That(_pins.Sent, Is.Empty, "with DLAB set register 0 is no holding register");
    }

    [Test]
    public void StatusRegistersAreReadOnly()
    {
        _uart.Write(Lsr, 0xFF);
        _uart.Write(Msr, 0xFF);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
        Assert.That(_uart.Read(Msr), Is.Zero);
    }

    [TestCase(0x03, 12, 1041666, Description = "9600 8N1: ten bits")]
    [TestCase(0x03, 1, 86805, Description = "115200 8N1")]
    [TestCase(0x1F, 1, 104166, Description = "8E2: twelve bits")]
    [TestCase(0x00, 1, 60763, Description = "5N1: seven bits")]
    public void CharacterTimeFollowsFormatAndDivisor(byte lcr, int divisor, long nanoseconds)
    {
        _uart.Write(Lcr, 0x80);
        _uart.Write(0, (byte)divisor);
        _uart.Write(1, 0);
        _uart.Write(Lcr, lcr);
        Assert.That(_uart.CharacterTime, Is.EqualTo(nanoseconds));
    }

    [Test]
    public void TransmittingIsImmediateAndRaisesThreAgain()
    {
        _uart.Write(Ier, 0x02);
        Assert.That(InterruptPin, "enabling the interrupt with THRE set raises it (8.6)");
        Assert.That(Identify(), Is.EqualTo(ThreId));
        Assert.That(InterruptPin, Is.False, "reading IIR resets it");
        Assert.That(Identify(), Is.EqualTo(NoInterrupt));
        _pins.Interrupts.Clear();
        _uart.Write(Thr, (byte)'a');
        Assert.That(_pins.Interrupts, Is.EqualTo(new[] { true }));
        _uart.Write(Thr, (byte)'b');
        Assert.That(_pins.Interrupts, Is.EqualTo(new[] { true, false, true }), "writing THR resets it, emptying THR raises it anew");
        Assert.That(_pins.Sent, Is.EqualTo("ab"u8.ToArray()));
    }

    [Test]
    public void EnablingThreTwiceRaisesItTwice()
    {
        // What Linux's serial8250 checks at start-up (UART_BUG_THRE).
        for (int i = 0; i < 2; i++)
        {
            _uart.Write(Ier, 0x02);
            Assert.That(Identify(), Is.EqualTo(ThreId));
            _uart.Write(Ier, 0x00);
        }
    }

    [Test]
    public void ReadingIirResetsThreOnlyWhenItIsTheSource()
    {
        _uart.Write(Ier, 0x03);
        Receive("x");
        Assert.That(Identify(), Is.EqualTo(DataId));
        _uart.Read(Rbr);
        Assert.That(Identify(), Is.EqualTo(ThreId));
        Assert.That(Identify(), Is.EqualTo(NoInterrupt));
    }

    [Test]
    public void ABusyLineHoldsCharactersInOrder([Values] bool fifo)
    {
        if (fifo)
            EnableFifo();
        _pins.LineBusy = true;
        _uart.Write(Thr, 1);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x20), "one in the shift register: THRE, not TEMT");
        _uart.Write(Thr, 2);
        Assert.That(_uart.Read(Lsr), Is.Zero);
        _uart.Write(Ier, 0x02);
        Assert.That(Identify(fifo), Is.EqualTo(NoInterrupt));
        _uart.TransmitReady();
        Assert.That(_pins.Sent, Is.Empty);
        _pins.LineBusy = false;
        _uart.TransmitReady();
        Assert.That(_pins.Sent, Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
        Assert.That(Identify(fifo), Is.EqualTo(ThreId));
    }

    [Test]
    public void AFullTransmitterFifoLosesTheNewest()
    {
        EnableFifo();
        _pins.LineBusy = true;
        for (byte i = 0; i < 20; i++)
            _uart.Write(Thr, i);
        _pins.LineBusy = false;
        _uart.TransmitReady();
        Assert.That(_pins.Sent, Is.EqualTo(Enumerable.Range(0, 17).Select(i => (byte)i)), "one in the shift register, sixteen in the FIFO");
    }

    [Test]
    public void TransmitterResetEmptiesTheFifoOnly()
    {
        EnableFifo();
        _pins.LineBusy = true;
        for (byte i = 0; i < 5; i++)
            _uart.Write(Thr, i);
        _uart.Write(Fcr, 0x05);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x20), "the shift register is not cleared (8.5)");
        _pins.LineBusy = false;
        _uart.TransmitReady();
        Assert.That(_pins.Sent, Is.EqualTo(new byte[] { 0 }));
    }

    [Test]
    public void ReceivingInCharacterMode()
    {
        _uart.Write(Ier, 0x05);
        Receive("A");
        Assert.That(_uart.Read(Lsr) & 0x01, Is.EqualTo(1));
        Assert.That(Identify(), Is.EqualTo(DataId));
        Receive("B");
        Assert.That(Identify(), Is.EqualTo(LineStatusId), "an overrun comes first");
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x63));
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x61), "reading LSR clears OE");
        Assert.That(_uart.Read(Rbr), Is.EqualTo((byte)'B'), "the character is overwritten (8.4)");
        Assert.That(InterruptPin, Is.False);
    }

    [TestCase(0x00, 1)]
    [TestCase(0x40, 4)]
    [TestCase(0x80, 8)]
    [TestCase(0xC0, 14)]
    public void TriggerLevels(byte trigger, int level)
    {
        EnableFifo(trigger);
        _uart.Write(Ier, 0x01);
        for (int i = 1; i <= level; i++)
        {
            Assert.That(InterruptPin, Is.False, $"before character {i}");
            _uart.Receive((byte)i);
        }
        Assert.That(Identify(fifo: true), Is.EqualTo(DataId));
        _uart.Read(Rbr);
        Assert.That(InterruptPin, Is.False, "drops below the trigger level");
        Assert.That(_uart.Read(Lsr) & 1, Is.EqualTo(level > 1 ? 1 : 0));
    }

    [Test]
    public void CharacterTimeoutIsResetByReading()
    {
        EnableFifo(0x80);
        _uart.Write(Ier, 0x01);
        Receive("ab");
        Assert.That(_uart.TimeoutRunning);
        _uart.CharacterTimeout();
        Assert.That(Identify(fifo: true), Is.EqualTo(TimeoutId));
        Receive("c");
        Assert.That(Identify(fifo: true), Is.EqualTo(TimeoutId), "a new character does not take it back");
        _uart.TimeoutRestart = false;
        Assert.That(_uart.Read(Rbr), Is.EqualTo((byte)'a'));
        Assert.That(_uart.TimeoutRestart);
        Assert.That(InterruptPin, Is.False);
        _uart.CharacterTimeout();
        _uart.Read(Rbr);
        _uart.Read(Rbr);
        _uart.CharacterTimeout();
        Assert.That(InterruptPin, Is.False, "nothing to time out");
    }

    [Test]
    public void AFullReceiverFifoKeepsWhatItHas()
    {
        EnableFifo();
        for (byte i = 0; i < 18; i++)
            _uart.Receive(i);
        Assert.That(_uart.Read(Lsr) & 0x02, Is.Not.Zero);
        Assert.That(Enumerable.Range(0, 16).Select(_ => _uart.Read(Rbr)), Is.EqualTo(Enumerable.Range(0, 16).Select(i => (byte)i)));
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
    }

    [Test]
    public void ErrorsShowWhenTheirCharacterIsOnTop()
    {
        EnableFifo();
        _uart.Write(Ier, 0x04);
        _uart.Receive((byte)'a');
        _uart.Receive((byte)'b', LineStatus.ParityError);
        _uart.Receive((byte)'c');
        _uart.Receive((byte)'d', LineStatus.FramingError);
        Assert.That(InterruptPin, Is.False);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0xE1), "only bit 7 tells of what waits below");
        _uart.Read(Rbr);
        Assert.That(InterruptPin);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0xE5));
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0xE1), "the framing error is still to come");
        _uart.Read(Rbr);
        _uart.Read(Rbr);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0xE9));
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x61), "no error is left");
    }

    [Test]
    public void ABreakIsOneZeroCharacter()
    {
        EnableFifo();
        _uart.ReceiveBreak();
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0xF9));
        Assert.That(_uart.Read(Rbr), Is.Zero);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
    }

    [Test]
    public void SwitchingFifosClearsThem()
    {
        EnableFifo();
        Receive("abc");
        _uart.Write(Fcr, 0x00);
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
        Receive("x");
        EnableFifo();
        Assert.That(_uart.Read(Lsr), Is.EqualTo(0x60));
    }

    [Test]
    public void FifoBitsNeedBitZero()
    {
        EnableFifo(0xC0);
        Receive("ab");
        _uart.Write(Fcr, 0x03);
        Assert.That(_uart.Read(Lsr) & 1, Is.Zero, "receiver reset");
        _uart.Write(Fcr, 0xC2);
        Assert.That(_uart.Read(Iir) & 0xC0, Is.Zero);
        _uart.Write(Ier, 0x01);
        Receive("a");
        Assert.That(Identify(), Is.EqualTo(DataId), "in character mode there is no trigger level");
    }

    [Test]
    public void InterruptsByPriority()
    {
        _uart.SetModemInputs(ModemStatus.ClearToSend);
        _uart.Read(Msr);
        _uart.Write(Ier, 0x0F);
        _uart.SetModemInputs(ModemStatus.None);
        _uart.Receive(0, LineStatus.ParityError);
        byte[] order = new byte[5];
        order[0] = Identify();
        _uart.Read(Lsr);
        order[1] = Identify();
        _uart.Read(Rbr);
        order[2] = Identify();
        order[3] = Identify();
        _uart.Read(Msr);
        order[4] = Identify();
        Assert.That(order, Is.EqualTo(new[] { LineStatusId, DataId, ThreId, ModemStatusId, NoInterrupt }));
    }

    [TestCase(ModemStatus.ClearToSend, 0x11, 0x01)]
    [TestCase(ModemStatus.DataSetReady, 0x22, 0x02)]
    [TestCase(ModemStatus.RingIndicator, 0x40, 0x04, Description = "TERI only at the trailing edge")]
    [TestCase(ModemStatus.DataCarrierDetect, 0x88, 0x08)]
    public void ModemDeltas(object input, int whenAsserted, int whenDeasserted)
    {
        _uart.SetModemInputs((ModemStatus)input);
        Assert.That(_uart.Read(Msr), Is.EqualTo(whenAsserted));
        Assert.That(_uart.Read(Msr), Is.EqualTo(whenAsserted & 0xF0), "reading clears the deltas");
        _uart.SetModemInputs(ModemStatus.None);
        Assert.That(_uart.Read(Msr), Is.EqualTo(whenDeasserted));
    }

    [Test]
    public void LoopbackConnectsModemOutputsToInputs()
    {
        _uart.SetModemInputs(ModemStatus.ClearToSend | ModemStatus.DataSetReady | ModemStatus.DataCarrierDetect);
        _uart.Write(Mcr, 0x10);
        Assert.That(_uart.Read(Msr) & 0xF0, Is.Zero);
        foreach (var (mcr, msr) in new[] { (0x11, 0x20), (0x12, 0x10), (0x14, 0x40), (0x18, 0x80), (0x1A, 0x90) })
        {
            _uart.Write(Mcr, (byte)mcr);
            Assert.That(_uart.Read(Msr) & 0xF0, Is.EqualTo(msr), $"MCR 0x{mcr:x}");
        }
        Assert.That((_uart.RequestToSend, _uart.Out2), Is.EqualTo((false, false)), "the pins are forced inactive");
        _uart.Write(Mcr, 0);
        Assert.That(_uart.Read(Msr) & 0xF0, Is.EqualTo(0xB0));
    }

    [Test]
    public void LoopbackReturnsWhatIsSent()
    {
        _uart.Write(Lcr, 0x02);
        _uart.Write(Mcr, 0x10);
        _uart.Write(Thr, 0xC5);
        _uart.Receive(0x77);
        Assert.That(_uart.Read(Rbr), Is.EqualTo(0x45), "seven-bit words; SIN is disconnected");
        Assert.That(_pins.Sent, Is.Empty);
        _uart.Write(Lcr, 0x42);
        Assert.That(_uart.Read(Lsr) & 0x19, Is.EqualTo(0x19), "a break set comes back as one");
    }

    [Test]
    public void SnapshotRoundTrip()
    {
        EnableFifo(0x80);
        _uart.Write(Ier, 0x0F);
        _pins.LineBusy = true;
        _uart.Write(Thr, 1);
        _uart.Write(Thr, 2);
        Receive("xyz");
        _uart.Receive(9, LineStatus.ParityError);
        var state = _uart.Capture();
        var pins = new Pins();
        var copy = new Uart16550(pins);
        Assert.That(copy.Restore(state), Is.EqualTo(InterruptPin));
        Assert.That(pins.Interrupts, Is.Empty, "restoring drives nothing");
        for (uint register = 1; register < 8; register++)
            Assert.That(copy.Read(register), Is.EqualTo(_uart.Read(register)), $"register {register}");
        copy.TransmitReady();
        Assert.That(pins.Sent, Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(Enumerable.Range(0, 4).Select(_ => copy.Read(Rbr)), Is.EqualTo("xyz\t"u8.ToArray()));
    }

    [Test]
    public void ImpossibleSnapshotsAreRefused()
    {
        var good = _uart.Capture();
        Uart16550State[] bad =
        [
            good with { Version = 2 },
            good with { InterruptEnable = 0x10 },
            good with { ModemControl = 0x20 },
            good with { FifoControl = 0x02 },
            good with { Received = new byte[2], ReceivedErrors = new byte[2] },
            good with { FifoControl = 1, Received = new byte[17], ReceivedErrors = new byte[17] },
            good with { FifoControl = 1, Received = new byte[2], ReceivedErrors = new byte[1] },
            good with { Transmit = new byte[2] },
        ];
        foreach (var state in bad)
            Assert.That(() => _uart.Restore(state), Throws.InstanceOf<InvalidDataException>());
        _uart.Restore(good);
    }

    [Test]
    public void GarbageNeverThrowsAndTheInterruptPinAgreesWithIir()
    {
        var random = new Random(16550);
        for (int i = 0; i < 200_000; i++)
        {
            uint register = (uint)random.Next(10);
            switch (random.Next(6))
            {
                case 0:
                    _uart.Read(register);
                    break;
                case 1:
                    _uart.Receive((byte)random.Next(256), (LineStatus)random.Next(256) & LineStatus.CharacterErrors);
                    break;
                case 2:
                    _pins.LineBusy = random.Next(2) == 0;
                    _uart.TransmitReady();
                    break;
                case 3:
                    _uart.CharacterTimeout();
                    break;
                default:
                    _uart.Write(register, (byte)random.Next(256));
                    break;
            }
            bool pin = InterruptPin;
            if (((_uart.Read(Iir) & 1) == 0) != pin)
                Assert.Fail($"step {i}: IIR and INTR disagree");
            if (_pins.Sent.Count > 1000)
                _pins.Sent.Clear();
            if (_pins.Interrupts.Count > 1000)
                _pins.Interrupts.RemoveRange(0, 900);
        }
    }
}
