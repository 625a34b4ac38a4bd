using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Pci;
using Vmm.Devices.Tests.Virtio;

namespace Vmm.Devices.Tests.Pci;

public class PciBusTests
{
    private const ulong Ecam = 0xE000_0000;

    private readonly PciResourceWindows _windows = new(0xC000_0000, 0x1000_0000, 0x1000, 0x1000, 0x10_0000_0000, 0x1_0000_0000);

    private Bus _ports = null!;
    private Bus _mmio = null!;
    private RecordingMsiSink _msi = null!;
    private RecordingLine[] _lines = null!;
    private PciBus _bus = null!;
    private TestFunction _function = null!;

    [SetUp]
    public void Start()
    {
        _ports = Bus.CreatePortBus();
        _mmio = Bus.CreateMmioBus();
        _msi = new RecordingMsiSink();
        _lines = [.. Enumerable.Range(0, 4).Select(_ => new RecordingLine())];
        _bus = new PciBus(_ports, _mmio, _msi, _lines);
        _bus.MapConfigPorts();
        _bus.MapEcam(Ecam);
        _function = new TestFunction(_msi);
        _bus.Add(3, _function);
    }

    private uint Read(int offset, int size, int device = 3) => (uint)_mmio.Read(Ecam + ((ulong)device << 15) + (ulong)offset, size);

    private void Write(int offset, int size, uint value, int device = 3) => _mmio.Write(Ecam + ((ulong)device << 15) + (ulong)offset, size, value);

    private void Select(uint address) => _ports.Write(0xCF8, 4, 0x8000_0000 | address);

    [Test]
    public void HostBridgeIsDeviceZero()
    {
        Select(0);
        Assert.That(_ports.Read(0xCFC, 4), Is.EqualTo(0x29C0_8086));
        Assert.That(_ports.Read(0xCFE, 2), Is.EqualTo(0x29C0));
        Select(8);
        Assert.That(_ports.Read(0xCFC, 4) >> 8, Is.EqualTo(0x06_0000));
        Assert.That(_ports.Read(0xCF8, 4), Is.EqualTo(0x8000_0008));
    }

    [Test]
    public void AbsentFunctionsAndBusesReadAllOnes()
    {
        Select(5 << 11);
        Assert.That(_ports.Read(0xCFC, 4), Is.EqualTo(0xFFFF_FFFF));
        Assert.That(_ports.Read(0xCFD, 1), Is.EqualTo(0xFF));
        Select(1 << 16);
        Assert.That(_ports.Read(0xCFC, 4), Is.EqualTo(0xFFFF_FFFF));
        Assert.That(_mmio.Read(Ecam + (1 << 20), 4), Is.EqualTo(0xFFFF_FFFF));
        _mmio.Write(Ecam + (1 << 20), 4, 0);
        Assert.That(Read(0, 4, device: 3) & 0xFFFF, Is.EqualTo(0x1234));
    }

    [Test]
    public void DisabledConfigAddressSelectsNothing()
    {
        _ports.Write(0xCF8, 4, 3 << 11);
        Assert.That(_ports.Read(0xCFC, 4), Is.EqualTo(0xFFFF_FFFF));
        _ports.Write(0xCF8, 2, 0x8000);
        Assert.That(_ports.Read(0xCF8, 4), Is.EqualTo(3 << 11));
    }

    [Test]
    public void IdentityIsReadOnlyByBytesWordsAndDwords()
    {
        for (int offset = 0; offset < 4; offset++)
            Write(offset, 1, 0xFF);
        Write(0, 2, 0);
        Write(8, 4, 0);
        Write(0x2C, 4, 0);
        Assert.That(Read(0, 4), Is.EqualTo(0x5678_1234));
        Assert.That(Read(2, 1), Is.EqualTo(0x78));
        Assert.That(Read(3, 1), Is.EqualTo(0x56));
        Assert.That(Read(8, 4), Is.EqualTo(0x02_0000_07));
        Assert.That(Read(0x2C, 4), Is.EqualTo(0x0002_0001));
    }

    [Test]
    public void ExtendedConfigurationReadsAsZero()
    {
        Write(0x100, 4, 0xFFFF_FFFF);
        Assert.That(Read(0x100, 4), Is.Zero);
        Assert.That(Read(0xFFC, 4), Is.Zero);
    }

    [TestCase(0x10, 0xFFFF_F000u)]
    [TestCase(0x14, 0xFFFF_FFE1u)]
    [TestCase(0x18, 0xFFF0_000Cu)]
    [TestCase(0x1C, 0xFFFF_FFFFu)]
    [TestCase(0x24, 0u)]
    public void BarsTellTheirSize(int offset, uint expected)
    {
        Write(4, 2, 3);
        Write(offset, 4, 0xFFFF_FFFF);
        Assert.That(Read(offset, 4), Is.EqualTo(expected));
    }

    [Test]
    public void ResourcesAreAssignedAlignedAndDecoded()
    {
        _bus.AssignResources(_windows, wire => (byte)(wire + 10));
        uint memory = Read(0x10, 4);
        uint io = Read(0x14, 4) & ~3u;
        ulong high = Read(0x18, 4) & ~0xFu | (ulong)Read(0x1C, 4) << 32;
        Assert.That(memory, Is.GreaterThanOrEqualTo(0xC000_0000u).And.LessThan(0xD000_0000u));
        Assert.That(memory & 0xFFF, Is.Zero);
        Assert.That(high, Is.EqualTo(0x10_0000_0000));
        Assert.That(_mmio.Read(memory + 8, 4), Is.EqualTo(0xA0_0008));
        Assert.That(_ports.Read(io + 4, 1), Is.EqualTo(4));
        Assert.That(_mmio.Read(high + 0x10, 4), Is.EqualTo(0xA0_0010));
        Assert.That(Read(0x3C, 2), Is.EqualTo(0x010D), "INTA of device 3 on wire 3");
        Assert.That(Read(4, 2), Is.EqualTo(3));
    }

    [Test]
    public void WindowThatIsTooSmallIsAnError() =>
        Assert.That(() => _bus.AssignResources(new PciResourceWindows(0xC000_0000, 0x1000)), Throws.InstanceOf<VmmException>());

    [Test]
    public void BarMovesAndFollowsCommand()
    {
        Write(0x10, 4, 0xD000_0000);
        Assert.That(_mmio.Read(0xD000_0000, 4), Is.EqualTo(0xFFFF_FFFF), "decoding is off");
        Write(4, 2, 2);
        Assert.That(_mmio.Read(0xD000_0004, 4), Is.EqualTo(0xA0_0004));
        Write(0x12, 2, 0xD111);
        Assert.That(_mmio.Read(0xD000_0004, 4), Is.EqualTo(0xFFFF_FFFF));
        Assert.That(_mmio.Read(0xD111_0004, 4), Is.EqualTo(0xA0_0004));
        Write(4, 2, 0);
        Assert.That(_mmio.Read(0xD111_0004, 4), Is.EqualTo(0xFFFF_FFFF));
    }

    [Test]
    public void SizingWhileDecodingMapsNothingAtTheTop()
    {
        Write(4, 2, 3);
        Write(0x10, 4, 0xFFFF_FFFF);
        Assert.That(_mmio.Read(0xFFFF_F000, 4), Is.EqualTo(0xFFFF_FFFF));
        Write(0x14, 4, 0xFFFF_FFFF);
        Write(0x1C, 4, 0xFFFF_FFFF);
        Assert.That(_mmio.Mappings, Has.Count.EqualTo(1), "the ECAM alone");
    }

    [Test]
    public void BarLosesAgainstABoardDevice()
    {
        _mmio.Map("board", 0xD000_0000, 0x10, new Pattern(0xB0_0000));
        Write(0x10, 4, 0xD000_0000);
        Write(4, 2, 2);
        Assert.That(_mmio.Read(0xD000_0000, 4), Is.EqualTo(0xB0_0000));
        Assert.That(_mmio.Read(0xD000_0010, 4), Is.EqualTo(0xA0_0010));
    }

    [Test]
    public void ResetUnassignsEverything()
    {
        _bus.AssignResources(_windows);
        _function.SetPin(true);
        _bus.Reset();
        Assert.That(Read(4, 2), Is.Zero);
        Assert.That(Read(0x10, 4), Is.Zero);
        Assert.That(_mmio.Mappings, Has.Count.EqualTo(1));
        Assert.That(_lines[3].Level, Is.False);
    }

    [Test]
    public void PinIsSwizzledSharedAndDisabledByCommand()
    {
        var other = new TestFunction(_msi);
        _bus.Add(7, other);
        _function.SetPin(true);
        other.SetPin(true);
        Assert.That(_lines[3].Level, Is.True);
        Assert.That(Read(6, 2) & 8, Is.EqualTo(8));
        _function.SetPin(false);
        Assert.That(_lines[3].Level, Is.True, "the other device still pulls");
        Write(4, 2, 0x400, device: 7);
        Assert.That(_lines[3].Level, Is.False);
        Assert.That(Read(6, 2, device: 7) & 8, Is.EqualTo(8), "the status shows it all the same");
        Write(4, 2, 0, device: 7);
        Assert.That(_lines[3].Level, Is.True);
        Assert.That(_lines[3].RisingEdges, Is.EqualTo(2));
        Assert.That(_lines.Where((_, i) => i != 3).Any(l => l.Levels.Count != 0), Is.False);
    }

    [Test]
    public void MsixMasksAndKeepsPending()
    {
        _bus.AssignResources(_windows);
        Write(4, 2, 7);
        int capability = Find(0x11);
        ulong table = Read(0x20, 4);
        uint pba = Read(capability + 8, 4) & ~7u;
        Assert.That(Read(capability + 2, 2), Is.EqualTo(2), "three vectors");
        Write(capability + 2, 2, 0x8000);
        _mmio.Write(table + 16, 8, 0xFEE0_1000);
        _mmio.Write(table + 24, 4, 0x41);
        _function.Vectors.Signal(1);
        Assert.That(_msi.Messages, Is.Empty, "masked at reset");
        Assert.That(_mmio.Read(table + pba, 8), Is.EqualTo(2));
        _mmio.Write(table + 28, 4, 0);
        Assert.That(_msi.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE0_1000, 0x41) }));
        Assert.That(_mmio.Read(table + pba, 8), Is.Zero);
        Write(capability + 2, 2, 0xC000);
        _function.Vectors.Signal(1);
        _function.Vectors.Signal(1);
        Assert.That(_msi.Messages, Has.Count.EqualTo(1), "function mask");
        Write(capability + 2, 2, 0x8000);
        Assert.That(_msi.Messages, Has.Count.EqualTo(2));
        Write(4, 2, 3);
        _function.Vectors.Signal(1);
        Assert.That(_msi.Messages, Has.Count.EqualTo(2), "no bus master");
        Write(4, 2, 7);
        Assert.That(_msi.Messages, Has.Count.EqualTo(3));
        _function.Vectors.Signal(3);
        _function.Vectors.Signal(-1);
        Assert.That(_msi.Messages, Has.Count.EqualTo(3));
    }

    [Test]
    public void MsiUsesAllocatedVectorsAndMasks()
    {
        int capability = Find(5);
        Assert.That(Read(capability + 2, 2) & 0x18E, Is.EqualTo(0x184), "four vectors, 64 bits, masks");
        Write(4, 2, 4);
        Write(capability + 4, 4, 0xFEE0_3000);
        Write(capability + 12, 2, 0x60);
        Write(capability + 2, 2, 0x21);
        _function.Msi(3);
        Assert.That(_msi.Messages, Is.EqualTo(new[] { new MsiMessage(0xFEE0_3000, 0x63) }));
        Write(capability + 16, 4, 2);
        _function.Msi(1);
        Assert.That(_msi.Messages, Has.Count.EqualTo(1));
        Assert.That(Read(capability + 20, 4), Is.EqualTo(2));
        Write(capability + 16, 4, 0);
        Assert.That(_msi.Messages[^1].Data, Is.EqualTo(0x61));
        Assert.That(Read(capability + 20, 4), Is.Zero);
        _function.SetPin(true);
        Assert.That(_lines[3].Level, Is.False, "MSI replaces the pin");
    }

    [TestCase(31)]
    [TestCase(32)]
    public void GarbageInConfigurationSpaceDoesNoHarm(int seed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        for (int i = 0; i < 50_000; i++)
        {
            int size = 1 << random.Next(4);
            _mmio.Write(Ecam + (ulong)random.Next(1 << 20), size, (ulong)random.NextInt64());
            _mmio.Read(Ecam + (ulong)random.Next(1 << 28), size);
            _ports.Write((ulong)(0xCF8 + random.Next(8)), 1 << random.Next(3), (ulong)random.NextInt64());
        }
        Assert.That(_mmio.Mappings, Has.Count.LessThan(12));
        _bus.Reset();
        _bus.AssignResources(_windows);
        Assert.That(_mmio.Read(Read(0x10, 4) + 8, 4), Is.EqualTo(0xA0_0008));
    }

    private int Find(byte id)
    {
        for (int offset = (int)Read(0x34, 1); offset != 0; offset = (int)Read(offset + 1, 1))
        {
            if (Read(offset, 1) == id)
                return offset;
        }
        throw new InvalidOperationException($"No capability {id}.");
    }

    /// <summary>Registers that read as their offset.</summary>
    private sealed class Pattern(ulong tag) : IBusDevice
    {
        public ulong Read(ulong offset, int size) => (tag + offset) & (ulong.MaxValue >> (64 - 8 * size));

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }

    private sealed class TestFunction : PciFunction
    {
        public TestFunction(IMsiSink sink)
            : base("test", new PciIdentity(0x1234, 0x5678, 0x02_0000, 7, 1, 2), interruptPin: 1)
        {
            Vectors = new MsixTable(sink, 3);
            AddBar(0, PciBarKind.Memory32, 0x1000, new Pattern(0xA0_0000));
            AddBar(1, PciBarKind.Io, 0x20, new Pattern(0));
            AddBar(2, PciBarKind.PrefetchableMemory64, 0x10_0000, new Pattern(0xA0_0000));
            AddMsix(4, Vectors);
            AddMsi(2);
        }

        public MsixTable Vectors { get; }

        public void SetPin(bool asserted) => SetInterrupt(asserted);

        public void Msi(int vector) => SignalMsi(vector);
    }
}
