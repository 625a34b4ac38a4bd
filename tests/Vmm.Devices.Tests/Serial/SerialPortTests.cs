using System.Text;
using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Serial;

internal sealed class SerialPortTests
{
    private const ulong Rbr = 0, Thr = 0, Ier = 1, Iir = 2, Fcr = 2, Mcr = 4, Lsr = 5;
    private const byte Out2 = 0x08, Rts = 0x02, Dtr = 0x01;

    private QueueBackend _backend = null!;
    private RecordingLine _line = null!;
    private ManualVmClock _clock = null!;
    private SerialPort _port = null!;

    [SetUp]
    public void MakePort()
    {
        (_backend, _line, _clock) = (new QueueBackend(), new RecordingLine(), new ManualVmClock());
        _port = new SerialPort(_backend, _line, _clock);
    }

    [TearDown]
    public void Dispose() => _port.Dispose();

    private byte Read(ulong register) => (byte)_port.Read(register, 1);

    private void Write(ulong register, byte value) => _port.Write(register, 1, value);

    [Test]
    public void TheInterruptReachesTheLineThroughOut2()
    {
        Write(Ier, 0x01);
        _backend.Type("a");
        Assert.That(_line.Level, Is.False);
        Write(Mcr, Out2);
        Assert.That(_line.Level);
        Write(Mcr, 0);
        Assert.That(_line.Level, Is.False);
    }

    [Test]
    public void ACharacterThatFollowsAtOnceMakesAnEdge()
    {
        Write(Mcr, Out2);
        Write(Ier, 0x01);
        _backend.Type("ab");
        Assert.That(_line.RisingEdges, Is.EqualTo(1));
        Assert.That(Read(Rbr), Is.EqualTo((byte)'a'));
        Assert.That(_line.RisingEdges, Is.EqualTo(2), "INTR drops with the read and rises with the next character");
        Assert.That(Read(Rbr), Is.EqualTo((byte)'b'));
        Assert.That(_line.Level, Is.False);
    }

    [Test]
    public void InputWaitsForRoom()
    {
        Write(Fcr, 0x01);
        _backend.Type(new string('x', 100));
        Assert.That(_backend.Waiting, Is.EqualTo(84));
        for (int i = 0; i < 100; i++)
            Assert.That((Read(Lsr) & 0x03, Read(Rbr)), Is.EqualTo((1, (byte)'x')), $"character {i}, no overrun");
        Assert.That(Read(Lsr), Is.EqualTo(0x60));
    }

    [Test]
    public void InputWaitsForRequestToSendOnceTheGuestUsesIt()
    {
        _backend.Type("a");
        Assert.That(Read(Rbr), Is.EqualTo((byte)'a'), "a guest that never heard of RTS gets its input");
        Write(Mcr, Rts | Dtr);
        Write(Mcr, Dtr);
        _backend.Type("b");
        Assert.That(Read(Lsr) & 1, Is.Zero);
        Write(Mcr, Rts | Dtr);
        Assert.That(Read(Rbr), Is.EqualTo((byte)'b'));
    }

    [Test]
    public void InputWaitsForTheEndOfLoopback()
    {
        Write(Mcr, 0x10);
        _backend.Type("a");
        Assert.That(Read(Lsr) & 1, Is.Zero);
        Write(Mcr, 0);
        Assert.That(Read(Rbr), Is.EqualTo((byte)'a'));
    }

    [Test]
    public void ABreakKeepsItsPlace()
    {
        Write(Fcr, 0x01);
        _backend.Type("a");
        _backend.SendBreak();
        _backend.Type("h");
        Assert.That(Read(Rbr), Is.EqualTo((byte)'a'));
        Assert.That(Read(Lsr) & 0x10, Is.Not.Zero);
        Assert.That((Read(Rbr), Read(Rbr)), Is.EqualTo(((byte)0, (byte)'h')));
    }

    [Test]
    public void TheCharacterTimeoutComesAfterFourCharacterTimes()
    {
        Write(Mcr, Out2);
        Write(Fcr, 0xC1);
        Write(Ier, 0x01);
        _backend.Type("a");
        const long FourCharacters = 4 * 7 * 12 * 16 * 1_000_000_000L / 1_843_200; // 9600 baud, 5N1 as after reset
        _clock.Advance(FourCharacters / 2);
        _backend.Type("b");
        _clock.Advance(FourCharacters * 3 / 4);
        Assert.That(_line.Level, Is.False, "each character starts it anew");
        _clock.Advance(FourCharacters / 4 + 10);
        Assert.That(_line.Level);
        Assert.That(Read(Iir), Is.EqualTo(0xCC));
        Read(Rbr);
        Assert.That(_line.Level, Is.False);
        _clock.Advance(FourCharacters + 10);
        Assert.That(_line.Level, "one more character waits");
        Read(Rbr);
        _clock.Advance(FourCharacters * 10);
        Assert.That(_line.Level, Is.False);
    }

    [Test]
    public void ABackendWithoutRoomHoldsTheTransmitter()
    {
        _backend.Room = 2;
        Write(Fcr, 0x01);
        foreach (byte b in "abcdef"u8)
            Write(Thr, b);
        Assert.That(Read(Lsr) & 0x60, Is.Zero);
        _backend.MakeRoom(1);
        Assert.That(_backend.Output, Is.EqualTo("abc"));
        Write(Mcr, Out2);
        Write(Ier, 0x02);
        Assert.That(_line.Level, Is.False);
        _backend.MakeRoom(100);
        Assert.That(_backend.Output, Is.EqualTo("abcdef"));
        Assert.That(_line.Level, "the holding register is empty again");
        Assert.That(Read(Lsr), Is.EqualTo(0x60));
    }

    [Test]
    public void WideAccessesAreSplitAndOthersReadOnes()
    {
        var bus = Bus.CreatePortBus();
        _port.Map(bus, 0x3F8);
        bus.Write(0x3FE, 2, 0xA500);
        Assert.That(bus.Read(0x3FF, 1), Is.EqualTo(0xA5));
        Assert.That(bus.Read(0x3FD, 1), Is.EqualTo(0x60));
        Assert.That(bus.Read(0x3FF, 2), Is.EqualTo(0xFFA5));
    }

    [Test]
    public void ResetDropsTheLine()
    {
        Write(Mcr, Out2);
        Write(Ier, 0x02);
        Assert.That(_line.Level);
        _port.Reset();
        Assert.That(_line.Level, Is.False);
        Assert.That(_line.RisingEdges, Is.EqualTo(1));
    }

    [Test]
    public void SnapshotKeepsTheTimeoutAndMakesNoEdge()
    {
        Write(Mcr, Out2);
        Write(Fcr, 0xC1);
        Write(Ier, 0x03);
        Read(Iir);
        _backend.Type("a");
        var state = _port.Capture();

        var line = new RecordingLine();
        using var copy = new SerialPort(new QueueBackend(), line, _clock);
        copy.Restore(state);
        Assert.That(line.Levels, Is.Empty);
        _clock.Advance(1_000_000_000);
        Assert.That(line.Level, "the timeout runs on");
        Assert.That(copy.Read(Rbr, 1), Is.EqualTo((ulong)'a'));
    }

    [Test]
    public void SnapshotOfARaisedLineMakesNoEdgeButAFallLater()
    {
        Write(Mcr, Out2);
        Write(Ier, 0x01);
        _backend.Type("a");
        var line = new RecordingLine();
        using var copy = new SerialPort(new QueueBackend(), line, _clock);
        copy.Restore(_port.Capture());
        Assert.That(line.Levels, Is.Empty);
        copy.Read(Rbr, 1);
        Assert.That(line.Levels, Is.EqualTo(new[] { false }));
    }

    [Test]
    public void NoByteIsLostBetweenGuestAndConsole()
    {
        // A megabyte through a buffer of 64 KiB, the guest polling THRE as a driver does.
        const int Size = 1 << 20;
        using var backend = new MemoryCharacterBackend();
        using var port = new SerialPort(backend, new RecordingLine(), new ManualVmClock());
        var guest = new Thread(() =>
        {
            port.Write(Fcr, 1, 0x01);
            for (int i = 0; i < Size;)
            {
                if ((port.Read(Lsr, 1) & 0x20) == 0)
                {
                    Thread.Yield();
                    continue;
                }
                for (int n = 0; n < 16; n++, i++)
                    port.Write(Thr, 1, (byte)(i * 7));
            }
        });
        guest.Start();
        byte[] received = new byte[Size];
        backend.Console.ReadExactly(received);
        guest.Join();
        for (int i = 0; i < Size; i++)
        {
            if (received[i] != (byte)(i * 7))
                Assert.Fail($"byte {i} is 0x{received[i]:x2}");
        }
    }

    [Test]
    public void InputFromTheConsoleReachesTheGuest()
    {
        const int Size = 20_000;
        using var backend = new MemoryCharacterBackend();
        using var port = new SerialPort(backend, new RecordingLine(), new ManualVmClock());
        port.Write(Fcr, 1, 0x01);
        var writer = new Thread(() => backend.Console.Write(Encoding.ASCII.GetBytes(new string('q', Size - 1) + "\n")));
        writer.Start();
        int seen = 0;
        byte last = 0;
        var limit = DateTime.UtcNow.AddSeconds(30);
        while (seen < Size && DateTime.UtcNow < limit)
        {
            if ((port.Read(Lsr, 1) & 1) == 0)
            {
                Thread.Yield();
                continue;
            }
            last = (byte)port.Read(Rbr, 1);
            seen++;
        }
        writer.Join();
        Assert.That((seen, last), Is.EqualTo((Size, (byte)'\n')));
    }

    private sealed class QueueBackend : ICharacterBackend
    {
        private readonly Queue<ReceivedCharacter> _input = new();
        private readonly StringBuilder _output = new();
        private ICharacterFrontend? _frontend;

        public string Name => "queue";

        public int Room { get; set; } = int.MaxValue;

        public int Waiting => _input.Count;

        public string Output => _output.ToString();

        public void Type(string text)
        {
            foreach (char c in text)
                _input.Enqueue(new ReceivedCharacter((byte)c));
            _frontend!.InputAvailable();
        }

        public void MakeRoom(int bytes)
        {
            Room = bytes;
            _frontend!.OutputReady();
        }

        public void Attach(ICharacterFrontend frontend) => _frontend = frontend;

        public bool TryWrite(byte value)
        {
            if (Room == 0)
                return false;
            Room--;
            _output.Append((char)value);
            return true;
        }

        public bool TryRead(out ReceivedCharacter character) => _input.TryDequeue(out character);

        public void SendBreak()
        {
            _input.Enqueue(new ReceivedCharacter(0, IsBreak: true));
            _frontend!.InputAvailable();
        }

        public bool Flush(TimeSpan limit) => true;

        public void Dispose()
        {
        }
    }
}
