using Vmm.Block;
using Vmm.Hosting.Configuration;

namespace Vmm.Hosting.Tests.Configuration;

[TestFixture]
public sealed class MachineSettingsTests
{
    private static IEnumerable<TestCaseData> Unusable()
    {
        yield return Case("--kernel", c => c.Kernel = null);
        yield return Case("--kernel", c => c.Kernel = "");
        yield return Case("--initrd", c => c.Initrd = "");
        yield return Case("--append", c => c.Append = "a\0b");
        foreach (string memory in (string[])["", "x", "0", "1M", "-5M", "513K", "16777217K", "4096T", "1.0000001G"])
            yield return Case("--memory", c => c.Memory = memory);
        foreach (string cpus in (string[])["", "0", "-1", "4097", "two", "1.5", "99999999999"])
            yield return Case("--cpus", c => c.Cpus = cpus);
        yield return Case("--accel", c => c.Accel = "kvn");
        yield return Case("--accel", c => c.Accel = "kvm");
        foreach (string serial in (string[])["", "file", "file:", "unix:", "stdio:x", "tcp:1", "unix:" + new string('x', 108)])
            yield return Case("--serial", c => c.Serial = serial);
        yield return Case("--name", c => c.Name = "");
        yield return Case("--name", c => c.Name = "a\nb");
        yield return Case("--log-level", c => c.LogLevel = "loud");
        yield return Case("--boot-protocol", c => c.BootProtocol = "bios");
        foreach (string timeout in (string[])["", "-1", "soon", "1e9", "NaN", "86401"])
            yield return Case("--stop-timeout", c => c.StopTimeout = timeout);
        yield return Case("--disk", c => c.Disk = [new DiskOptions { Path = "a", Id = "x" }, new DiskOptions { Path = "b", Id = "x" }]);
        yield return Case("--disk", c => c.Disk = [new DiskOptions()]);
    }

    private static TestCaseData Case(string option, Action<MachineConfiguration> change) => new(option, change);

    [TestCaseSource(nameof(Unusable))]
    public void NamesTheOption(string option, Action<MachineConfiguration> change)
    {
        MachineConfiguration written = new() { Kernel = "k" };
        change(written);
        Assert.That(
            () => MachineSettings.Create(written),
            Throws.TypeOf<ConfigurationException>().With.Message.StartsWith(option + ":").And.Message.Not.Contains("\n"));
    }

    [Test]
    public void SuggestsTheChoiceThatIsNear() => Assert.That(
        () => MachineSettings.Create(new MachineConfiguration { Kernel = "k", Accel = "sofware" }),
        Throws.Exception.With.Message.Contains("'software'"));

    [TestCase("0", 0)]
    [TestCase("2.5", 2.5)]
    [TestCase("90s", 90)]
    public void ReadsTheStopTimeout(string text, double seconds) => Assert.That(
        MachineSettings.Create(new MachineConfiguration { Kernel = "k", StopTimeout = text }).Machine.StopTimeout,
        Is.EqualTo(TimeSpan.FromSeconds(seconds)));

    [TestCase("memroy", "memory")]
    [TestCase("--krenel", "--kernel")]
    [TestCase("xyzzy", null)]
    [TestCase("", null)]
    public void FindsTheNearestWord(string word, string? expected) =>
        Assert.That(Spelling.Nearest(word, ["kernel", "memory", "--kernel", "--memory"]), Is.EqualTo(expected));
}
