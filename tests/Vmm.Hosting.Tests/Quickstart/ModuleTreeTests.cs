using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using Vmm.Hosting.Quickstart;

namespace Vmm.Hosting.Tests.Quickstart;

[TestFixture]
public sealed class ModuleTreeTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("vmm-test-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    /// <summary>A minimal ELF64 file with the sections .shstrtab and .modinfo.</summary>
    private static byte[] Module(string modInfo)
    {
        byte[] names = "\0.shstrtab\0.modinfo\0"u8.ToArray();
        byte[] info = Encoding.UTF8.GetBytes(modInfo);
        int namesAt = 64, infoAt = namesAt + names.Length, table = infoAt + info.Length;
        byte[] file = new byte[table + (3 * 64)];
        "\u007FELF\u0002\u0001\u0001"u8.CopyTo(file);
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(0x28), (ulong)table);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x3C), 3);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x3E), 1);
        names.CopyTo(file, namesAt);
        info.CopyTo(file, infoAt);
        Section(1, 1, namesAt, names.Length);
        Section(2, 11, infoAt, info.Length);
        return file;

        void Section(int index, uint name, int offset, int size)
        {
            Span<byte> header = file.AsSpan(table + (64 * index));
            BinaryPrimitives.WriteUInt32LittleEndian(header, name);
            BinaryPrimitives.WriteUInt64LittleEndian(header[24..], (ulong)offset);
            BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)size);
        }
    }

    private void Add(string path, string modInfo)
    {
        string file = Path.Combine(_folder, path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllBytes(file, Module(modInfo));
    }

    [Test]
    public void EveryModuleComesAfterWhatItNeeds()
    {
        Add("kernel/a.ko", "license=GPL\0depends=b,c-d\0");
        Add("kernel/x/b.ko", "depends=e\0softdep=pre: f g post: h\0");
        Add("kernel/x/c_d.ko", "depends=e\0");
        Add("kernel/e.ko", "depends=\0");
        Add("kernel/f.ko", "depends=\0");
        Add("kernel/h.ko", "depends=\0");
        Assert.That(new ModuleTree(_folder).Resolve(["a", "e"]).Select(m => m.Name), Is.EqualTo(new[] { "f", "e", "b", "c_d", "a" }));
    }

    [Test]
    public void BuiltInAndMissingModulesAreLeftOut()
    {
        Add("kernel/a.ko", "depends=built_in,missing\0");
        File.WriteAllText(Path.Combine(_folder, "modules.builtin"), "kernel/drivers/built-in.ko\n");
        ModuleTree tree = new(_folder);
        Assert.That(tree.Resolve(["a", "built-in", "other"]).Select(m => m.Name), Is.EqualTo(new[] { "a" }));
        Assert.That((tree.Has("built_in"), tree.Has("a"), tree.Has("missing")), Is.EqualTo((true, true, false)));
    }

    [Test]
    public void ALoopOfDependenciesEnds()
    {
        Add("a.ko", "depends=b\0");
        Add("b.ko", "depends=a\0");
        Assert.That(new ModuleTree(_folder).Resolve(["a"]), Has.Count.EqualTo(2));
    }

    [Test]
    public void CompressedModulesAreUnpacked()
    {
        byte[] module = Module("depends=\0");
        using (GZipStream gzip = new(File.Create(Path.Combine(_folder, "virtio-x.ko.gz")), CompressionLevel.Fastest))
            gzip.Write(module);
        using (ZstdSharp.CompressionStream zstd = new(File.Create(Path.Combine(_folder, "y.ko.zst")), leaveOpen: false))
            zstd.Write(module);
        IReadOnlyList<KernelModule> found = new ModuleTree(_folder).Resolve(["virtio_x", "y"]);
        Assert.That(found.Select(m => m.Name), Is.EqualTo(new[] { "virtio_x", "y" }));
        Assert.That(found.Select(m => m.Content), Is.All.EqualTo(module));
    }

    [Test]
    public void AForeignFileIsNamed()
    {
        File.WriteAllText(Path.Combine(_folder, "a.ko"), "not a module");
        Assert.That(() => new ModuleTree(_folder).Resolve(["a"]), Throws.TypeOf<InvalidDataException>().With.Message.Contains("a.ko"));
    }

    [Test]
    public void NoBytesMakeTheReaderThrow()
    {
        byte[] module = Module("depends=b\0");
        for (int length = 0; length < module.Length; length++)
            Assert.That(() => ModuleInfo.Read(module.AsSpan(0, length)), Throws.Nothing);
        Random random = new(1);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] damaged = [.. module];
            for (int n = 0; n < 4; n++)
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            Assert.That(() => ModuleInfo.Read(damaged), Throws.Nothing);
        }
    }
}
