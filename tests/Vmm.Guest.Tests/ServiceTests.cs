using System.Net.Sockets;
using System.Text;

namespace Vmm.Guest.Tests;

/// <summary><c>vmm run</c> as a service: what it tells systemd, over a socket as systemd's.</summary>
[TestFixture]
[Category("Published")]
[CancelAfter(240_000)]
public sealed class ServiceTests
{
    [Test]
    public async Task SystemdIsToldOfEveryStep()
    {
        using TemporaryFolder folder = new();
        using Socket manager = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { ReceiveTimeout = (int)VmmRun.Limit.TotalMilliseconds };
        manager.Bind(new UnixDomainSocketEndPoint(folder.File("notify")));
        using BareKernel kernel = BareKernel.Assemble(BareGuestTests.PrintAndHalt);
        File.WriteAllText(folder.File("vm.json"), $$"""{ "kernel": "{{kernel.Path}}", "name": "web", "stop-timeout": 0, "serial": "none" }""");
        Dictionary<string, string> environment = new() { ["NOTIFY_SOCKET"] = folder.File("notify"), ["WATCHDOG_USEC"] = "400000" };
        await using VmmRun run = VmmRun.StartWith(environment, "--config", folder.File("vm.json"));
        Assert.That(Receive(manager), Does.StartWith("READY=1\nSTATUS=").And.Contain("web"));
        for (int i = 0; i < 3; i++)
            Assert.That(Receive(manager), Is.EqualTo("WATCHDOG=1"));
        await run.SignalAsync("TERM");
        string message;
        do
            message = Receive(manager);
        while (message == "WATCHDOG=1");
        Assert.That(message, Does.StartWith("STOPPING=1\nSTATUS="));
        Assert.That(await run.WaitForExitAsync(), Is.Zero, run.Messages);
    }

    [Test]
    public async Task TheConsoleIsOnASocket()
    {
        using TemporaryFolder folder = new();
        string path = folder.File("console.sock");
        using BareKernel kernel = BareKernel.Assemble(BareGuestTests.Echo);
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--serial", $"unix:{path}", "--debug-exit");
        Assert.That(() => File.Exists(path), Is.True.After(60_000, 20));
        using Socket client = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = (int)VmmRun.Limit.TotalMilliseconds };
        // Connected and typed before the guest runs: the character waits for it.
        await client.ConnectAsync(new UnixDomainSocketEndPoint(path));
        await client.SendAsync("x"u8.ToArray());
        byte[] answer = new byte[1];
        Assert.That(client.Receive(answer), Is.EqualTo(1));
        Assert.That(answer[0], Is.EqualTo((byte)'x'));
        await run.SignalAsync("KILL");
    }

    [Test]
    public async Task TheConsoleIsInAFile()
    {
        using TemporaryFolder folder = new();
        using BareKernel kernel = BareKernel.Assemble(BareGuestTests.PrintAndPowerOff);
        var result = await kernel.RunAsync("--serial", $"file:{folder.File("log")}");
        Assert.That(result.Status, Is.Zero, result.Messages);
        Assert.That(File.ReadAllText(folder.File("log")), Is.EqualTo("up\n"));
    }

    private static string Receive(Socket socket)
    {
        byte[] buffer = new byte[4096];
        return Encoding.UTF8.GetString(buffer, 0, socket.Receive(buffer));
    }
}
