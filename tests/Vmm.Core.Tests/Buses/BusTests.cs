using Vmm.Core.Buses;

namespace Vmm.Core.Tests.Buses;

public sealed class BusTests
{
    private sealed class Recorder(ulong value) : IBusDevice
    {
        public List<(ulong Offset, int Size, ulong Value)> Writes { get; } = [];

        public ulong Read(ulong offset, int size) => size == 8 ? value : value & ((1UL << (8 * size)) - 1);

        public void Write(ulong offset, int size, ulong v) => Writes.Add((offset, size, v));
    }

    [Test]
    public void NobodyHomeReadsAllOnesAndDropsWrites()
    {
        var bus = Bus.CreatePortBus();
        bus.Write(0x60, 1, 0);
        Assert.That(bus.Read(0x60, 1), Is.EqualTo(0xFF));
        Assert.That(bus.Read(0x60, 4), Is.EqualTo(0xFFFFFFFF));
        Assert.That(Bus.CreateMmioBus().Read(0x1234, 8), Is.EqualTo(ulong.MaxValue));
    }

    [Test]
    public void DeviceSeesOffsetsWithinItsRange()
    {
        var bus = Bus.CreatePortBus();
        var device = new Recorder(0x11223344);
        using var mapping = bus.Map("d", 0x3F8, 8, device);
        bus.Write(0x3FA, 2, 0xBEEF);
        Assert.That(device.Writes, Is.EqualTo(new[] { (2UL, 2, 0xBEEFUL) }));
        Assert.That(bus.Read(0x3F8, 4), Is.EqualTo(0x11223344));
    }

    [Test]
    public void AccessOverAnEdgeIsSplitIntoBytes()
    {
        var bus = Bus.CreatePortBus();
        var a = new Recorder(0xAA);
        var b = new Recorder(0xBB);
        bus.Map("a", 0x10, 2, a);
        bus.Map("b", 0x12, 1, b);
        Assert.That(bus.Read(0x11, 4), Is.EqualTo(0xFFFFBBAA));
        bus.Write(0x11, 4, 0x04030201);
        Assert.That(a.Writes, Is.EqualTo(new[] { (1UL, 1, 1UL) }));
        Assert.That(b.Writes, Is.EqualTo(new[] { (0UL, 1, 2UL) }));
    }

    [Test]
    public void HigherPriorityWinsAnOverlapAndTheRestShowsThrough()
    {
        var bus = Bus.CreateMmioBus();
        bus.Map("board", 0x1000, 0x1000, new Recorder(0xB0), priority: 0);
        var bar = bus.Map("bar", 0x0, 0x4000, new Recorder(0xBA), priority: -1);
        Assert.That(bus.Read(0xFFF, 1), Is.EqualTo(0xBA));
        Assert.That(bus.Read(0x1000, 1), Is.EqualTo(0xB0));
        Assert.That(bus.Read(0x1FFF, 1), Is.EqualTo(0xB0));
        Assert.That(bus.Read(0x2000, 1), Is.EqualTo(0xBA));
        bar.Dispose();
        Assert.That(bus.Read(0x2000, 1), Is.EqualTo(0xFF));
        Assert.That(bus.Read(0x1000, 1), Is.EqualTo(0xB0));
    }

    [Test]
    public void RangesThatLeaveTheBusAreRefused()
    {
        var bus = Bus.CreatePortBus();
        Assert.That(() => bus.Map("d", 0xFFFF, 2, new Recorder(0)), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => bus.Map("d", 0, 0, new Recorder(0)), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => bus.Map("d", 0xFFFF, 1, new Recorder(7)), Throws.Nothing);
        Assert.That(bus.Read(0xFFFF, 1), Is.EqualTo(7));
    }

    [Test]
    public void RandomMappingsAnswerAsALinearSearchWould()
    {
        int seed = Environment.TickCount;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        for (int round = 0; round < 200; round++)
        {
            var bus = new Bus("test", 255);
            var mappings = new List<(ulong Start, ulong Length, int Priority, ulong Value)>();
            for (int i = 0; i < random.Next(1, 8); i++)
            {
                ulong start = (ulong)random.Next(256);
                ulong length = (ulong)random.Next(1, 257 - (int)start);
                int priority = random.Next(-1, 2);
                mappings.Add((start, length, priority, (ulong)i));
                bus.Map($"m{i}", start, length, new Recorder((ulong)i), priority);
            }
            for (ulong address = 0; address < 256; address++)
            {
                var expected = mappings.Where(m => address - m.Start < m.Length).OrderByDescending(m => m.Priority).Select(m => (ulong?)m.Value).FirstOrDefault();
                Assert.That(bus.Read(address, 1), Is.EqualTo(expected ?? 0xFF), $"address {address}");
            }
        }
    }
}
