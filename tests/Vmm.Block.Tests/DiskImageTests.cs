using System.Diagnostics;
using Vmm.Core.Lifecycle;

namespace Vmm.Block.Tests;

public class DiskImageTests
{
    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void CreateDirectory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void DeleteDirectory() => _directory.Dispose();

    private static string OpenError(string path, bool readOnly = false) =>
        Assert.Throws<VmmException>(() => DiskImage.Open(new DiskOptions { Path = path, ReadOnly = readOnly }))!.Message;

    [Test]
    public void MissingFileIsNamed()
    {
        string path = _directory.Path("none.img");
        Assert.That(OpenError(path), Does.Contain(path).And.Contain("No such file").And.Contain("Create the image").And.Not.Contain("\n"));
        Assert.That(File.Exists(path), Is.False);
    }

    [TestCase(false)]
    [TestCase(true)]
    public void DirectoryIsRefused(bool readOnly) =>
        Assert.That(OpenError(_directory.ToString(), readOnly), Does.Contain("directory"));

    [Test]
    public void CharacterDeviceIsRefused() => Assert.That(OpenError("/dev/null"), Does.Contain("neither a regular file nor a block device"));

    [Test]
    public void ReadOnlyFileOpenedForWritingSaysWhatToDo()
    {
        if (Environment.UserName == "root")
            Assert.Ignore("root may write to everything");
        string path = _directory.File("ro.img", new byte[512]);
        File.SetUnixFileMode(path, UnixFileMode.UserRead);
        Assert.That(OpenError(path), Does.Contain("Permission denied").And.Contain("'readonly'"));
    }

    [Test]
    public async Task SecondWriterIsRefusedAndReadersShare()
    {
        string path = _directory.File("a.img", new byte[4096]);
        await using (var writer = DiskImage.Open(new DiskOptions { Path = path }))
        {
            Assert.That(OpenError(path), Does.Contain("locked by another process").And.Contain(path));
            Assert.That(OpenError(path, readOnly: true), Does.Contain("locked by another process"));
        }
        await using var first = DiskImage.Open(new DiskOptions { Path = path, ReadOnly = true });
        await using var second = DiskImage.Open(new DiskOptions { Path = path, ReadOnly = true });
        Assert.That(OpenError(path), Does.Contain("locked by another process"));
    }

    [Test]
    public async Task QemuRespectsTheLock()
    {
        string path = _directory.File("a.img", new byte[1 << 20]);
        await using var writer = DiskImage.Open(new DiskOptions { Path = path });
        using var qemu = StartQemu(path);
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            await qemu.WaitForExitAsync(limit.Token);
            Assert.That(qemu.ExitCode, Is.Not.Zero);
            Assert.That(await qemu.StandardError.ReadToEndAsync(limit.Token), Does.Contain("lock"));
        }
        finally
        {
            if (!qemu.HasExited)
                qemu.Kill();
        }
    }

    [Test]
    public async Task TheLockOfQemuIsRespected()
    {
        string path = _directory.File("a.img", new byte[1 << 20]);
        using var qemu = StartQemu(path);
        try
        {
            // QMP greets early but answers only when the machine with its disks is complete.
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            Assert.That(await qemu.StandardOutput.ReadLineAsync(limit.Token), Does.Contain("QMP"));
            await qemu.StandardInput.WriteLineAsync("{\"execute\":\"qmp_capabilities\"}");
            await qemu.StandardInput.FlushAsync();
            Assert.That(await qemu.StandardOutput.ReadLineAsync(limit.Token), Does.Contain("return"));
            Assert.That(OpenError(path), Does.Contain("locked by another process"));
            Assert.That(OpenError(path, readOnly: true), Does.Contain("locked by another process"));
        }
        finally
        {
            qemu.Kill();
            await qemu.WaitForExitAsync();
        }
    }

    private static Process StartQemu(string path)
    {
        const string Qemu = "/usr/bin/qemu-system-x86_64";
        if (!File.Exists(Qemu))
            Assert.Ignore("qemu-system-x86_64 is not installed");
        var start = new ProcessStartInfo(Qemu) { RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true };
        string[] arguments =
        [
            "-machine", "pc,accel=tcg", "-m", "16", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio",
            "-drive", $"if=none,id=d,file={path},format=raw", "-device", "virtio-blk-pci,drive=d",
        ];
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    [Test]
    public async Task ForeignImageIsRefusedUnlessTheFormatIsNamed()
    {
        byte[] content = new byte[4096];
        "QFI"u8.CopyTo(content);
        content[3] = 0xFB;
        string path = _directory.File("a.qcow2", content);
        Assert.That(OpenError(path), Does.Contain("qcow2").And.Contain("format=raw"));
        await using var disk = DiskImage.Open(new DiskOptions { Path = path, Format = "raw" });
        Assert.That(disk.Length, Is.EqualTo(4096));
        Assert.That(File.ReadAllBytes(path), Is.EqualTo(content));
    }
}
