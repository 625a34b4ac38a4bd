using System.Buffers.Binary;
using Vmm.Devices.Virtio;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>Drivers that break their rings: the device asks for a reset, does nothing more until it gets one, and works again then.</summary>
public class HostileQueueTests
{
    private const ulong Data = 0x20_0000;
    private const ushort Next = 1, Write = 2, Indirect = 4;

    private VirtioTestMachine _machine = null!;

    [SetUp]
    public void Start() => _machine = new VirtioTestMachine(m => new VirtioRng(m, VirtioTestMachine.Logger));

    [TearDown]
    public void Stop() => _machine.Dispose();

    private TestQueue Configure(bool packed, ulong extra = VirtioFeatures.IndirectDescriptors)
    {
        ulong features = VirtioFeatures.Version1 | extra | (packed ? VirtioFeatures.RingPacked : 0);
        _machine.Negotiate(features);
        var queue = TestQueue.Create(_machine, 0, 8, 0x4_0000, features);
        queue.Enable();
        _machine.DriverOk();
        return queue;
    }

    private void ExpectBroken(bool packed)
    {
        VirtioTestMachine.Wait(() => (_machine.Status & 64) != 0, "DEVICE_NEEDS_RESET");
        _machine.Kick(0);
        var queue = Configure(packed);
        Assert.That(_machine.Status & 64, Is.Zero);
        Assert.That(queue.Run(new Piece(Data, 64, true)).Written, Is.EqualTo(64));
    }

    private static IEnumerable<TestCaseData> BrokenSplitRings()
    {
        yield return Split("zero length", q => q.SetDescriptor(0, Data, 0, Write, 0));
        yield return Split("outside memory", q => q.SetDescriptor(0, VirtioTestMachine.MemorySize, 16, Write, 0));
        yield return Split("over the end of memory", q => q.SetDescriptor(0, VirtioTestMachine.MemorySize - 8, 16, Write, 0));
        yield return Split("address wraps", q => q.SetDescriptor(0, ulong.MaxValue - 7, 16, Write, 0));
        yield return Split("read-only memory", q => q.SetDescriptor(0, 0xF_F000_0000, 16, Write, 0));
        yield return Split("4 GiB", q => q.SetDescriptor(0, Data, uint.MaxValue, Write, 0));
        yield return Split("next out of range", q => q.SetDescriptor(0, Data, 16, Write | Next, 8));
        yield return Split("loop of one", q => q.SetDescriptor(0, Data, 16, Write | Next, 0));
        yield return Split("loop of two", q =>
        {
            q.SetDescriptor(0, Data, 16, Write | Next, 1);
            q.SetDescriptor(1, Data, 16, Write | Next, 0);
        });
        yield return Split("readable after writable", q =>
        {
            q.SetDescriptor(0, Data, 16, Write | Next, 1);
            q.SetDescriptor(1, Data, 16, 0, 0);
        });
        yield return Split("indirect of no descriptors", q => q.SetDescriptor(0, Data, 0, Indirect, 0));
        yield return Split("indirect of half a descriptor", q => q.SetDescriptor(0, Data, 24, Indirect, 0));
        yield return Split("indirect with a successor", q => q.SetDescriptor(0, Data, 16, Indirect | Next, 1));
        yield return Split("indirect outside memory", q => q.SetDescriptor(0, VirtioTestMachine.MemorySize - 16, 32, Indirect, 0));
        yield return Split("overlong indirect table", q => q.SetDescriptor(0, 0, 16 * 2000, Indirect, 0));
        yield return Split("head out of range", _ => { }, head: 8);
        yield return Split("head far out of range", _ => { }, head: 0xFFFF);
    }

    private static TestCaseData Split(string name, Action<SplitTestQueue> build, int head = 0)
    {
        Action<object> untyped = q => build((SplitTestQueue)q);
        return new TestCaseData(untyped, (ushort)head).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(BrokenSplitRings))]
    public void BrokenSplitRing(Action<object> build, ushort head)
    {
        var queue = (SplitTestQueue)Configure(packed: false);
        build(queue);
        queue.Publish(head);
        queue.Kick();
        ExpectBroken(packed: false);
    }

    [TestCase(9)]
    [TestCase(0x8000)]
    [TestCase(0xFFFF)]
    public void AvailableIndexThatJumps(int index)
    {
        var queue = (SplitTestQueue)Configure(packed: false);
        queue.SetAvailableIndex((ushort)index);
        queue.Kick();
        ExpectBroken(packed: false);
    }

    [TestCase(0, Indirect)]
    [TestCase(5, Next)]
    [TestCase(0, Next)]
    public void BrokenIndirectTable(int next, int flags)
    {
        var queue = (SplitTestQueue)Configure(packed: false);
        byte[] table = new byte[32];
        BinaryPrimitives.WriteUInt64LittleEndian(table, Data);
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(8), 16);
        BinaryPrimitives.WriteUInt16LittleEndian(table.AsSpan(12), (ushort)(flags | Write));
        BinaryPrimitives.WriteUInt16LittleEndian(table.AsSpan(14), (ushort)next);
        _machine.Memory.TryWrite(Data + 0x1000, table);
        queue.SetDescriptor(0, Data + 0x1000, 32, Indirect, 0);
        queue.Publish(0);
        queue.Kick();
        ExpectBroken(packed: false);
    }

    [TestCase(false)]
    [TestCase(true)]
    public void IndirectThatWasNotNegotiated(bool packed)
    {
        var queue = Configure(packed, extra: 0);
        queue.Add([new Piece(Data, 16, true)], indirect: true);
        queue.Kick();
        ExpectBroken(packed);
    }

    [TestCase(0ul, 0u, Write)]
    [TestCase(VirtioTestMachine.MemorySize, 16u, Write)]
    [TestCase(ulong.MaxValue - 7, 16u, Write)]
    [TestCase(Data, 24u, Indirect)]
    [TestCase(Data, 16u, Indirect | Next)]
    public void BrokenPackedRing(ulong address, uint length, int flags)
    {
        var queue = (PackedTestQueue)Configure(packed: true);
        queue.SetDescriptor(0, address, length, 0, (ushort)(flags | queue.AvailableFlags));
        queue.Kick();
        ExpectBroken(packed: true);
    }

    [Test]
    public void PackedChainWithoutEnd()
    {
        var queue = (PackedTestQueue)Configure(packed: true);
        for (int i = queue.Size - 1; i >= 0; i--)
            queue.SetDescriptor(i, Data, 16, 0, (ushort)(Write | Next | queue.AvailableFlags));
        queue.Kick();
        ExpectBroken(packed: true);
    }

    [TestCase(0x4_0008ul, 0x4_4000ul, 0x4_8000ul)]
    [TestCase(0x4_0000ul, 0x4_4001ul, 0x4_8000ul)]
    [TestCase(0x4_0000ul, 0x4_4000ul, 0x4_8002ul)]
    [TestCase(VirtioTestMachine.MemorySize - 16, 0x4_4000ul, 0x4_8000ul)]
    [TestCase(0x4_0000ul, ulong.MaxValue - 15, 0x4_8000ul)]
    [TestCase(0x4_0000ul, 0x4_4000ul, 0xF_F000_0000ul)]
    public void RingsThatAreNotWhereTheyMayBe(ulong descriptors, ulong driver, ulong device)
    {
        _machine.Negotiate(VirtioFeatures.Version1);
        _machine.EnableQueue(0, 8, descriptors, driver, device);
        _machine.DriverOk();
        ExpectBroken(packed: false);
    }

    [TestCase(0)]
    [TestCase(7)]
    [TestCase(65)]
    [TestCase(0xFFFF)]
    public void SplitRingSizesThatAreNoneDoNoHarm(int size)
    {
        _machine.Negotiate(VirtioFeatures.Version1);
        _machine.EnableQueue(0, (ushort)size, 0x4_0000, 0x4_4000, 0x4_8000);
        _machine.DriverOk();
        _machine.Kick(0);
        _machine.Reset();
        Assert.That(Configure(packed: false).Run(new Piece(Data, 64, true)).Written, Is.EqualTo(64));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void RandomBytesComeWithMoreThanTheDeviceGivesAtOnce(bool packed)
    {
        var queue = Configure(packed);
        uint written = queue.Run(new Piece(Data, 3000, true), new Piece(Data + 0x4000, 100_000, true)).Written;
        Assert.That(written, Is.InRange(1u, 103_000u));
        byte[] bytes = new byte[3000];
        _machine.Memory.TryRead(Data, bytes);
        Assert.That(bytes.Distinct().Count(), Is.GreaterThan(200));
    }
}
