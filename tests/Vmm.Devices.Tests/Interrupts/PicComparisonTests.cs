using Vmm.Core.Buses;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>
/// The pair of 8259As against QEMU's: random initializations, commands, polls and requests, comparing every readable register. Left
/// out is what QEMU's part does not do as the datasheet says: a non-specific EOI in special mask mode, ICW1's level mode, and the reset
/// of the edge sense when the master alone is initialized.
/// </summary>
[TestFixture]
internal sealed class PicComparisonTests
{
    private static readonly ulong[] Commands = [0x20, 0xA0];

    // Where QEMU's pc machine has the two chips in its object tree.
    private static readonly string[] QemuChips = ["/machine/unattached/device[6]", "/machine/unattached/device[7]"];

    private QemuOracle _qemu = null!;
    private QemuOracle? _started;
    private DualPic _pic = null!;
    private Bus _ports = null!;

    [SetUp]
    public void SetUp()
    {
        _started = null;
        _started = _qemu = QemuOracle.StartOrIgnore();
        _pic = new DualPic(new RecordingLine());
        _ports = Bus.CreatePortBus();
        _pic.Map(_ports);
    }

    // Nothing was started where QEMU is missing and the test was ignored.
    [TearDown]
    public void TearDown() => _started?.Dispose();

    [Test]
    public void RandomOperations_GiveTheSameRegisters([Values(11, 12, 13)] int seed)
    {
        var random = new Random(seed);
        int levels = 0;
        var specialMask = new bool[2];
        Write(0x4D0, (byte)random.Next(256));
        Write(0x4D1, (byte)random.Next(256));
        Initialize(0, random);
        Initialize(1, random);
        for (int i = 0; i < 3000; i++)
        {
            int chip = random.Next(2);
            ulong command = Commands[chip];
            switch (random.Next(12))
            {
                case < 5:
                    int irq = random.Next(16);
                    if (irq == 2)
                        break;
                    levels ^= 1 << irq;
                    bool asserted = (levels >> irq & 1) != 0;
                    _qemu.SetInput(QemuChips[irq / 8], irq % 8, asserted);
                    _pic.SetInput(irq, asserted);
                    break;
                case 5:
                    Write(command + 1, (byte)(random.Next(256) & random.Next(256)));
                    break;
                case 6:
                    Write(command, 0x0C);
                    Compare(command, $"poll, operation {i}");
                    break;
                case 7 or 8:
                    byte ocw2 = (byte)(random.Next(8) << 5 | random.Next(8));
                    bool nonSpecific = (ocw2 & 0x60) == 0x20;
                    if (!nonSpecific || !specialMask[chip])
                        Write(command, ocw2);
                    break;
                case 9:
                    specialMask[chip] = random.Next(2) == 0;
                    Write(command, specialMask[chip] ? (byte)0x68 : (byte)0x48);
                    break;
                case 10 when random.Next(10) == 0:
                    Initialize(0, random);
                    Initialize(1, random);
                    specialMask.AsSpan().Clear();
                    break;
                default:
                    break;
            }
            CompareAll($"operation {i}");
        }
    }

    private void Initialize(int chip, Random random)
    {
        ulong command = Commands[chip];
        bool needsIcw4 = random.Next(4) != 0;
        Write(command, (byte)(0x10 | (needsIcw4 ? 1 : 0)));
        Write(command + 1, (byte)random.Next(256));
        Write(command + 1, (byte)(chip == 0 ? 4 : 2));
        if (needsIcw4)
            Write(command + 1, (byte)(1 | (random.Next(3) == 0 ? 2 : 0) | (random.Next(3) == 0 ? 16 : 0)));
    }

    private void Write(ulong port, byte value)
    {
        _qemu.Write((ushort)port, value);
        _ports.Write(port, 1, value);
    }

    private void Compare(ulong port, string when) =>
        Assert.That(_ports.Read(port, 1), Is.EqualTo(_qemu.Read((ushort)port)), $"port 0x{port:x}, {when}");

    private void CompareAll(string when)
    {
        foreach (ulong command in Commands)
        {
            Compare(command + 1, when);
            Write(command, 0x0A);
            Compare(command, when);
            Write(command, 0x0B);
            Compare(command, when);
        }
    }
}
