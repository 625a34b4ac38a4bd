using System.Buffers.Binary;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Serial;
using Vmm.Machine.Pc;
using Vmm.Machine.Tests.Loading;
using Vmm.Machine.Tests.Running;

namespace Vmm.Machine.Tests.Pc;

internal sealed class PcBoardTests
{
    private readonly string _kernel = Path.GetTempFileName();

    [OneTimeSetUp]
    public void WriteKernel() => File.WriteAllBytes(_kernel, SyntheticKernels.Elf());

    [OneTimeTearDown]
    public void RemoveKernel() => File.Delete(_kernel);

    private PcBoard Create(Action<VirtualMachineOptions>? change = null, IMachineControl? control = null)
    {
        var options = new VirtualMachineOptions { Kernel = _kernel, Memory = 64 << 20, Serial = new NullCharacterBackend() };
        change?.Invoke(options);
        var board = new PcBoard(options, new FakeEngine(), control ?? new Requests(), NullLoggerFactory.Instance);
        board.PowerOn();
        return board;
    }

    [Test]
    public async Task DevicesAnswerAtTheirAddresses()
    {
        await using var board = Create();
        Assert.Multiple(() =>
        {
            Assert.That(board.Ports.Read(0x3FD, 1) & 0x60, Is.EqualTo(0x60), "COM1: transmitter empty");
            Assert.That(board.Ports.Read(0x2FD, 1), Is.EqualTo(0xFF), "no COM2");
            Assert.That(board.Ports.Read(0x64, 1) & 0xE0, Is.Zero, "i8042 status");
            Assert.That(board.Ports.Read(0xE9, 1), Is.EqualTo(0xE9), "debug console");
            Assert.That(board.Ports.Read(0x505, 1) & 1, Is.EqualTo(1), "pvpanic");
            Assert.That(board.Mmio.Read(AddressMap.Hpet, 4) & 0xFFFF_0000, Is.EqualTo(0x8086_0000), "HPET vendor");
            Assert.That(board.Mmio.Read(AddressMap.Ecam, 4), Is.EqualTo(ConfigRead(board, 0, 0)), "host bridge by ECAM and by ports");
            Assert.That(ConfigRead(board, 0, 0) & 0xFFFF, Is.EqualTo(0x8086), "host bridge");
            Assert.That(ConfigRead(board, AddressMap.PciRandomSlot, 0), Is.EqualTo(0x1044_1AF4), "virtio-rng");
            Assert.That(ConfigRead(board, 31, 0), Is.EqualTo(0xFFFF_FFFF), "nothing in the last slot");
            Assert.That(board.Ports.Read(0x4D1, 1), Is.EqualTo(AddressMap.PciEdgeLevel), "IRQ 10 and 11 are level-triggered");
        });
    }

    [Test]
    public async Task CmosTellsOfTheMemory()
    {
        await using var board = Create(static o => o.Memory = 6UL << 30);
        Assert.That(Cmos(board, 0x34) | (Cmos(board, 0x35) << 8), Is.EqualTo(((3 << 30) - (16 << 20)) >> 16 & 0xFFFF));
        Assert.That(Cmos(board, 0x5B) | (Cmos(board, 0x5C) << 8) | (Cmos(board, 0x5D) << 16), Is.EqualTo((3L << 30) >> 16));
    }

    [Test]
    public async Task PciBarsLieInTheirWindow()
    {
        await using var board = Create();
        uint bar = ConfigRead(board, AddressMap.PciRandomSlot, 0x10) & ~0xFu;
        Assert.That(bar, Is.InRange((uint)AddressMap.Pci32Window, (uint)(AddressMap.Pci32Window + AddressMap.Pci32WindowSize)));
        Assert.That(board.Mmio.Mappings.Any(m => m.Start == bar), Is.True);
    }

    [Test]
    public async Task ResetRequestsReachTheMachine()
    {
        var requests = new Requests();
        await using var board = Create(control: requests);
        board.Ports.Write(0x64, 1, 0xFE);
        board.Ports.Write(0x92, 1, 3);
        board.Ports.Write(0xCF9, 1, 6);
        board.Ports.Write(0x604, 2, 0x2000 | (AddressMap.SleepTypeS5 << 10));
        Assert.That(requests.Kinds, Is.EqualTo(new[] { MachineRequestKind.Reset, MachineRequestKind.Reset, MachineRequestKind.Reset, MachineRequestKind.PowerOff }));
    }

    [Test]
    public async Task PowerOnBringsBackTheResetState()
    {
        await using var board = Create();
        board.Ports.Write(0x3FB, 1, 0x1F);
        board.Ports.Write(0x21, 1, 0x55);
        board.Memory.TryWrite(0x50_0000, [1, 2, 3]);
        board.PowerOn();
        byte[] bytes = new byte[3];
        board.Memory.TryRead(0x50_0000, bytes);
        Assert.That(bytes, Is.All.Zero);
        Assert.That(board.Ports.Read(0x3FB, 1), Is.Not.EqualTo(0x1F));
        Assert.That(board.Ports.Read(0x21, 1), Is.Not.EqualTo(0x55));
    }

    [Test]
    public async Task BiosAreaCannotBeOverwritten()
    {
        await using var board = Create();
        Assert.That(board.Memory.TryWrite(AddressMap.Rsdp, [0]), Is.False);
        Assert.That(board.Memory.IsMemory(0xB_8000, 2, forWrite: false), Is.False, "the video hole is not memory");
    }

    [Test]
    public async Task FirmwareDataAreasDescribeTheBoard()
    {
        await using var board = Create(static o => o.ExtraSerials.Add(new NullCharacterBackend()));
        byte[] bda = new byte[0x20];
        board.Memory.TryRead(AddressMap.BiosDataArea, bda);
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(bda), Is.EqualTo(0x3F8));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(bda.AsSpan(2)), Is.EqualTo(0x2F8));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(bda.AsSpan(0x13)), Is.EqualTo(639));
    }

    [Test]
    public void EngineThatFailsLeavesNothingBehind() =>
        Assert.That(
            () => new PcBoard(new VirtualMachineOptions { Kernel = _kernel, Serial = new NullCharacterBackend() }, new BrokenFactory(), new Requests(), NullLoggerFactory.Instance),
            Throws.InstanceOf<NotSupportedException>());

    // Whatever a guest writes where, with whatever size, the board answers and nothing escapes.
    [TestCase(1)]
    [TestCase(2)]
    public async Task GarbageOnEveryPortAndAddressIsSurvived(int seed)
    {
        await using var board = Create(static o => o.DebugExit = true);
        var random = new Random(seed);
        var mmio = board.Mmio.Mappings.ToArray();
        for (int i = 0; i < 150_000; i++)
        {
            int size = 1 << random.Next(3);
            ushort port = (ushort)(random.Next(4) == 0 ? random.Next(0x10000) : random.Next(0x700));
            board.Ports.Write(port, size, (ulong)random.NextInt64() & ((1UL << (8 * size)) - 1));
            board.Ports.Read((ushort)random.Next(0x10000), size);
            var mapping = mmio[random.Next(mmio.Length)];
            size = 1 << random.Next(4);
            ulong address = mapping.Start + (ulong)random.NextInt64((long)mapping.Length);
            board.Mmio.Write(address, size, (ulong)random.NextInt64() >> random.Next(64));
            board.Mmio.Read(address, size);
        }
        board.Clock.Resume();
        board.Clock.Pause();
        Assert.That(board.PowerOn, Throws.Nothing);
        Assert.That(ConfigRead(board, 0, 0) & 0xFFFF, Is.EqualTo(0x8086));
    }

    private static uint ConfigRead(PcBoard board, int device, int register)
    {
        board.Ports.Write(0xCF8, 4, 0x8000_0000u | ((uint)device << 11) | (uint)register);
        return (uint)board.Ports.Read(0xCFC, 4);
    }

    private static long Cmos(PcBoard board, byte index)
    {
        board.Ports.Write(0x70, 1, index);
        return (long)board.Ports.Read(0x71, 1);
    }

    private sealed class Requests : IMachineControl
    {
        public List<MachineRequestKind> Kinds { get; } = [];

        public void Request(MachineRequest request) => Kinds.Add(request.Kind);
    }

    private sealed class BrokenFactory : ICpuEngineFactory
    {
        public string Name => "broken";

        public ICpuEngine Create(CpuEngineContext context) => throw new NotSupportedException();
    }
}
