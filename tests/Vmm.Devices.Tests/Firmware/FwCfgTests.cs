using System.Buffers.Binary;
using System.Text;
using Vmm.Core.Buses;
using Vmm.Core.Memory;
using Vmm.Devices.Firmware;

namespace Vmm.Devices.Tests.Firmware;

/// <summary>fw_cfg as its specification (QEMU, docs/specs/fw_cfg) has it.</summary>
internal sealed class FwCfgTests
{
    private const uint Error = 1, Read = 2, Skip = 4, Select = 8, Write = 16;
    private const ulong Descriptor = 0x1000, Buffer = 0x2000, MemorySize = 0x100000;

    private GuestMemory _memory = null!;
    private Bus _ports = null!;
    private FwCfg _device = null!;

    [SetUp]
    public void MakeDevice()
    {
        _memory = new GuestMemory([(0, MemorySize, GuestMemoryKind.Ram)]);
        _device = new FwCfg(_memory);
        _ports = Bus.CreatePortBus();
        _device.Map(_ports);
    }

    [TearDown]
    public void Dispose() => _memory.Dispose();

    private byte[] ReadItem(ushort key, int count)
    {
        _ports.Write(0x510, 2, key);
        return [.. Enumerable.Range(0, count).Select(_ => (byte)_ports.Read(0x511, 1))];
    }

    private uint Dma(uint control, uint length, ulong address, bool wide = false)
    {
        Span<byte> access = stackalloc byte[16];
        BinaryPrimitives.WriteUInt32BigEndian(access, control);
        BinaryPrimitives.WriteUInt32BigEndian(access[4..], length);
        BinaryPrimitives.WriteUInt64BigEndian(access[8..], address);
        Assert.That(_memory.TryWrite(Descriptor, access));
        if (wide)
        {
            _device.Write(4, 8, BinaryPrimitives.ReverseEndianness(Descriptor));
        }
        else
        {
            _ports.Write(0x514, 4, 0);
            _ports.Write(0x518, 4, BinaryPrimitives.ReverseEndianness((uint)Descriptor));
        }
        Assert.That(_memory.TryRead(Descriptor, access));
        return BinaryPrimitives.ReadUInt32BigEndian(access);
    }

    private byte[] Memory(ulong address, int count)
    {
        byte[] bytes = new byte[count];
        Assert.That(_memory.TryRead(address, bytes));
        return bytes;
    }

    [Test]
    public void SignatureAndId()
    {
        Assert.That(ReadItem(0, 4), Is.EqualTo("QEMU"u8.ToArray()));
        Assert.That(ReadItem(1, 4), Is.EqualTo(new byte[] { 3, 0, 0, 0 }));
    }

    [Test]
    public void ReadingPastTheEndAndUnknownKeysGivesZero()
    {
        Assert.That(ReadItem(0, 6), Is.EqualTo(new byte[] { 0x51, 0x45, 0x4D, 0x55, 0, 0 }));
        Assert.That(ReadItem(0x7777, 2), Is.EqualTo(new byte[2]));
    }

    [Test]
    public void NumbersAreLittleEndian()
    {
        _device.AddUInt16(FwCfg.CpuCountKey, 0x0102);
        _device.AddUInt64(FwCfg.RamSizeKey, 0x0102030405060708);
        Assert.That(ReadItem(5, 2), Is.EqualTo(new byte[] { 2, 1 }));
        Assert.That(ReadItem(3, 8), Is.EqualTo(new byte[] { 8, 7, 6, 5, 4, 3, 2, 1 }));
    }

    [Test]
    public void TheDirectoryListsFilesByName()
    {
        ushort b = _device.AddFile("etc/b", new byte[0x123]);
        ushort a = _device.AddFile("etc/a", [1, 2]);
        Assert.That((b, a), Is.EqualTo(((ushort)0x20, (ushort)0x21)));
        byte[] directory = ReadItem(0x19, 4 + 2 * 64);
        Assert.That(BinaryPrimitives.ReadUInt32BigEndian(directory), Is.EqualTo(2));
        Assert.That(Entry(directory, 0), Is.EqualTo((2u, a, "etc/a")));
        Assert.That(Entry(directory, 1), Is.EqualTo((0x123u, b, "etc/b")));
        Assert.That(ReadItem(a, 2), Is.EqualTo(new byte[] { 1, 2 }));
    }

    private static (uint Size, ushort Key, string Name) Entry(byte[] directory, int index)
    {
        var entry = directory.AsSpan(4 + index * 64, 64);
        return (BinaryPrimitives.ReadUInt32BigEndian(entry), BinaryPrimitives.ReadUInt16BigEndian(entry[4..]),
            Encoding.ASCII.GetString(entry[8..]).TrimEnd('\0'));
    }

    [Test]
    public void FileNamesAreChecked()
    {
        _device.AddFile(new string('n', 55), []);
        Assert.That(() => _device.AddFile(new string('n', 56), []), Throws.ArgumentException);
        Assert.That(() => _device.AddFile("", []), Throws.ArgumentException);
        Assert.That(() => _device.AddFile("ä", []), Throws.ArgumentException);
        Assert.That(() => _device.AddFile(new string('n', 55), []), Throws.ArgumentException);
    }

    [Test]
    public void TheDmaRegisterReadsAsItsSignature()
    {
        Assert.That(_ports.Read(0x514, 4), Is.EqualTo(0x554D4551));
        Assert.That(_ports.Read(0x518, 4), Is.EqualTo(0x47464320));
        Assert.That(_device.Read(4, 8), Is.EqualTo(0x4746432055_4D4551));
    }

    [Test]
    public void DmaSelectAndRead([Values] bool wide)
    {
        ushort key = _device.AddFile("f", [1, 2, 3, 4, 5, 6]);
        Assert.That(Dma(((uint)key << 16) | Select | Read, 4, Buffer, wide), Is.Zero);
        Assert.That(Memory(Buffer, 5), Is.EqualTo(new byte[] { 1, 2, 3, 4, 0 }));
        Assert.That(Dma(Read, 1, Buffer), Is.Zero);
        Assert.That(Memory(Buffer, 1), Is.EqualTo(new byte[] { 5 }), "goes on where it was");
        Assert.That(_ports.Read(0x511, 1), Is.EqualTo(6), "so does the data register");
    }

    [Test]
    public void DmaReadsZeroesBehindTheEnd()
    {
        ushort key = _device.AddFile("f", [1, 2]);
        _memory.TryWrite(Buffer, Enumerable.Repeat((byte)0xEE, 10_000).ToArray());
        Assert.That(Dma(((uint)key << 16) | Select | Read, 9_000, Buffer), Is.Zero);
        byte[] bytes = Memory(Buffer, 9_001);
        Assert.That(bytes[..2], Is.EqualTo(new byte[] { 1, 2 }));
        Assert.That(bytes[2..9_000], Is.All.Zero);
        Assert.That(bytes[9_000], Is.EqualTo(0xEE));
    }

    [Test]
    public void DmaSkips()
    {
        ushort key = _device.AddFile("f", [1, 2, 3]);
        Assert.That(Dma(((uint)key << 16) | Select | Skip, 2, 0), Is.Zero);
        Assert.That(_ports.Read(0x511, 1), Is.EqualTo(3));
        Assert.That(Dma(Skip, uint.MaxValue, 0), Is.Zero);
        Assert.That(_ports.Read(0x511, 1), Is.Zero);
    }

    [Test]
    public void DmaWritesOnlyToWritableFiles()
    {
        int told = 0;
        byte[] data = new byte[4];
        ushort writable = _device.AddWritableFile("w", data, () => told++);
        ushort fixedFile = _device.AddFile("r", new byte[4]);
        _memory.TryWrite(Buffer, [9, 8, 7, 6, 5]);
        Assert.That(Dma(((uint)writable << 16) | Select | Write, 4, Buffer), Is.Zero);
        Assert.That((data, told), Is.EqualTo((new byte[] { 9, 8, 7, 6 }, 1)));
        Assert.That(Dma(((uint)writable << 16) | Select | Write, 5, Buffer), Is.EqualTo(Error), "past the end");
        Assert.That(Dma(((uint)fixedFile << 16) | Select | Write, 1, Buffer), Is.EqualTo(Error));
        Assert.That(told, Is.EqualTo(1));
    }

    [Test]
    public void DmaIntoNowhereIsAnError()
    {
        ushort key = _device.AddFile("f", new byte[8]);
        Assert.That(Dma(((uint)key << 16) | Select | Read, 8, MemorySize), Is.EqualTo(Error));
        Assert.That(Dma(((uint)key << 16) | Select | Read, 8, ulong.MaxValue - 3), Is.EqualTo(Error));
        Assert.That(Dma(Read, uint.MaxValue, Buffer + 0x10000), Is.EqualTo(Error), "zeroes up to the end of memory, no further");
        Assert.That(Dma(0, 0, 0), Is.Zero, "nothing asked, nothing done");
    }

    [Test]
    public void ADescriptorOutsideOfMemoryIsIgnored()
    {
        _ports.Write(0x514, 4, 0xFFFFFFFF);
        _ports.Write(0x518, 4, 0xFFFFFFFF);
        Assert.That(ReadItem(0, 1), Is.EqualTo(new byte[] { 0x51 }));
    }

    [Test]
    public void OtherSizesAreNotDecoded()
    {
        _ports.Write(0x510, 1, 0x55);
        _ports.Write(0x511, 1, 0x55);
        Assert.That(_ports.Read(0x510, 1), Is.EqualTo(0x51), "still item 0");
    }

    [Test]
    public void SnapshotKeepsPositionAndWrittenFiles()
    {
        ushort key = _device.AddWritableFile("w", new byte[4], static () => { });
        _memory.TryWrite(Buffer, [1, 2, 3, 4]);
        Dma(((uint)key << 16) | Select | Write, 4, Buffer);
        Dma(((uint)key << 16) | Select | Skip, 1, 0);
        var state = _device.Capture();

        var copy = new FwCfg(_memory);
        copy.AddWritableFile("w", new byte[4], static () => Assert.Fail("restoring is no write"));
        copy.Restore(state);
        Assert.That(copy.Read(1, 1), Is.EqualTo(2));
        Assert.That(() => new FwCfg(_memory).Restore(state), Throws.InstanceOf<InvalidDataException>());
    }
}
