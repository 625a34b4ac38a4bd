using Vmm.Hosting.Configuration;

namespace Vmm.Hosting.Tests.Configuration;

[TestFixture]
public sealed class ByteSizeTests
{
    [TestCase("512M", 512L << 20)]
    [TestCase("512m", 512L << 20)]
    [TestCase("512MiB", 512L << 20)]
    [TestCase("512MB", 512L << 20)]
    [TestCase("6G", 6L << 30)]
    [TestCase("1.5G", 3L << 29)]
    [TestCase("1T", 1L << 40)]
    [TestCase("64", 64L << 20)]
    [TestCase("4096B", 4096)]
    [TestCase("4K", 4096)]
    [TestCase(" 4K ", 4096)]
    [TestCase("0", 0)]
    public void ReadsSizes(string text, long expected)
    {
        Assert.That(ByteSize.TryParse(text, 1 << 20, out long bytes), Is.True);
        Assert.That(bytes, Is.EqualTo(expected));
    }

    [TestCase("")]
    [TestCase("M")]
    [TestCase("iB")]
    [TestCase("B")]
    [TestCase("-1M")]
    [TestCase("1X")]
    [TestCase("1MM")]
    [TestCase("1,5G")]
    [TestCase("0.3B")]
    [TestCase("99999999999999999999999")]
    [TestCase("9999999999G")]
    [TestCase("1e3")]
    [TestCase("0x10")]
    public void RefusesWhatIsNoSize(string text) => Assert.That(ByteSize.TryParse(text, 1 << 20, out _), Is.False);

    [TestCase(512L << 20, "512M")]
    [TestCase(3L << 29, "1536M")]
    [TestCase(1000, "1000")]
    [TestCase(0, "0")]
    public void WritesTheLargestUnitThatDivides(long bytes, string expected) => Assert.That(ByteSize.Format(bytes), Is.EqualTo(expected));
}
