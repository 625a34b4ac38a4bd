using System.Net.Sockets;
using System.Security.Cryptography;

namespace Vmm.Guest.Tests;

/// <summary>
/// Whatever is wrong with what <c>vmm run</c> is given: one line on standard error that names it, status 1, and nothing changed on disk.
/// </summary>
[TestFixture]
[Category("Published")]
[CancelAfter(240_000)]
public sealed class BadInputTests
{
    private readonly TemporaryFolder _folder = new();
    private string _kernel = "";

    [OneTimeSetUp]
    public void MakeKernel()
    {
        using BareKernel kernel = BareKernel.Assemble(c => c.hlt());
        _kernel = _folder.File("kernel");
        File.Copy(kernel.Path, _kernel);
    }

    [OneTimeTearDown]
    public void RemoveFolder() => _folder.Dispose();

    private static async Task ExpectFailureAsync(string named, params string[] arguments)
    {
        await using VmmRun run = VmmRun.Start(arguments);
        run.CloseInput();
        int status = await run.WaitForExitAsync();
        Assert.Multiple(() =>
        {
            Assert.That(status, Is.EqualTo(1), run.Messages);
            Assert.That(run.Messages.TrimEnd('\n').Split('\n'), Has.Length.EqualTo(1), run.Messages);
            Assert.That(run.Messages, Does.StartWith("vmm: ").And.Contain(named).And.Not.Contain("   at "));
            Assert.That(run.Console, Is.Empty);
        });
    }

    private string Make(string name, byte[] content)
    {
        string path = _folder.File(name);
        File.WriteAllBytes(path, content);
        return path;
    }

    [Test]
    public Task AMissingKernel() => ExpectFailureAsync("/nonexistent/vmlinuz", "--kernel", "/nonexistent/vmlinuz");

    [Test]
    public Task AKernelThatIsADirectory() => ExpectFailureAsync("/tmp", "--kernel", "/tmp");

    [Test]
    public async Task AnUnreadableKernel()
    {
        string path = Make("unreadable", [1]);
        File.SetUnixFileMode(path, UnixFileMode.None);
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("root reads every file.");
        await ExpectFailureAsync(path, "--kernel", path);
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(512)]
    [TestCase(100_000)]
    public async Task AForeignKernel(int length)
    {
        string path = Make($"foreign{length}", RandomNumberGenerator.GetBytes(length));
        await ExpectFailureAsync(path, "--kernel", path);
    }

    [TestCase(600)]
    [TestCase(20_000)]
    [TestCase(1_000_000)]
    public async Task ATruncatedKernel(int length)
    {
        Hosting.Quickstart.GuestAssets assets = await LinuxGuest.AssetsAsync();
        string path = Make($"truncated{length}", File.ReadAllBytes(assets.Kernel)[..length]);
        await ExpectFailureAsync(path, "--kernel", path);
    }

    [Test]
    public Task AMissingInitrd() => ExpectFailureAsync("/nonexistent/initrd", "--kernel", _kernel, "--initrd", "/nonexistent/initrd");

    [Test]
    public async Task AnInitrdTooLargeForTheMemory()
    {
        Hosting.Quickstart.GuestAssets assets = await LinuxGuest.AssetsAsync();
        string initrd = _folder.File("large");
        using (FileStream file = File.Create(initrd))
            file.SetLength(256 << 20);
        await ExpectFailureAsync(initrd, "--kernel", assets.Kernel, "--initrd", initrd, "--memory", "128M");
    }

    [Test]
    public async Task TooLittleMemoryForTheKernel()
    {
        Hosting.Quickstart.GuestAssets assets = await LinuxGuest.AssetsAsync();
        await ExpectFailureAsync("--memory", "--kernel", assets.Kernel, "--memory", "16M");
    }

    [Test]
    public Task AMissingDisk() => ExpectFailureAsync("/nonexistent/disk.raw", "--kernel", _kernel, "--disk", "path=/nonexistent/disk.raw");

    [Test]
    public async Task ADiskThatMayNotBeWritten()
    {
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("root writes every file.");
        string path = Make("readonly.raw", new byte[4096]);
        File.SetUnixFileMode(path, UnixFileMode.UserRead);
        await ExpectFailureAsync(path, "--kernel", _kernel, "--disk", $"path={path}");
    }

    [Test]
    public async Task ADiskOfAnotherFormat()
    {
        string path = Make("image.qcow2", [(byte)'Q', (byte)'F', (byte)'I', 0xFB, 0, 0, 0, 3, .. new byte[1 << 16]]);
        byte[] before = File.ReadAllBytes(path);
        await ExpectFailureAsync(path, "--kernel", _kernel, "--disk", $"path={path}");
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(before));
    }

    [Test]
    public async Task ADiskThatAnotherMachineHas()
    {
        string path = Make("locked.raw", new byte[1 << 20]);
        using BareKernel kernel = BareKernel.Assemble(BareGuestTests.PrintAndHalt);
        await using VmmRun first = VmmRun.Start("--kernel", kernel.Path, "--disk", $"path={path}", "--stop-timeout", "0");
        await first.WaitForAsync("up\n");
        await ExpectFailureAsync(path, "--kernel", _kernel, "--disk", $"path={path}");
        await first.SignalAsync("TERM");
        Assert.That(await first.WaitForExitAsync(), Is.Zero, first.Messages);
    }

    [Test]
    public async Task ASerialSocketThatIsBusy()
    {
        string path = _folder.File("busy.sock");
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        await ExpectFailureAsync(path, "--kernel", _kernel, "--serial", $"unix:{path}");
        Assert.That(File.Exists(path), Is.True);
    }

    [TestCase("unix")]
    [TestCase("file")]
    public Task ASerialLineNowhere(string kind) => ExpectFailureAsync("/nonexistent/x", "--kernel", _kernel, "--serial", $"{kind}:/nonexistent/x");

    [Test]
    public async Task ASerialFileThatIsOfSomethingElseIsNotTouchedOnFailure()
    {
        string disk = _folder.File("nodisk.raw"), log = Make("log", "old"u8.ToArray());
        await ExpectFailureAsync(disk, "--kernel", _kernel, "--disk", $"path={disk}", "--serial", $"file:{log}");
        Assert.That(File.Exists(disk), Is.False);
        Assert.That(File.ReadAllText(log), Is.EqualTo("old"));
    }
}
