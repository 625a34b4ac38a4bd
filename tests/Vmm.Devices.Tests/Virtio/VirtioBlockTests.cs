using System.Buffers.Binary;
using System.Text;
using Vmm.Block;
using Vmm.Devices.Virtio;
using Vmm.Devices.Virtio.Block;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>A block device on a real file, driven from the guest's side by registers and rings.</summary>
[TestFixture(false, false)]
[TestFixture(false, true)]
[TestFixture(true, false)]
[TestFixture(true, true)]
public class VirtioBlockTests(bool packed, bool eventIndex)
{
    private const int DiskSize = 1 << 20;
    private const ulong Header = 0x10_0000;
    private const ulong StatusByte = 0x10_1000;
    private const ulong Data = 0x20_0000;

    private string _path = "";
    private byte[] _content = [];
    private IBlockBackend _backend = null!;
    private VirtioTestMachine _machine = null!;
    private TestQueue _queue = null!;

    private ulong Features => VirtioFeatures.Version1 | VirtioFeatures.IndirectDescriptors | VirtioBlockFeatures.Flush | VirtioBlockFeatures.Discard
        | VirtioBlockFeatures.WriteZeroes | VirtioBlockFeatures.ConfigWce | VirtioFeatures.RingReset
        | (packed ? VirtioFeatures.RingPacked : 0) | (eventIndex ? VirtioFeatures.EventIndex : 0);

    [SetUp]
    public void Start()
    {
        _path = Path.GetTempFileName();
        _content = new byte[DiskSize];
        new Random(5).NextBytes(_content);
        File.WriteAllBytes(_path, _content);
        Open(readOnly: false);
        Configure();
    }

    private void Open(bool readOnly)
    {
        _backend = DiskImage.Open(new DiskOptions { Path = _path, Format = "raw", ReadOnly = readOnly });
        _machine = new VirtioTestMachine(m => new VirtioBlock(m, _backend, new VirtioBlockOptions { Id = "serial-1", Queues = 2 }, VirtioTestMachine.Logger));
    }

    private void Configure(ulong features = 0)
    {
        _machine.Negotiate(features == 0 ? Features : features);
        _machine.EnableMsix(3);
        _machine.Write(0x10, 2, 0);
        _queue = TestQueue.Create(_machine, 0, 16, 0x4_0000, Features);
        _queue.Enable(vector: 1);
        _machine.DriverOk();
    }

    [TearDown]
    public async Task Stop()
    {
        _machine.Dispose();
        await _backend.DisposeAsync();
        File.Delete(_path);
    }

    private Piece[] Request(uint type, ulong sector, params Piece[] data)
    {
        byte[] header = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header, type);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), sector);
        _machine.Memory.TryWrite(Header, header);
        _machine.Memory.TryWrite(StatusByte, [0xEE]);
        return [new Piece(Header, 16, false), .. data, new Piece(StatusByte, 1, true)];
    }

    private byte Status => ReadMemory(StatusByte, 1)[0];

    private byte[] ReadMemory(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        _machine.Memory.TryRead(address, bytes);
        return bytes;
    }

    private byte Do(uint type, ulong sector, params Piece[] data)
    {
        _queue.Run(Request(type, sector, data));
        return Status;
    }

    [Test]
    public void ConfigurationShowsTheDisk()
    {
        Assert.That(_machine.ReadDeviceConfig(0, 8), Is.EqualTo(DiskSize / 512));
        Assert.That(_machine.ReadDeviceConfig(12, 4), Is.EqualTo(254));
        Assert.That(_machine.ReadDeviceConfig(20, 4), Is.EqualTo(512));
        Assert.That(_machine.ReadDeviceConfig(24, 1), Is.EqualTo(3));
        Assert.That(_machine.ReadDeviceConfig(34, 2), Is.EqualTo(2));
        Assert.That(_machine.ReadConfig(0, 4), Is.EqualTo(0x1042_1AF4));
        Assert.That(_machine.ReadConfig(8, 1), Is.EqualTo(1));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void ReadsScatteredData(bool indirect)
    {
        Piece[] request = Request(0, 3, new Piece(Data, 512, true), new Piece(Data + 0x5000, 1024, true));
        int id = _queue.Add(request, indirect);
        _queue.Kick();
        Assert.That(_queue.WaitUsed(), Is.EqualTo((id, 1537u)));
        Assert.That(Status, Is.Zero);
        Assert.That(ReadMemory(Data, 512), Is.EqualTo(_content[1536..2048]));
        Assert.That(ReadMemory(Data + 0x5000, 1024), Is.EqualTo(_content[2048..3072]));
        VirtioTestMachine.Wait(() => _machine.Msi.Count(VirtioTestMachine.QueueVectorData) > 0, "the interrupt");
    }

    [Test]
    public void WritesReachTheFileAfterAFlush()
    {
        byte[] data = new byte[4096];
        new Random(6).NextBytes(data);
        _machine.Memory.TryWrite(Data, data);
        Assert.That(Do(1, 8, new Piece(Data, 4096, false)), Is.Zero);
        Assert.That(Do(4, 0), Is.Zero);
        Assert.That(File.ReadAllBytes(_path)[4096..8192], Is.EqualTo(data));
    }

    [Test]
    public void HeaderAndStatusMayBeCutAnywhere()
    {
        Piece[] request = Request(0, 1);
        _queue.Run(new Piece(Header, 3, false), new Piece(Header + 3, 13, false), new Piece(Data, 100, true), new Piece(Data + 100, 413, true));
        Assert.That(request, Has.Length.EqualTo(2));
        Assert.That(ReadMemory(Data, 512), Is.EqualTo(_content[512..1024]));
        Assert.That(ReadMemory(Data + 512, 1)[0], Is.Zero);
    }

    [Test]
    public void IdentityIsReported()
    {
        Assert.That(Do(8, 0, new Piece(Data, 20, true)), Is.Zero);
        Assert.That(Encoding.ASCII.GetString(ReadMemory(Data, 20)).TrimEnd('\0'), Is.EqualTo("serial-1"));
    }

    [TestCase(13u, 1u)]
    [TestCase(13u, 0u)]
    [TestCase(11u, 0u)]
    public void ZeroedRangesReadAsZero(uint type, uint flags)
    {
        byte[] range = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(range, 16);
        BinaryPrimitives.WriteUInt32LittleEndian(range.AsSpan(8), 8);
        BinaryPrimitives.WriteUInt32LittleEndian(range.AsSpan(12), flags);
        _machine.Memory.TryWrite(Data, range);
        Assert.That(Do(type, 0, new Piece(Data, 16, false)), Is.Zero);
        if (type == 11)
            return;
        byte[] file = File.ReadAllBytes(_path);
        Assert.That(file[8192..12288], Is.All.Zero);
        Assert.That(file[12288..12800], Is.EqualTo(_content[12288..12800]));
    }

    [TestCase(0u, 2048ul, 512u, true, 1)]
    [TestCase(0u, 2047ul, 1024u, true, 1)]
    [TestCase(0u, 0xFFFF_FFFF_FFFF_FFFFul, 512u, true, 1)]
    [TestCase(0u, 0ul, 100u, true, 1)]
    [TestCase(1u, 2048ul, 512u, false, 1)]
    [TestCase(99u, 0ul, 512u, true, 2)]
    [TestCase(11u, 0ul, 15u, false, 1)]
    public void BadRequestsGetAnErrorStatusAndTheDeviceGoesOn(uint type, ulong sector, uint length, bool writable, int status)
    {
        Assert.That(Do(type, sector, new Piece(Data, length, writable)), Is.EqualTo(status));
        Assert.That(Do(0, 0, new Piece(Data, 512, true)), Is.Zero);
        Assert.That(_machine.Status & 64, Is.Zero);
    }

    [Test]
    public void RequestWithoutStatusByteBreaksTheDeviceUntilReset()
    {
        Request(0, 0);
        _queue.Run(new Piece(Header, 16, false));
        Assert.That(_machine.Status & 64, Is.EqualTo(64));
        VirtioTestMachine.Wait(() => _machine.Msi.Count(VirtioTestMachine.ConfigVectorData) == 1, "the configuration interrupt");
        Configure();
        Assert.That(Do(0, 0, new Piece(Data, 512, true)), Is.Zero);
    }

    [Test]
    public void ManyRequestsGoAroundTheRing()
    {
        var random = new Random(7);
        for (int round = 0; round < 100; round++)
        {
            var expected = new Dictionary<int, (ulong Address, int Sector)>();
            int count = random.Next(1, 6);
            for (int i = 0; i < count; i++)
            {
                int sector = random.Next(DiskSize / 512);
                ulong at = 0x30_0000 + (ulong)i * 0x1000;
                byte[] header = new byte[16];
                BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), (ulong)sector);
                _machine.Memory.TryWrite(at, header);
                Piece[] pieces = [new Piece(at, 16, false), new Piece(at + 512, 512, true), new Piece(at + 1024, 1, true)];
                expected[_queue.Add(pieces, indirect: random.Next(2) == 0)] = (at, sector);
                if (_queue.WantsKick || i == count - 1)
                    _queue.Kick();
            }
            for (int i = 0; i < count; i++)
            {
                var (id, written) = _queue.WaitUsed();
                Assert.That(written, Is.EqualTo(513));
                Assert.That(expected.Remove(id, out var request), Is.True);
                Assert.That(ReadMemory(request.Address + 512, 512), Is.EqualTo(_content.AsSpan(request.Sector * 512, 512).ToArray()));
            }
        }
    }

    [Test]
    public void QueueResetLetsTheQueueBeEnabledAgain()
    {
        Assert.That(Do(0, 0, new Piece(Data, 512, true)), Is.Zero);
        _machine.Write(0x16, 2, 0);
        _machine.Write(0x3A, 2, 1);
        VirtioTestMachine.Wait(() => _machine.Read(0x3A, 2) == 0, "the queue to reset");
        Assert.That(_machine.Read(0x1C, 2), Is.Zero);
        _queue = TestQueue.Create(_machine, 0, 8, 0x6_0000, Features);
        _queue.Enable(vector: 1);
        Assert.That(Do(0, 1, new Piece(Data, 512, true)), Is.Zero);
        Assert.That(ReadMemory(Data, 512), Is.EqualTo(_content[512..1024]));
    }

    [Test]
    public void WithoutMsixTheIsrDrivesThePin()
    {
        _machine.WriteConfig(_machine.FindCapability(0x11) + 2, 2, 0);
        Assert.That(Do(0, 0, new Piece(Data, 512, true)), Is.Zero);
        var line = _machine.Lines[VirtioTestMachine.Slot];
        VirtioTestMachine.Wait(() => line.Level, "the pin");
        Assert.That(_machine.ReadConfig(6, 2) & 8, Is.EqualTo(8));
        Assert.That(_machine.Read(0x1000, 1), Is.EqualTo(1));
        Assert.That(line.Level, Is.False);
        Assert.That(_machine.Read(0x1000, 1), Is.Zero);
    }

    [Test]
    public void PausedDeviceTakesNothingUntilResumed()
    {
        _machine.Bus.Pause();
        _queue.Add(Request(0, 0, new Piece(Data, 512, true)));
        _queue.Kick();
        var state = _machine.Pci.Capture();
        Assert.That(_queue.TakeUsed(), Is.Null);
        _machine.Pci.Restore(state);
        _machine.Bus.Resume();
        _queue.WaitUsed();
        Assert.That(Status, Is.Zero);
    }

    [Test]
    public void StateMovesToAnotherDevice()
    {
        for (int i = 0; i < 21; i++)
            Assert.That(Do(0, (ulong)i, new Piece(Data, 512, true)), Is.Zero);
        _machine.Bus.Pause();
        var state = _machine.Pci.Capture();
        _machine.Bus.Reset();
        Assert.That(_machine.ReadConfig(0x10, 4), Is.Zero);
        _machine.Pci.Restore(state);
        _machine.Bus.Resume();
        for (int i = 0; i < 21; i++)
            Assert.That(Do(0, (ulong)i, new Piece(Data, 512, true)), Is.Zero);
        Assert.That(ReadMemory(Data, 512), Is.EqualTo(_content[(20 * 512)..(21 * 512)]));
        Assert.That(_machine.Msi.Count(VirtioTestMachine.QueueVectorData), Is.GreaterThan(21));
    }

    [Test]
    public async Task ReadOnlyDiskRefusesWrites()
    {
        _machine.Dispose();
        await _backend.DisposeAsync();
        Open(readOnly: true);
        Assert.That(_machine.OfferedFeatures() & (VirtioBlockFeatures.ReadOnly | VirtioBlockFeatures.Discard), Is.EqualTo(VirtioBlockFeatures.ReadOnly));
        Configure(Features & ~(VirtioBlockFeatures.Discard | VirtioBlockFeatures.WriteZeroes));
        Assert.That(Do(1, 0, new Piece(Data, 512, false)), Is.EqualTo(1));
        Assert.That(Do(13, 0, new Piece(Data, 16, false)), Is.EqualTo(2));
        Assert.That(Do(0, 0, new Piece(Data, 512, true)), Is.Zero);
        Assert.That(File.ReadAllBytes(_path), Is.EqualTo(_content));
    }

    [Test]
    public void FeaturesThatWereNotOfferedAreRefused()
    {
        _machine.Reset();
        _machine.Write(0x14, 1, 3);
        _machine.Write(8, 4, 1);
        _machine.Write(12, 4, 0xFFFF_FFFF);
        _machine.Write(0x14, 1, 11);
        Assert.That(_machine.Status, Is.EqualTo(3));
        _machine.Write(0x14, 1, 15);
        Assert.That(_machine.Status & 4, Is.Zero);
    }
}
