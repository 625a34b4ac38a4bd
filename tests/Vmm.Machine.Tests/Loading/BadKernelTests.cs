using System.Buffers.Binary;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Tests.Loading;

/// <summary>Kernels that are none, cut off, damaged or hostile: one line each, naming the option and file, and no other exception.</summary>
internal sealed class BadKernelTests
{
    private LoaderFixture _fixture = null!;

    [SetUp]
    public void SetUp() => _fixture = new LoaderFixture();

    [TearDown]
    public void TearDown() => _fixture.Dispose();

    private string MessageOf(byte[] kernel, BootProtocol protocol = BootProtocol.Auto) => MessageOf(() => _fixture.Load(kernel, protocol));

    private static string MessageOf(Action load)
    {
        string message = Assert.Catch<VmmException>(() => load())!.Message;
        Assert.That(message, Does.Not.Contain("\n").And.Match("^(--[a-z]+|module)"));
        return message;
    }

    [Test]
    public void ForeignFiles()
    {
        Assert.That(MessageOf("#!/bin/sh\n"u8.ToArray()), Does.Contain("not a kernel"));
        Assert.That(MessageOf(new byte[100_000]), Does.Contain("not a kernel"));
        Assert.That(MessageOf(SyntheticKernels.Elf(machine: 183)), Does.Contain("machine type 183"));
        Assert.That(MessageOf(SyntheticKernels.Elf(type: 4)), Does.Contain("not an executable"));
        Assert.That(MessageOf(SyntheticKernels.Elf(pvh: false)), Does.Contain("CONFIG_PVH"));
    }

    [Test]
    public void FilesThatCannotBeOpened()
    {
        Assert.That(MessageOf([]), Does.Contain("empty"));
        _fixture.Options.Kernel = Path.GetTempPath();
        Assert.That(MessageOf(() => _fixture.Load()), Does.Contain("directory"));
        _fixture.Options.Kernel = "/dev/zero";
        Assert.That(MessageOf(() => _fixture.Load()), Does.Contain("/dev/zero"));
        _fixture.Options.Kernel = _fixture.Write("kernel", SyntheticKernels.Elf());
        _fixture.Options.Initrd = "/nowhere/initrd";
        Assert.That(MessageOf(() => _fixture.Load()), Is.EqualTo("--initrd /nowhere/initrd: no such file; check the path."));
    }

    [Test]
    public void FifoDoesNotBlock()
    {
        string path = Path.Combine(Path.GetTempPath(), $"vmm-fifo-{Guid.NewGuid():n}");
        using (var process = System.Diagnostics.Process.Start("mkfifo", path))
            process.WaitForExit();
        try
        {
            _fixture.Options.Kernel = path;
            var load = Task.Run(() => MessageOf(() => _fixture.Load()));
            Assert.That(load.Wait(TimeSpan.FromSeconds(20)), Is.True, "opening a FIFO blocks");
            Assert.That(load.Result, Does.Contain(path));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Test]
    public void ProtocolsThatTheKernelDoesNotSpeak()
    {
        Assert.That(MessageOf(SyntheticKernels.Elf(), BootProtocol.Linux64), Does.Contain("not a bzImage"));
        Assert.That(MessageOf(SyntheticKernels.Elf(), BootProtocol.Multiboot), Does.Contain("no multiboot header"));
        Assert.That(MessageOf(SyntheticKernels.FlatMultiboot(), BootProtocol.Pvh), Does.Contain("not an ELF"));
        Assert.That(MessageOf(SyntheticKernels.Elf(pvh: false), BootProtocol.Pvh), Does.Contain("no PVH note"));
        Assert.That(MessageOf(SyntheticKernels.BzImage(new byte[64], xloadFlags: 0), BootProtocol.Linux64), Does.Contain("no 64-bit entry"));
        Assert.That(MessageOf(SyntheticKernels.BzImage(new byte[64]), BootProtocol.Pvh), Does.Contain("no PVH note"));
        Assert.That(MessageOf(SyntheticKernels.BzImage(new byte[64], version: 0x0201)), Does.Contain("2.01"));
    }

    [Test]
    public void TooLittleMemory()
    {
        Assert.That(MessageOf(SyntheticKernels.Elf(load: 0x800_0000)), Does.Contain("--memory"));
        Assert.That(MessageOf(SyntheticKernels.BzImage(new byte[64], initSize: 0x800_0000)), Does.Contain("--memory"));
        Assert.That(MessageOf(SyntheticKernels.FlatMultiboot(load: 0x800_0000)), Does.Contain("--memory"));
        Assert.That(MessageOf(SyntheticKernels.Elf(load: 0x9_0000)), Does.Contain("0x90000"));
        Assert.That(MessageOf(SyntheticKernels.Elf(load: 0xF000_0000)), Does.Contain("no memory to load to"));
    }

    [TestCase(BootProtocol.Auto)]
    [TestCase(BootProtocol.Linux64)]
    public void InitrdTooLargeForTheMemory(BootProtocol protocol)
    {
        using (var file = File.Create(_fixture.Options.Initrd = _fixture.Write("initrd", [0])))
            file.SetLength(80 << 20);
        byte[] kernel = SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", SyntheticKernels.Elf()));
        Assert.That(MessageOf(kernel, protocol), Does.StartWith("--initrd").And.Contain("more --memory or a smaller initrd"));
    }

    [Test]
    public void InitrdThatEndsWithinTheKernel()
    {
        // It would fit, but for the kernel.
        using (var file = File.Create(_fixture.Options.Initrd = _fixture.Write("initrd", [0])))
            file.SetLength(62 << 20);
        Assert.That(MessageOf(SyntheticKernels.Elf()), Does.StartWith("--initrd"));
        Assert.That(MessageOf(SyntheticKernels.FlatMultiboot()), Does.StartWith("--initrd"));
    }

    [Test]
    public void CommandLines()
    {
        byte[] image = SyntheticKernels.BzImage(new byte[64], cmdlineSize: 255);
        _fixture.Options.Append = new string('x', 256);
        Assert.That(MessageOf(image), Does.StartWith("--append").And.Contain("255"));
        _fixture.Options.Append = new string('x', 255);
        Assert.That(() => _fixture.Load(image), Throws.Nothing);
        _fixture.Options.Append = new string('x', 70_000);
        Assert.That(MessageOf(SyntheticKernels.Elf()), Does.StartWith("--append").And.Contain("too long"));
    }

    [Test]
    public void ModulesNeedMultiboot()
    {
        _fixture.Options.Modules.Add(_fixture.Write("module", [1]));
        Assert.That(MessageOf(SyntheticKernels.Elf()), Does.StartWith("module"));
        Assert.That(MessageOf(SyntheticKernels.BzImage(new byte[64])), Does.StartWith("module"));
    }

    [TestCase(0x1_0003u | 0x10, "requires features")]
    [TestCase(3u, "neither an ELF")]
    public void MultibootFlags(uint flags, string expected) =>
        Assert.That(MessageOf(SyntheticKernels.FlatMultiboot(flags: flags)), Does.Contain(expected));

    [TestCase(16, 0x30_0000u)] // load_addr behind header_addr
    [TestCase(20, 0x10_0000u)] // load_end_addr before load_addr
    [TestCase(24, 0x20_0001u)] // bss_end_addr before load_end_addr
    [TestCase(28, 0x10_0000u)] // entry outside
    public void MultibootAddressesThatContradictEachOther(int field, uint value)
    {
        byte[] image = SyntheticKernels.FlatMultiboot();
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x40 + field), value);
        Assert.That(MessageOf(image), Does.Contain("multiboot header"));
    }

    // A payload that unpacks to far more than memory must neither be unpacked whole nor fill the host.
    [Test]
    public void PayloadThatUnpacksWithoutEnd()
    {
        using var small = new LoaderFixture(32 << 20);
        byte[] elf = SyntheticKernels.Elf(body: new byte[70 << 20]);
        Assert.That(MessageOf(() => small.Load(SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", elf)))), Does.Contain("--memory"));
        // The segment claims to begin where memory would end, if it were unpacked up to there.
        byte[] far = SyntheticKernels.Elf(body: new byte[100 << 20]);
        BinaryPrimitives.WriteUInt64LittleEndian(far.AsSpan(64 + 8), 90 << 20);
        BinaryPrimitives.WriteUInt64LittleEndian(far.AsSpan(64 + 32), 4096);
        BinaryPrimitives.WriteUInt64LittleEndian(far.AsSpan(64 + 40), 4096);
        Assert.That(MessageOf(() => small.Load(SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", far)))), Does.Contain("--memory"));
    }

    [TestCase("gzip")]
    [TestCase("bzip2")]
    [TestCase("lzma")]
    [TestCase("xz")]
    [TestCase("lz4")]
    [TestCase("zstd")]
    public void DamagedPayloadsEndInOneLine(string format)
    {
        byte[] payload = SyntheticKernels.Compress(format, SyntheticKernels.Elf(body: SyntheticKernels.Body(0x1_0000)));
        var random = new Random(20261123);
        int refused = 0;
        for (int i = 0; i < 40; i++)
        {
            byte[] image = SyntheticKernels.BzImage(Damage(payload, random, from: 4));
            refused += Survives(image) ? 0 : 1;
        }
        Assert.That(refused, Is.Positive, "damage is never noticed");
        Assert.That(MessageOf(SyntheticKernels.BzImage(payload)[..^(payload.Length / 2)]), Does.Contain("truncated"));
        // As long as the header says, and yet without its end.
        byte[] cut = SyntheticKernels.BzImage(payload);
        Array.Clear(cut, cut.Length - (payload.Length / 2), payload.Length / 2);
        Assert.That(MessageOf(cut), Does.Contain(format).And.Contain("fetch it again"));
    }

    [Test]
    public void TruncatedKernelsOfEachKind()
    {
        byte[][] kernels =
        [
            SyntheticKernels.Elf(), SyntheticKernels.Elf(is64: false), SyntheticKernels.ElfMultiboot(),
            SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", SyntheticKernels.Elf())),
        ];
        foreach (byte[] kernel in kernels)
        {
            for (int length = 1; length < kernel.Length - 64; length += Math.Max(1, length / 3))
                MessageOf(kernel[..length]);
        }
    }

    [Test]
    public void DamagedHeadersOfEachKind()
    {
        byte[][] kernels =
        [
            SyntheticKernels.Elf(), SyntheticKernels.Elf(is64: false), SyntheticKernels.ElfMultiboot(), SyntheticKernels.FlatMultiboot(),
            SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", SyntheticKernels.Elf())), SyntheticKernels.BzImage(new byte[64]),
        ];
        var random = new Random(4711);
        foreach (byte[] kernel in kernels)
        {
            for (int i = 0; i < 150; i++)
                Survives(Damage(kernel, random, from: 0, to: 0x300));
        }
    }

    // Loads it one way or the other: anything but success and VmmException fails the test.
    private bool Survives(byte[] kernel)
    {
        try
        {
            _fixture.Load(kernel);
            return true;
        }
        catch (VmmException e)
        {
            Assert.That(e.Message, Does.Not.Contain("\n"));
            return false;
        }
    }

    private static byte[] Damage(byte[] bytes, Random random, int from, int? to = null)
    {
        bytes = [.. bytes];
        ReadOnlySpan<byte> values = [0, 1, 0x7F, 0x80, 0xFF];
        int end = Math.Min(to ?? bytes.Length, bytes.Length);
        for (int n = random.Next(1, 6); n > 0; n--)
        {
            int at = random.Next(from, end);
            int length = Math.Min(random.Next(1, 9), end - at);
            for (int i = 0; i < length; i++)
                bytes[at + i] = random.Next(2) == 0 ? values[random.Next(values.Length)] : (byte)random.Next(256);
        }
        return bytes;
    }
}
