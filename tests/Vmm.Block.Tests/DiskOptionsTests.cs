using Vmm.Core.Lifecycle;

namespace Vmm.Block.Tests;

public class DiskOptionsTests
{
    [Test]
    public void AllPartsAreRead()
    {
        var options = DiskOptions.Parse("path=/srv/a,,b.img,format=raw,readonly,id=disk-1");
        Assert.That(options.Path, Is.EqualTo("/srv/a,b.img"));
        Assert.That(options.Format, Is.EqualTo("raw"));
        Assert.That(options.ReadOnly, Is.True);
        Assert.That(options.Id, Is.EqualTo("disk-1"));
    }

    [Test]
    public void OnlyThePathIsNeeded()
    {
        var options = DiskOptions.Parse("path=x");
        Assert.That((options.Path, options.Format, options.ReadOnly, options.Id), Is.EqualTo(("x", (string?)null, false, (string?)null)));
    }

    [TestCase("", "''")]
    [TestCase("readonly", "path= is missing")]
    [TestCase("path=", "path= has no value")]
    [TestCase("path", "path= has no value")]
    [TestCase("path=x,path=y", "'path' is given twice")]
    [TestCase("path=x,colour=red", "'colour' is not known")]
    [TestCase("path=x,readonly=maybe", "readonly=maybe")]
    [TestCase("path=x,format=qcow9", "format 'qcow9' is not known. Known formats: raw")]
    [TestCase("path=x,id=123456789012345678901", "id must be 1 to 20")]
    public void MistakesAreNamed(string text, string expected)
    {
        var error = Assert.Throws<VmmException>(() => DiskOptions.Parse(text));
        Assert.That(error!.Message, Does.Contain(expected).And.Not.Contain("\n"));
    }
}
