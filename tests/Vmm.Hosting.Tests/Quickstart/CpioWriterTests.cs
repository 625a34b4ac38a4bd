using System.Globalization;
using System.Text;
using Vmm.Hosting.Quickstart;

namespace Vmm.Hosting.Tests.Quickstart;

[TestFixture]
public sealed class CpioWriterTests
{
    /// <summary>An entry as the kernel's init/initramfs.c takes it apart.</summary>
    private sealed record Entry(string Name, uint Mode, uint Links, uint Major, uint Minor, byte[] Content);

    private static List<Entry> Read(byte[] archive)
    {
        List<Entry> entries = [];
        int at = 0;
        while (true)
        {
            Assert.That(Encoding.ASCII.GetString(archive, at, 6), Is.EqualTo("070701"));
            int start = at + 6;
            uint Field(int index) => uint.Parse(Encoding.ASCII.GetString(archive, start + (8 * index), 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            int nameLength = (int)Field(11), length = (int)Field(6);
            string name = Encoding.UTF8.GetString(archive, at + 110, nameLength - 1);
            Assert.That(archive[at + 110 + nameLength - 1], Is.Zero);
            int content = (at + 110 + nameLength + 3) & ~3;
            if (name == "TRAILER!!!")
                return entries;
            entries.Add(new Entry(name, Field(1), Field(4), Field(9), Field(10), archive[content..(content + length)]));
            at = (content + length + 3) & ~3;
        }
    }

    private static List<Entry> Write(Action<CpioWriter> write)
    {
        using MemoryStream output = new();
        using (CpioWriter cpio = new(output))
            write(cpio);
        return Read(output.ToArray());
    }

    [Test]
    public void AFileKeepsItsBytesAndGetsItsDirectories()
    {
        byte[] content = [1, 2, 3, 4, 5];
        List<Entry> entries = Write(c => c.AddFile("a/b/file", content, executable: true));
        Assert.That(entries.Select(e => e.Name), Is.EqualTo(new[] { "a", "a/b", "a/b/file" }));
        Assert.That(entries.Select(e => e.Mode), Is.EqualTo(new uint[] { 0x41ED, 0x41ED, 0x81ED }));
        Assert.That(entries[2].Content, Is.EqualTo(content));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(1000)]
    public void EveryLengthIsPadded(int length)
    {
        List<Entry> entries = Write(c =>
        {
            c.AddFile("x", new byte[length]);
            c.AddText("y", "end");
        });
        Assert.That(entries[0].Content, Has.Length.EqualTo(length));
        Assert.That(entries[1].Content, Is.EqualTo("end"u8.ToArray()));
    }

    [Test]
    public void LinksDevicesAndDirectoriesHaveTheirTypes()
    {
        List<Entry> entries = Write(c =>
        {
            c.AddLink("sh", "busybox");
            c.AddCharacterDevice("console", 5, 1);
            c.AddDirectory("tmp", 0x3FF);
            c.AddDirectory("tmp");
        });
        Assert.That(entries, Has.Count.EqualTo(3));
        Assert.That(entries[0], Has.Property("Mode").EqualTo(0xA1FFu));
        Assert.That(entries[0].Content, Is.EqualTo("busybox"u8.ToArray()));
        Assert.That((entries[1].Mode, entries[1].Major, entries[1].Minor), Is.EqualTo((0x2180u, 5u, 1u)));
        Assert.That((entries[2].Mode, entries[2].Links), Is.EqualTo((0x43FFu, 2u)));
    }
}
