using Vmm.Block.Protocols;
using Vmm.Block.Raw;
using Vmm.Interop;

namespace Vmm.Block.Tests.Raw;

public class RawFormatTests
{
    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void CreateDirectory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void DeleteDirectory() => _directory.Dispose();

    [TestCase(1)]
    [TestCase(2)]
    public async Task RandomOperationsMatchAPlainFile(int seed)
    {
        const int Length = 1 << 20;
        TestContext.Out.WriteLine($"seed {seed}");
        var random = new Random(seed);
        byte[] expected = new byte[Length];
        random.NextBytes(expected);
        string path = _directory.File("a.img", expected);
        await using (var disk = DiskImage.Open(new DiskOptions { Path = path }))
        {
            using var buffer = new NativeBuffer(1 << 17);
            for (int i = 0; i < 400; i++)
                await RandomOperation(disk, random, expected, buffer);
            await disk.FlushAsync();
        }
        Assert.That(File.ReadAllBytes(path).AsSpan().SequenceEqual(expected), Is.True);
    }

    private static async Task RandomOperation(IBlockBackend disk, Random random, byte[] expected, NativeBuffer buffer)
    {
        int length = random.Next(1, buffer.Span.Length);
        int offset = random.Next(0, expected.Length - length);
        switch (random.Next(4))
        {
            case 0:
                await disk.ReadAsync(offset, Pieces(random, buffer, length));
                Assert.That(buffer.Span[..length].SequenceEqual(expected.AsSpan(offset, length)), Is.True);
                break;
            case 1:
                random.NextBytes(buffer.Span[..length]);
                buffer.Span[..length].CopyTo(expected.AsSpan(offset));
                await disk.WriteAsync(offset, Pieces(random, buffer, length), (BlockWriteFlags)random.Next(2));
                break;
            case 2:
                expected.AsSpan(offset, length).Clear();
                await disk.WriteZeroesAsync(offset, length, (BlockZeroFlags)random.Next(4));
                break;
            default:
                await disk.FlushAsync();
                break;
        }
    }

    private static IoBuffer[] Pieces(Random random, NativeBuffer buffer, int length)
    {
        var pieces = new List<IoBuffer>();
        for (int done = 0; done < length;)
        {
            int n = random.Next(0, Math.Min(length - done, 4096) + 1);
            pieces.Add(buffer.Slice(done, n));
            done += n;
        }
        return [.. pieces];
    }

    [Test]
    public async Task MorePiecesThanOneSystemCallTakes()
    {
        string path = _directory.File("a.img", new byte[8192]);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path });
        using var buffer = new NativeBuffer(5000);
        new Random(3).NextBytes(buffer.Span);
        byte[] expected = buffer.Span.ToArray();
        await disk.WriteAsync(7, Enumerable.Range(0, 5000).Select(i => buffer.Slice(i, 1)).ToArray());
        buffer.Span.Clear();
        await disk.ReadAsync(7, Enumerable.Range(0, 5000).Select(i => buffer.Slice(i, 1)).ToArray());
        Assert.That(buffer.Span.SequenceEqual(expected), Is.True);
    }

    [Test]
    public async Task LengthIsRoundedUpAndTheTailReadsAsZero()
    {
        byte[] content = new byte[1000];
        Array.Fill(content, (byte)7);
        string path = _directory.File("a.img", content);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path });
        Assert.That(disk.Length, Is.EqualTo(1024));
        using var buffer = new NativeBuffer(1024);
        buffer.Span.Fill(0xEE);
        await disk.ReadAsync(0, new[] { buffer.Slice(0, 900), buffer.Slice(900, 124) });
        Assert.That(buffer.Span[..1000].SequenceEqual(content), Is.True);
        Assert.That(buffer.Span[1000..].IndexOfAnyExcept((byte)0), Is.EqualTo(-1));
    }

    [Test]
    public async Task WritingTheTailGrowsTheFileToTheSector()
    {
        string path = _directory.File("a.img", new byte[1000]);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path });
        using var buffer = new NativeBuffer(512);
        buffer.Span.Fill(9);
        await disk.WriteAsync(512, new[] { buffer.All });
        Assert.That(new FileInfo(path).Length, Is.EqualTo(1024));
    }

    [Test]
    public async Task RangesOutsideTheDiskAreRefused()
    {
        string path = _directory.File("a.img", new byte[4096]);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path });
        using var buffer = new NativeBuffer(1024);
        foreach (long offset in new[] { -1L, 3584, 4096, long.MaxValue, long.MinValue })
        {
            Assert.That(Error(() => disk.ReadAsync(offset, new[] { buffer.All })), Is.EqualTo(Errno.EINVAL));
            Assert.That(Error(() => disk.WriteAsync(offset, new[] { buffer.All })), Is.EqualTo(Errno.EINVAL));
            Assert.That(Error(() => disk.DiscardAsync(offset, 1024)), Is.EqualTo(Errno.EINVAL));
            Assert.That(Error(() => disk.WriteZeroesAsync(offset, 1024)), Is.EqualTo(Errno.EINVAL));
        }
        Assert.That(Error(() => disk.DiscardAsync(0, -1)), Is.EqualTo(Errno.EINVAL));
        Assert.That(new FileInfo(path).Length, Is.EqualTo(4096));
    }

    [Test]
    public async Task ReadOnlyDiskRefusesEveryChange()
    {
        string path = _directory.File("a.img", new byte[4096]);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path, ReadOnly = true });
        using var buffer = new NativeBuffer(512);
        Assert.That(Error(() => disk.WriteAsync(0, new[] { buffer.All })), Is.EqualTo(Errno.EROFS));
        Assert.That(Error(() => disk.DiscardAsync(0, 512)), Is.EqualTo(Errno.EROFS));
        Assert.That(Error(() => disk.WriteZeroesAsync(0, 512)), Is.EqualTo(Errno.EROFS));
        await disk.FlushAsync();
    }

    [Test]
    public async Task ManyRequestsInFlight()
    {
        string path = _directory.File("a.img", new byte[1 << 20]);
        await using var disk = DiskImage.Open(new DiskOptions { Path = path });
        using var buffer = new NativeBuffer(1 << 20);
        new Random(4).NextBytes(buffer.Span);
        byte[] expected = buffer.Span.ToArray();
        await Task.WhenAll(Enumerable.Range(0, 256).Select(i => disk.WriteAsync(i * 4096, new[] { buffer.Slice(i * 4096, 4096) }).AsTask()));
        Assert.That(File.ReadAllBytes(path).AsSpan().SequenceEqual(expected), Is.True);
    }

    [Test]
    public async Task RequestsAfterDisposeFail()
    {
        string path = _directory.File("a.img", new byte[4096]);
        var disk = new RawFormat(FileProtocol.Open(path, readOnly: false));
        await disk.FlushAsync();
        await disk.DisposeAsync();
        await disk.DisposeAsync();
        Assert.That(async () => await disk.FlushAsync(), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void FullDiskIsReportedWithItsErrorNumber()
    {
        // A file size limit of the file system: writing behind it gives EFBIG.
        string path = _directory.File("a.img", []);
        using var buffer = new NativeBuffer(512);
        var file = FileProtocol.Open(path, readOnly: false);
        Assert.That(Error(() => file.WriteAsync(long.MaxValue - 1024, new[] { buffer.All })), Is.Not.Zero);
        file.DisposeAsync().AsTask().Wait();
    }

    private static int Error(Func<ValueTask> request)
    {
        var error = Assert.ThrowsAsync<BlockIoException>(async () => await request());
        return error!.ErrorNumber;
    }
}
