using Vmm.Core.Memory;

namespace Vmm.Core.Tests.Memory;

public sealed unsafe class GuestMemoryTests
{
    private sealed class Observer : IGuestWriteObserver
    {
        public List<(ulong Address, ulong Length)> Writes { get; } = [];

        public void OnDeviceWrite(ulong address, ulong length) => Writes.Add((address, length));
    }

    private static GuestMemory Create() => new(
    [
        (0, 0x10000, GuestMemoryKind.Ram),
        (0x10000, 0x1000, GuestMemoryKind.Rom),
        (0x100000, 0x2000, GuestMemoryKind.Ram),
        (0x102000, 0x1000, GuestMemoryKind.Ram),
    ]);

    [Test]
    public void WritesSpanAdjacentRegions()
    {
        using var memory = Create();
        byte[] data = [.. Enumerable.Range(0, 64).Select(i => (byte)i)];
        Assert.That(memory.TryWrite(0x102000 - 32, data));
        byte[] back = new byte[64];
        Assert.That(memory.TryRead(0x102000 - 32, back));
        Assert.That(back, Is.EqualTo(data));
        Assert.That(memory.TryGetPointer(0x102000 - 32, 64, forWrite: true, out _), Is.False, "not contiguous in one region");
    }

    [Test]
    public void NothingIsDoneWhenAnyByteIsNotMemory()
    {
        using var memory = Create();
        byte[] data = new byte[16];
        Array.Fill(data, (byte)0xEE);
        Assert.That(memory.TryWrite(0x103000 - 8, data), Is.False);
        byte[] back = new byte[8];
        Assert.That(memory.TryRead(0x103000 - 8, back));
        Assert.That(back, Is.All.Zero);
        Assert.That(memory.TryRead(ulong.MaxValue - 3, data), Is.False);
        Assert.That(memory.TryGetPointer(0x1000, ulong.MaxValue, forWrite: false, out _), Is.False);
        Assert.That(memory.IsMemory(ulong.MaxValue, 2, forWrite: false), Is.False);
    }

    [Test]
    public void RomIsWrittenByLoadersOnly()
    {
        using var memory = Create();
        Assert.That(memory.TryWrite(0x10000, [1]), Is.False);
        Assert.That(memory.TryGetPointer(0x10000, 1, forWrite: true, out _), Is.False);
        Assert.That(memory.TryLoad(0x10000, [42]));
        Assert.That(memory.TryGetPointer(0x10000, 1, forWrite: false, out byte* p));
        Assert.That(*p, Is.EqualTo(42));
    }

    [Test]
    public void ObserversHearOfDeviceWrites()
    {
        using var memory = Create();
        var observer = new Observer();
        memory.AddObserver(observer);
        memory.TryWrite(0x123, new byte[5]);
        Assert.That(observer.Writes, Is.EqualTo(new[] { (0x123UL, 5UL) }));
    }

    [Test]
    public void ClearGivesZeroesAndKeepsRom()
    {
        using var memory = Create();
        memory.TryWrite(0x500, [1, 2, 3]);
        memory.TryLoad(0x10000, [9]);
        memory.Clear();
        byte[] back = new byte[3];
        memory.TryRead(0x500, back);
        Assert.That(back, Is.All.Zero);
        byte[] rom = new byte[1];
        memory.TryRead(0x10000, rom);
        Assert.That(rom[0], Is.EqualTo(9));
    }

    [TestCase(1UL, 0x1000UL)]
    [TestCase(0x1000UL, 0x10UL)]
    [TestCase(0x1000UL, 0UL)]
    [TestCase(0xFFFF_FFFF_FFFF_F000UL, 0x2000UL)]
    public void BadRangesAreRefused(ulong address, ulong size)
        => Assert.That(() => new GuestMemory([(address, size, GuestMemoryKind.Ram)]), Throws.ArgumentException);

    [Test]
    public void OverlapsAreRefused()
        => Assert.That(() => new GuestMemory([(0, 0x2000, GuestMemoryKind.Ram), (0x1000, 0x1000, GuestMemoryKind.Rom)]), Throws.ArgumentException);
}
