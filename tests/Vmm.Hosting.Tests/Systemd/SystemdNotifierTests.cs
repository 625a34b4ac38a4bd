using System.Net.Sockets;
using System.Text;
using Vmm.Hosting.Systemd;

namespace Vmm.Hosting.Tests.Systemd;

[TestFixture]
public sealed class SystemdNotifierTests
{
    private static string Receive(Socket socket)
    {
        byte[] buffer = new byte[4096];
        socket.ReceiveTimeout = 10_000;
        return Encoding.UTF8.GetString(buffer, 0, socket.Receive(buffer));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void EveryStateIsADatagram(bool isAbstract)
    {
        string name = Path.Combine(Path.GetTempPath(), $"vmm-test-{Guid.NewGuid():N}");
        using Socket manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(isAbstract ? "\0" + name : name));
        try
        {
            using SystemdNotifier notifier = new(isAbstract ? "@" + name : name);
            Assert.That(notifier.IsEnabled, Is.True);
            notifier.Ready("up");
            notifier.Status("busy");
            notifier.Watchdog();
            notifier.Stopping("down");
            Assert.That(Receive(manager), Is.EqualTo("READY=1\nSTATUS=up"));
            Assert.That(Receive(manager), Is.EqualTo("STATUS=busy"));
            Assert.That(Receive(manager), Is.EqualTo("WATCHDOG=1"));
            Assert.That(Receive(manager), Is.EqualTo("STOPPING=1\nSTATUS=down"));
        }
        finally
        {
            File.Delete(name);
        }
    }

    [TestCase(null)]
    [TestCase("")]
    [TestCase("relative")]
    [TestCase("/nonexistent/socket")]
    public void AManagerThatIsNotThereIsNoError(string? path)
    {
        using SystemdNotifier notifier = new(path);
        Assert.That(() => notifier.Ready("up"), Throws.Nothing);
    }

    [TestCase("2000000", null, 1000)]
    [TestCase("2000000", "42", 1000)]
    [TestCase("2000000", "43", null)]
    [TestCase("0", null, null)]
    [TestCase("x", null, null)]
    [TestCase(null, null, null)]
    [TestCase("9223372036854775807", null, null)]
    public void TheWatchdogIsFedTwiceAsOftenAsAsked(string? microseconds, string? process, int? milliseconds) => Assert.That(
        SystemdNotifier.ParseWatchdog(microseconds, process, 42),
        Is.EqualTo(milliseconds is int ms ? TimeSpan.FromMilliseconds(ms) : (TimeSpan?)null));
}
