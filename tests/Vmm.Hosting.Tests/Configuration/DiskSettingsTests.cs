using Vmm.Hosting.Configuration;

namespace Vmm.Hosting.Tests.Configuration;

[TestFixture]
public sealed class DiskSettingsTests
{
    [Test]
    public void ReadsEveryMember() => Assert.That(
        DiskSettings.Parse("path=/a/b.raw,format=raw,readonly,id=root"),
        Is.EqualTo(new DiskSettings("/a/b.raw", "raw", true, "root")));

    [Test]
    public void ReadsPathAlone() => Assert.That(DiskSettings.Parse("path=a"), Is.EqualTo(new DiskSettings("a")));

    [Test]
    public void ADoubledCommaIsOne() => Assert.That(DiskSettings.Parse("path=a,,b,readonly").Path, Is.EqualTo("a,b"));

    [TestCase("readonly=on", true)]
    [TestCase("readonly=off", false)]
    [TestCase("readonly=true", true)]
    public void ReadonlyTakesAValue(string member, bool expected) =>
        Assert.That(DiskSettings.Parse("path=a," + member).ReadOnly, Is.EqualTo(expected));

    [TestCase("", "not known")]
    [TestCase("a.raw", "path=FILE")]
    [TestCase("path=", "path=FILE")]
    [TestCase("readonly", "path=FILE")]
    [TestCase("path=a,format=qcow3", "qcow3")]
    [TestCase("path=a,fromat=raw", "'format'")]
    [TestCase("path=a,readonly=maybe", "maybe")]
    [TestCase("path=a,id=123456789012345678901", "20")]
    [TestCase("path=a,id=", "id")]
    [TestCase("path=a,id=a b", "id")]
    public void NamesWhatIsWrong(string text, string named) =>
        Assert.That(() => DiskSettings.Parse(text), Throws.TypeOf<ConfigurationException>().With.Message.Contains(named));
}
