using System.Text;
using Vmm.Block;
using Vmm.Hosting.Configuration;
using Vmm.Machine;

namespace Vmm.Hosting.Tests.Configuration;

[TestFixture]
public sealed class MachineConfigurationFileTests
{
    private const string Everything = """
        {
          // A comment, as people write them.
          "kernel": "/boot/vmlinuz", "initrd": "initrd.img", "append": "console=ttyS0", "memory": "1G", "cpus": 2, "accel": "software",
          "disk": [ "path=a.raw,readonly", { "path": "b.raw", "format": "raw", "readonly": false, "id": "data" } ],
          "serial": "file:/tmp/x", "name": "web", "log-level": "debug", "watchdog": true, "no-reboot": true, "debug-exit": true,
          "boot-protocol": "pvh", "stop-timeout": 5,
        }
        """;

    private static MachineConfiguration Parse(string json) => MachineConfigurationFile.Parse(Encoding.UTF8.GetBytes(json), "vm.json");

    [Test]
    public void ReadsEveryOption()
    {
        MachineSettings settings = MachineSettings.Create(Parse(Everything));
        Assert.Multiple(() =>
        {
            Assert.That(settings.Machine.Kernel, Is.EqualTo("/boot/vmlinuz"));
            Assert.That(settings.Machine.Initrd, Is.EqualTo("initrd.img"));
            Assert.That(settings.Machine.Append, Is.EqualTo("console=ttyS0"));
            Assert.That(settings.Machine.Memory, Is.EqualTo(1UL << 30));
            Assert.That(settings.Machine.Cpus, Is.EqualTo(2));
            Assert.That(settings.Accelerator, Is.EqualTo(Accelerator.Software));
            Assert.That(
                settings.Disks.Select(d => (d.Path, d.Format, d.ReadOnly, d.Id)),
                Is.EqualTo(new[] { ("a.raw", null, true, null), ("b.raw", "raw", false, "data") }));
            Assert.That(settings.Serial, Is.EqualTo(new SerialSettings(SerialKind.File, "/tmp/x")));
            Assert.That(settings.Machine.Name, Is.EqualTo("web"));
            Assert.That(settings.LogLevel, Is.EqualTo(Microsoft.Extensions.Logging.LogLevel.Debug));
            Assert.That(settings.Machine.Watchdog, Is.True);
            Assert.That(settings.Machine.NoReboot, Is.True);
            Assert.That(settings.Machine.DebugExit, Is.True);
            Assert.That(settings.Machine.BootProtocol, Is.EqualTo(BootProtocol.Pvh));
            Assert.That(settings.Machine.StopTimeout, Is.EqualTo(TimeSpan.FromSeconds(5)));
        });
    }

    [Test]
    public void DefaultsAreThoseOfTheMachine()
    {
        MachineSettings settings = MachineSettings.Create(Parse("""{ "kernel": "k" }"""));
        VirtualMachineOptions defaults = new();
        Assert.Multiple(() =>
        {
            Assert.That(settings.Machine.Memory, Is.EqualTo(defaults.Memory));
            Assert.That(settings.Machine.Cpus, Is.EqualTo(defaults.Cpus));
            Assert.That(settings.Machine.StopTimeout, Is.EqualTo(defaults.StopTimeout));
            Assert.That(settings.Serial.Kind, Is.EqualTo(SerialKind.Stdio));
            Assert.That(settings.Disks, Is.Empty);
        });
    }

    [TestCase("""{ "memroy": "1G" }""", "\"memroy\"", "'memory'")]
    [TestCase("""{ "Kernel": "k" }""", "\"Kernel\"", "'kernel'")]
    [TestCase("""{ "kernel": 5 }""", "\"kernel\"", "line 1")]
    [TestCase("{\n \"cpus\": [1] }", "\"cpus\"", "line 2")]
    [TestCase("""{ "watchdog": "yes" }""", "\"watchdog\"", "wrong kind")]
    [TestCase("""{ "disk": [5] }""", "\"disk", "wrong kind")]
    [TestCase("""{ "disk": "a.raw" }""", "\"disk\"", "a.raw")]
    [TestCase("""{ "disk": [{ "path": "a", "fromat": "raw" }] }""", "'fromat'", "'format'")]
    [TestCase("""{ "disk": [{ "path": 5 }] }""", "\"disk", "path is a text")]
    [TestCase("""{ "disk": [{ "path": ["a"] }] }""", "\"disk", "path is a text")]
    [TestCase("""{ "disk": [{ "path": "a", "readonly": 1 }] }""", "\"disk", "true or false")]
    [TestCase("[]", "vm.json", "object")]
    [TestCase("", "vm.json", "not valid JSON")]
    [TestCase("null", "vm.json", "null")]
    [TestCase("""{ "kernel": "k" """, "vm.json", "line 1")]
    [TestCase("""{ "kernel": "k" } x""", "vm.json", "line 1")]
    [TestCase("\u0001", "vm.json", "not valid JSON")]
    public void NamesTheMember(string json, string member, string more) => Assert.That(
        () => Parse(json),
        Throws.TypeOf<ConfigurationException>().With.Message.StartsWith("--config: 'vm.json'").And.Message.Contains(member)
            .And.Message.Contains(more).And.Message.Not.Contains("\n"));

    [Test]
    public void TheOptionsGivenWinOverTheFile()
    {
        MachineConfiguration file = Parse(Everything);
        file.Override(new MachineConfiguration { Memory = "2G", NoReboot = false, Disk = [new DiskOptions { Path = "c.raw" }] });
        MachineSettings settings = MachineSettings.Create(file);
        Assert.Multiple(() =>
        {
            Assert.That(settings.Machine.Memory, Is.EqualTo(2UL << 30));
            Assert.That(settings.Machine.NoReboot, Is.False);
            Assert.That(settings.Disks, Has.Count.EqualTo(1));
            Assert.That(settings.Machine.Cpus, Is.EqualTo(2));
        });
    }

    [Test]
    public void AFileTooLongToBeAConfigurationIsRefused()
    {
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(file, new byte[(1 << 20) + 1]);
            Assert.That(() => MachineConfigurationFile.Load(file), Throws.TypeOf<ConfigurationException>().With.Message.Contains(file));
        }
        finally
        {
            File.Delete(file);
        }
    }
}
