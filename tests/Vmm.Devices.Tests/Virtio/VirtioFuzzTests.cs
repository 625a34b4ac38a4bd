using Vmm.Block;
using Vmm.Devices.Virtio;
using Vmm.Devices.Virtio.Block;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>A guest that writes garbage everywhere. Whatever it did, a reset gives it a working device.</summary>
public class VirtioFuzzTests
{
    private string _path = "";
    private IBlockBackend _backend = null!;
    private VirtioTestMachine _machine = null!;

    [SetUp]
    public void Start()
    {
        _path = Path.GetTempFileName();
        File.WriteAllBytes(_path, new byte[1 << 20]);
        _backend = DiskImage.Open(new DiskOptions { Path = _path, Format = "raw" });
        _machine = new VirtioTestMachine(m => new VirtioBlock(m, _backend, new VirtioBlockOptions { Queues = 2 }, VirtioTestMachine.Logger));
    }

    [TearDown]
    public async Task Stop()
    {
        _machine.Dispose();
        await _backend.DisposeAsync();
        File.Delete(_path);
    }

    private static readonly int[] Sizes = [1, 2, 4, 8];

    [TestCase(11)]
    [TestCase(12)]
    [TestCase(13)]
    public void GarbageInEveryRegister(int seed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        for (int i = 0; i < 60_000; i++)
        {
            int size = Sizes[random.Next(4)];
            ulong value = random.Next(3) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(16);
            switch (random.Next(6))
            {
                case 0:
                    _machine.Write((ulong)random.Next(0x4000), size, value);
                    break;
                case 1:
                    _machine.Read((ulong)random.Next(0x4000), size);
                    break;
                case 2:
                    _machine.Mmio.Write(_machine.MsixTable + (ulong)random.Next(0x1000), size, value);
                    break;
                case 3:
                    _machine.Ports.Write((ulong)(0xCF8 + random.Next(8)), Math.Min(size, 4), value | (random.Next(2) == 0 ? 0x8000_0800u : 0));
                    break;
                case 4:
                    _machine.WriteConfig(random.Next(4096), Math.Min(size, 4), (uint)value);
                    break;
                default:
                    _machine.ReadConfig(random.Next(4096), Math.Min(size, 4));
                    break;
            }
        }
        ExpectWorking();
    }

    [TestCase(21, false)]
    [TestCase(22, true)]
    [TestCase(23, false)]
    [TestCase(24, true)]
    public void GarbageInTheRings(int seed, bool packed)
    {
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        ulong features = VirtioFeatures.Version1 | VirtioFeatures.IndirectDescriptors | VirtioFeatures.EventIndex
            | VirtioBlockFeatures.Discard | VirtioBlockFeatures.WriteZeroes | (packed ? VirtioFeatures.RingPacked : 0);
        byte[] garbage = new byte[0x1000];
        for (int round = 0; round < 300; round++)
        {
            _machine.Negotiate(features);
            var queue = TestQueue.Create(_machine, 0, 16, 0x4_0000, features);
            queue.Enable();
            _machine.DriverOk();
            for (int kick = 0; kick < 8; kick++)
            {
                Scribble(random, garbage, queue);
                queue.Kick();
            }
        }
        ExpectWorking();
    }

    // Mostly small numbers, so that much of the garbage is nearly right.
    private void Scribble(Random random, byte[] garbage, TestQueue queue)
    {
        for (int i = 0; i < garbage.Length; i++)
            garbage[i] = random.Next(4) == 0 ? (byte)random.Next(256) : (byte)random.Next(4);
        for (int i = 0; i < 256; i += 16)
            garbage.AsSpan(i + 4, 4).Clear();
        _machine.Memory.TryWrite(queue.Descriptors, garbage.AsSpan(0, 256));
        _machine.Memory.TryWrite(queue.Driver, garbage.AsSpan(512, 64));
        _machine.Memory.TryWrite(0, garbage);
    }

    private void ExpectWorking()
    {
        _machine.Bus.Reset();
        _machine.Assign();
        _machine.Negotiate(VirtioFeatures.Version1);
        var queue = TestQueue.Create(_machine, 0, 16, 0x4_0000, VirtioFeatures.Version1);
        queue.Enable();
        _machine.DriverOk();
        _machine.Memory.TryWrite(0x10_0000, new byte[16]);
        _machine.Memory.TryWrite(0x10_1000, [0xEE]);
        queue.Run(new Piece(0x10_0000, 16, false), new Piece(0x20_0000, 512, true), new Piece(0x10_1000, 1, true));
        byte[] status = new byte[1];
        _machine.Memory.TryRead(0x10_1000, status);
        Assert.That(status[0], Is.Zero);
    }
}
