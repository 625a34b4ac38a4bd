using System.Text;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Machine.Loading;

namespace Vmm.Machine.Tests.Loading;

internal sealed class BootLoaderTests
{
    private LoaderFixture _fixture = null!;

    [SetUp]
    public void SetUp() => _fixture = new LoaderFixture();

    [TearDown]
    public void TearDown() => _fixture.Dispose();

    [TestCase("gzip")]
    [TestCase("bzip2")]
    [TestCase("lzma")]
    [TestCase("xz")]
    [TestCase("xz-plain")]
    [TestCase("lz4")]
    [TestCase("zstd")]
    public void PayloadIsUnpackedAndEnteredByPvh(string format)
    {
        byte[] body = SyntheticKernels.Body(0x20_0000);
        var kernel = _fixture.Load(SyntheticKernels.BzImage(SyntheticKernels.Compress(format, SyntheticKernels.Elf(body: body))));
        Assert.That(kernel.Entry, Is.EqualTo(new BootEntry.Pvh(SyntheticKernels.Entry)));
        Assert.That(kernel.Description, Does.Contain(format.Split('-')[0]));
        Assert.That(_fixture.Bytes(SyntheticKernels.LoadAddress, body.Length).AsSpan().SequenceEqual(body), Is.True);
    }

    [Test]
    public void BlocksOfSeveralMegabytesAreJoined()
    {
        byte[] body = SyntheticKernels.Body(20 << 20);
        _fixture.Load(SyntheticKernels.BzImage(SyntheticKernels.Compress("lz4", SyntheticKernels.Elf(body: body))));
        Assert.That(_fixture.Bytes(SyntheticKernels.LoadAddress, body.Length).AsSpan().SequenceEqual(body), Is.True);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void ElfIsEnteredByPvh(bool is64)
    {
        _fixture.Options.Initrd = _fixture.Write("initrd", [1, 2, 3, 4, 5]);
        var kernel = _fixture.Load(SyntheticKernels.Elf(is64));
        var state = LoaderFixture.Enter(kernel);
        ulong info = state.Gpr[3];
        Assert.Multiple(() =>
        {
            Assert.That(state.Rip, Is.EqualTo(SyntheticKernels.Entry));
            Assert.That(state.Cr0 & 0x8000_0001, Is.EqualTo(1), "protected mode without paging");
            Assert.That(state.Segments[1].Attributes & 0x6000, Is.EqualTo(0x4000), "32-bit code");
            Assert.That(state.Rflags, Is.EqualTo(2));
            Assert.That(_fixture.U32(info), Is.EqualTo(0x336E_C578), "magic");
            Assert.That(_fixture.U32(info + 4), Is.EqualTo(1), "version");
            Assert.That(_fixture.U32(info + 12), Is.EqualTo(1), "modules");
            Assert.That(_fixture.Text(_fixture.U64(info + 24)), Is.EqualTo("console=ttyS0"));
            Assert.That(_fixture.U64(info + 32), Is.EqualTo(AddressMap.Rsdp));
            Assert.That(_fixture.U32(info + 48), Is.EqualTo(_fixture.Map.Length));
        });
        ulong module = _fixture.U64(info + 16), map = _fixture.U64(info + 40);
        Assert.That(_fixture.U64(module + 8), Is.EqualTo(5));
        Assert.That(_fixture.Bytes(_fixture.U64(module), 5), Is.EqualTo(new byte[] { 1, 2, 3, 4, 5 }));
        for (int i = 0; i < _fixture.Map.Length; i++)
        {
            ulong at = map + ((ulong)i * 24);
            Assert.That((_fixture.U64(at), _fixture.U64(at + 8), _fixture.U32(at + 16)), Is.EqualTo((_fixture.Map[i].Address, _fixture.Map[i].Size, (uint)_fixture.Map[i].Type)));
        }
    }

    [Test]
    public void MemoryBehindASegmentIsCleared()
    {
        ulong bss = SyntheticKernels.LoadAddress + (ulong)SyntheticKernels.Body().Length + 20;
        _fixture.Memory.TryWrite(bss, Enumerable.Repeat((byte)0xAA, SyntheticKernels.BssSize + 1).ToArray());
        _fixture.Load(SyntheticKernels.Elf());
        byte[] after = _fixture.Bytes(bss, SyntheticKernels.BssSize + 1);
        Assert.That(after[..^1], Is.All.Zero);
        Assert.That(after[^1], Is.EqualTo(0xAA));
    }

    [Test]
    public void KernelWithoutTheNoteIsEnteredByTheLinuxProtocol()
    {
        byte[] image = SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", SyntheticKernels.Elf(pvh: false)));
        var kernel = _fixture.Load(image);
        Assert.That(kernel.Entry, Is.EqualTo(new BootEntry.Linux64(0x100_0200)));
    }

    [Test]
    public void UnknownCompressionIsLeftToTheGuest() =>
        Assert.That(_fixture.Load(SyntheticKernels.BzImage(new byte[4096])).Entry, Is.InstanceOf<BootEntry.Linux64>());

    [Test]
    public void LinuxProtocolPassesBootParams()
    {
        byte[] initrd = [9, 8, 7];
        _fixture.Options.Initrd = _fixture.Write("initrd", initrd);
        byte[] image = SyntheticKernels.BzImage(SyntheticKernels.Compress("gzip", SyntheticKernels.Elf()), initrdMax: 0x2FF_FFFF);
        var state = LoaderFixture.Enter(_fixture.Load(image, BootProtocol.Linux64));
        ulong zero = state.Gpr[6];
        Assert.Multiple(() =>
        {
            Assert.That(state.Rip, Is.EqualTo(0x100_0200));
            Assert.That(state.Cr0 & 0x8000_0001, Is.EqualTo(0x8000_0001));
            Assert.That(state.Cr4, Is.EqualTo(0x20));
            Assert.That(state.Msrs[0xC000_0080], Is.EqualTo(0x500));
            Assert.That(state.Segments[1].Selector, Is.EqualTo(0x10));
            Assert.That(state.Segments[1].Attributes & 0x6000, Is.EqualTo(0x2000), "64-bit code");
            Assert.That(state.Segments[3].Selector, Is.EqualTo(0x18));
            Assert.That(_fixture.Bytes(0x100_0000, 0x500), Is.EqualTo(image[2560..(2560 + 0x500)]));
            Assert.That(_fixture.Bytes(zero + 0x202, 4), Is.EqualTo("HdrS"u8.ToArray()));
            Assert.That(_fixture.Bytes(zero + 0x210, 1)[0], Is.EqualTo(0xFF), "type_of_loader");
            Assert.That(_fixture.U64(zero + 0x70), Is.EqualTo(AddressMap.Rsdp), "acpi_rsdp_addr");
            Assert.That(_fixture.Text(_fixture.U32(zero + 0x228)), Is.EqualTo("console=ttyS0"));
            Assert.That(_fixture.Bytes(zero + 0x1E8, 1)[0], Is.EqualTo(_fixture.Map.Length));
            Assert.That(_fixture.U64(zero + 0x2D0 + 8), Is.EqualTo(_fixture.Map[0].Size));
            Assert.That(_fixture.U32(zero + 0x21C), Is.EqualTo(3));
            Assert.That(_fixture.Bytes(_fixture.U32(zero + 0x218), 3), Is.EqualTo(initrd));
            Assert.That(_fixture.U32(zero + 0x218) + 3, Is.LessThanOrEqualTo(0x300_0000), "initrd_addr_max");
        });
    }

    [Test]
    public void IdentityTablesMapTheFirst4GiB()
    {
        var state = LoaderFixture.Enter(_fixture.Load(SyntheticKernels.BzImage(new byte[64]), BootProtocol.Linux64));
        foreach (ulong address in new ulong[] { 0, 0x100_0000, 0x7FFF_FFFF, 0xFFFF_FFFF })
        {
            ulong pdpt = _fixture.U64(state.Cr3) & ~0xFFFUL;
            ulong directory = _fixture.U64(pdpt + ((address >> 30) * 8)) & ~0xFFFUL;
            ulong entry = _fixture.U64(directory + (((address >> 21) & 511) * 8));
            Assert.That(entry, Is.EqualTo((address & ~0x1F_FFFFUL) | 0x83));
        }
    }

    [Test]
    public void KernelOf32BitsIsEnteredAtItsStart()
    {
        var state = LoaderFixture.Enter(_fixture.Load(SyntheticKernels.BzImage(new byte[64], xloadFlags: 0)));
        Assert.That(state.Rip, Is.EqualTo(0x100_0000));
        Assert.That(state.Cr0 & 0x8000_0000, Is.Zero);
        Assert.That(state.Gpr[6], Is.EqualTo(AddressMap.BootInformation));
    }

    [Test]
    public void RelocatableKernelMovesDownWhenMemoryIsSmall()
    {
        using var small = new LoaderFixture(16 << 20);
        var kernel = small.Load(SyntheticKernels.BzImage(new byte[64]));
        Assert.That(kernel.Entry, Is.EqualTo(new BootEntry.Linux64(0x20_0200)));
    }

    [Test]
    public void FlatMultibootKernelWithModules()
    {
        _fixture.Options.Initrd = _fixture.Write("first", [1, 1]);
        string second = _fixture.Write("second", [2, 2, 2]);
        _fixture.Options.Modules.Add(second + " with arguments");
        byte[] image = SyntheticKernels.FlatMultiboot();
        var kernel = _fixture.Load(image);
        var state = LoaderFixture.Enter(kernel);
        ulong info = state.Gpr[3];
        Assert.Multiple(() =>
        {
            Assert.That(state.Gpr[0], Is.EqualTo(0x2BAD_B002));
            Assert.That(state.Rip, Is.EqualTo(SyntheticKernels.LoadAddress + 0x100));
            Assert.That(_fixture.Bytes(SyntheticKernels.LoadAddress, image.Length), Is.EqualTo(image));
            Assert.That(_fixture.U32(info), Is.EqualTo(0x24D), "flags");
            Assert.That(_fixture.U32(info + 4), Is.EqualTo(639), "mem_lower");
            Assert.That(_fixture.U32(info + 8), Is.GreaterThan(60 << 10), "mem_upper");
            Assert.That(_fixture.Text(_fixture.U32(info + 16)), Is.EqualTo(_fixture.Options.Kernel + " console=ttyS0"));
            Assert.That(_fixture.U32(info + 20), Is.EqualTo(2), "mods_count");
            Assert.That(_fixture.Text(_fixture.U32(info + 64)), Is.EqualTo("vmm"));
        });
        ulong mods = _fixture.U32(info + 24);
        ulong start = _fixture.U32(mods + 16), end = _fixture.U32(mods + 20);
        Assert.That(_fixture.U32(mods), Is.GreaterThanOrEqualTo(kernel.KernelEnd));
        Assert.That(start % 4096, Is.Zero);
        Assert.That(_fixture.Bytes(start, (int)(end - start)), Is.EqualTo(new byte[] { 2, 2, 2 }));
        Assert.That(_fixture.Text(_fixture.U32(mods + 24)), Is.EqualTo(second + " with arguments"));
        ulong map = _fixture.U32(info + 48);
        Assert.That(_fixture.U32(info + 44), Is.EqualTo(_fixture.Map.Length * 24));
        Assert.That(_fixture.U32(map), Is.EqualTo(20));
        Assert.That(_fixture.U64(map + 4 + 8), Is.EqualTo(_fixture.Map[0].Size));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void ElfMultibootKernelIsEnteredAtItsPhysicalAddress(bool is64) =>
        Assert.That(_fixture.Load(SyntheticKernels.ElfMultiboot(is64)).Entry, Is.EqualTo(new BootEntry.Multiboot(SyntheticKernels.Entry)));

    [Test]
    public void DebianKernelIsUnpackedAndEnteredByPvh()
    {
        // The quickstart's, or the host's own.
        string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } set
            ? set
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        string? path = Path.Combine(cache, "vmm", "quickstart", "vmlinuz");
        if (!File.Exists(path))
            path = null;
        path ??= Directory.Exists("/boot") ? Directory.GetFiles("/boot", "vmlinuz-*").FirstOrDefault(CanRead) : null;
        if (path is null)
            Assert.Ignore("no stock kernel is on this machine");
        using var fixture = new LoaderFixture(512 << 20);
        fixture.Options.Kernel = path;
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var kernel = fixture.Load();
        TestContext.Out.WriteLine($"{kernel.Description}, entry 0x{kernel.Entry.Rip:x}, end 0x{kernel.KernelEnd:x}, {watch.ElapsedMilliseconds} ms");
        Assert.That(kernel.Entry, Is.InstanceOf<BootEntry.Pvh>());
        Assert.That(Contains(fixture.Bytes(0x100_0000, 40 << 20), "Linux version "u8), Is.True, "the banner is in memory");
    }

    private static bool Contains(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> wanted) => bytes.IndexOf(wanted) >= 0;

    private static bool CanRead(string path)
    {
        try
        {
            using var stream = File.OpenRead(path);
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }
}
