using System.Globalization;
using System.Security.Cryptography;

namespace Vmm.Guest.Tests;

/// <summary>Debian's stock kernel as it is, driven over its serial console.</summary>
[TestFixture]
[CancelAfter(900_000)]
public sealed class LinuxGuestTests
{
    [Test]
    [Category("Published")]
    public async Task ShellCommandsGiveTheirOutput()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync();
        Assert.Multiple(async () =>
        {
            Assert.That(await guest.SucceedAsync("echo hello"), Is.EqualTo("hello"));
            Assert.That(await guest.SucceedAsync("uname -m"), Is.EqualTo("x86_64"));
            Assert.That(await guest.SucceedAsync("seq 1 1000 | awk '{ s += $1 } END { print s }'"), Is.EqualTo("500500"));
            Assert.That(await guest.SucceedAsync("printf abc | sha256sum | cut -c1-64"), Is.EqualTo(Convert.ToHexStringLower(SHA256.HashData("abc"u8))));
            Assert.That(await guest.SucceedAsync("awk 'BEGIN { printf \"%.9f\", 1e6 / 7 }'"), Is.EqualTo("142857.142857143"));
            Assert.That(await guest.SucceedAsync("yes 0123456789 | head -c 200000 | md5sum | cut -c1-32"), Is.EqualTo(Md5OfPattern()));
            Assert.That((await guest.ExecuteAsync("false")).Status, Is.EqualTo(1));
            Assert.That(await guest.SucceedAsync("dmesg | grep -ciE 'oops|bug:|call trace|unhandled' || true"), Is.EqualTo("0"));
        });
        int before = await ReadUptimeAsync(guest);
        await guest.SucceedAsync("sleep 2");
        Assert.That(await ReadUptimeAsync(guest) - before, Is.InRange(2, 30));
        await PowerOffAsync(guest);
    }

    private static async Task<int> ReadUptimeAsync(LinuxGuest guest) =>
        int.Parse(await guest.SucceedAsync("cut -d. -f1 /proc/uptime"), CultureInfo.InvariantCulture);

    private static string Md5OfPattern()
    {
        byte[] pattern = new byte[200_000];
        for (int i = 0; i < pattern.Length; i++)
            pattern[i] = "0123456789\n"u8[i % 11];
        return Convert.ToHexStringLower(MD5.HashData(pattern));
    }

    [TestCase(1)]
    [TestCase(2, Category = "Published")]
    [TestCase(4)]
    public async Task EveryCpuComesUpAndWorks(int cpus)
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync("--cpus", $"{cpus}");
        Assert.That(await guest.SucceedAsync("nproc"), Is.EqualTo($"{cpus}"));
        string jobs = string.Join(" ", Enumerable.Range(0, cpus).Select(i => $"(taskset {1 << i} sh -c 'seq 1 3000 | md5sum' >/tmp/{i}) &"));
        await guest.SucceedAsync($"{jobs} wait");
        string sums = await guest.SucceedAsync("cat /tmp/[0-9] | sort -u | wc -l; cat /tmp/[0-9] | wc -l");
        Assert.That(sums, Is.EqualTo($"1\n{cpus}"));
        await PowerOffAsync(guest);
    }

    [TestCase("128M", 90, 128)]
    [TestCase("6G", 5800, 6144)]
    public async Task TheGuestSeesItsMemory(string memory, int least, int most)
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync("--memory", memory);
        int mebibytes = int.Parse(await guest.SucceedAsync("awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo"), CultureInfo.InvariantCulture);
        Assert.That(mebibytes, Is.InRange(least, most));
        await guest.SucceedAsync("dd if=/dev/zero of=/dev/shm/x bs=1M count=32 && test $(md5sum </dev/shm/x | cut -c1-32) = 58f06dd588d8ffb3beb46ada6309436b");
        await PowerOffAsync(guest);
    }

    /// <summary>Files on ext4 written, synced, and read back by checksum after a reboot; the host's e2fsck finds nothing wrong.</summary>
    [Test]
    public async Task AFileSystemSurvivesAReboot()
    {
        using TemporaryFolder folder = new();
        string disk = folder.File("disk.raw");
        await Hosting.Quickstart.GuestAssetStore.MakeDiskAsync(disk, 64 << 20, CancellationToken.None);
        string append = Tool.Exists("mkfs.ext4") ? "" : "vmm.mkfs";
        byte[] pattern = RandomNumberGenerator.GetBytes(64);
        string hex = Convert.ToHexStringLower(pattern);
        await using (LinuxGuest guest = await LinuxGuest.BootWithAsync(append, "--disk", $"path={disk},id=testdisk"))
        {
            Assert.That(await guest.SucceedAsync("cat /sys/block/vda/serial"), Is.EqualTo("testdisk"));
            Assert.That(await guest.SucceedAsync("cat /sys/block/vda/size"), Is.EqualTo($"{(64 << 20) / 512}"));
            await guest.SucceedAsync("mount /dev/vda");
            await guest.SucceedAsync($"mkdir -p /mnt/d && for i in $(seq 1 50); do echo {hex} $i >/mnt/d/$i; done");
            await guest.SucceedAsync("yes " + hex + " | head -c 8388608 >/mnt/big && cd /mnt && md5sum big d/* >sums && cd / && sync");
            await guest.SucceedAsync("umount /mnt");
            await guest.Run.TypeAsync("reboot\n");
            await guest.WaitForShellAsync();
            await guest.SucceedAsync("mount /dev/vda && cd /mnt && md5sum -c -s sums && test $(wc -l <sums) = 51; cd /");
            await guest.SucceedAsync("fstrim /mnt; umount /mnt");
            await PowerOffAsync(guest);
        }
        if (Tool.Exists("e2fsck"))
            Assert.That(await Tool.RunAsync("e2fsck", "-f", "-n", disk), Is.Zero, "The file system is damaged.");
    }

    [Test]
    public async Task AReadOnlyDiskStaysAsItIs()
    {
        using TemporaryFolder folder = new();
        string disk = folder.File("disk.raw");
        byte[] content = RandomNumberGenerator.GetBytes(1 << 20);
        File.WriteAllBytes(disk, content);
        await using LinuxGuest guest = await LinuxGuest.BootAsync("--disk", $"path={disk},readonly");
        Assert.That(await guest.SucceedAsync("cat /sys/block/vda/ro"), Is.EqualTo("1"));
        Assert.That(await guest.SucceedAsync("sha256sum /dev/vda | cut -c1-64"), Is.EqualTo(Convert.ToHexStringLower(SHA256.HashData(content))));
        Assert.That((await guest.ExecuteAsync("dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync 2>/dev/null")).Status, Is.Not.Zero);
        await PowerOffAsync(guest);
        Assert.That(File.ReadAllBytes(disk), Is.EqualTo(content));
    }

    [Test]
    public async Task AWriteErrorReachesTheGuestAndTheMachineGoesOn()
    {
        if (!Environment.IsPrivilegedProcess || !Tool.Exists("mount"))
            Assert.Ignore("needs root, to mount a small file system");
        using TemporaryFolder folder = new();
        string mount = folder.File("small");
        Directory.CreateDirectory(mount);
        if (await Tool.RunAsync("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount) != 0)
            Assert.Ignore("may not mount a tmpfs");
        try
        {
            // A sparse disk on a file system that is too small for it: the host says ENOSPC in the middle.
            string disk = Path.Combine(mount, "disk.raw");
            using (FileStream file = File.Create(disk))
                file.SetLength(64 << 20);
            await using LinuxGuest guest = await LinuxGuest.BootAsync("--disk", $"path={disk}");
            Assert.That((await guest.ExecuteAsync("dd if=/dev/urandom of=/dev/vda bs=64k count=256 conv=fsync")).Status, Is.Not.Zero);
            Assert.That(await guest.SucceedAsync("dmesg | grep -c 'I/O error, dev vda'"), Is.Not.EqualTo("0"));
            Assert.That(guest.Run.Messages, Does.Contain(disk).And.Contain("No space left on device"));
            Assert.That(await guest.SucceedAsync("dd if=/dev/vda of=/dev/null bs=64k count=16 2>/dev/null; echo alive"), Is.EqualTo("alive"));
            await guest.Run.TypeAsync("poweroff -f\n");
            Assert.That(await guest.Run.WaitForExitAsync(), Is.Zero, guest.Run.Describe());
        }
        finally
        {
            await Tool.RunAsync("umount", mount);
        }
    }

    [Test]
    public async Task TheRandomDeviceGivesEntropy()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync();
        Assert.That(await guest.SucceedAsync("cat /sys/class/misc/hw_random/rng_current"), Does.StartWith("virtio_rng"));
        string[] samples = (await guest.SucceedAsync("for i in 1 2; do head -c 64 /dev/hwrng | od -An -tx1 | tr -d ' \\n'; echo; done")).Split('\n');
        Assert.That(samples, Has.Length.EqualTo(2).And.Unique);
        Assert.That(samples, Has.All.Length.EqualTo(128));
        await PowerOffAsync(guest);
    }

    [Test]
    public async Task RebootStartsTheGuestAgain()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync();
        await guest.SucceedAsync("echo x >/tmp/here");
        await guest.Run.TypeAsync("reboot -f\n");
        await guest.WaitForShellAsync();
        Assert.That((await guest.ExecuteAsync("test -e /tmp/here")).Status, Is.Not.Zero);
        await PowerOffAsync(guest);
    }

    [Test]
    public async Task RebootEndsTheMachineUnderNoReboot()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync("--no-reboot");
        await guest.Run.TypeAsync("reboot -f\n");
        Assert.That(await guest.Run.WaitForExitAsync(), Is.Zero, guest.Run.Describe());
    }

    [Test]
    public async Task APanicIsACrash()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync();
        await guest.SucceedAsync("lsmod | grep -q pvpanic || zcat /proc/config.gz | grep PVPANIC=y");
        await guest.Run.TypeAsync("echo c >/proc/sysrq-trigger\n");
        Assert.That(await guest.Run.WaitForExitAsync(), Is.EqualTo(3), guest.Run.Describe());
        Assert.That(guest.Run.Messages, Does.Contain("panic"));
    }

    [Test]
    public async Task SigtermPressesThePowerButton()
    {
        await using LinuxGuest guest = await LinuxGuest.BootAsync("--stop-timeout", "120");
        await guest.Run.SignalAsync("TERM");
        Assert.That(await guest.Run.WaitForExitAsync(), Is.Zero, guest.Run.Describe());
        Assert.That(guest.Run.Console, Does.Contain("The system is going down NOW!"), "The guest did not shut itself down.");
    }

    /// <summary>Garbage to ports and device memory from a running Linux: the kernel may crash, vmm may not.</summary>
    [Test]
    public async Task GarbageFromRootStopsTheGuestAtMost()
    {
        await using LinuxGuest guest = await LinuxGuest.BootWithAsync("panic=1", "--no-reboot");
        await guest.Run.TypeAsync(
            "i=0; while [ $i -lt 300 ]; do dd if=/dev/urandom of=/dev/port bs=1 count=16 seek=$((i * 13 % 4096)) 2>/dev/null; "
            + "devmem $((0xC0000000 + i * 4096)) 32 $i 2>/dev/null; i=$((i + 1)); done; echo '@''@done'\n");
        Task ended = guest.Run.WaitForExitAsync();
        await Task.WhenAny(guest.Run.WaitForAsync("@@done"), ended);
        if (!guest.Run.HasExited)
            return;
        Assert.That(await guest.Run.WaitForExitAsync(), Is.AnyOf(0, 3), guest.Run.Describe());
    }

    private static async Task PowerOffAsync(LinuxGuest guest)
    {
        await guest.Run.TypeAsync("poweroff -f\n");
        Assert.That(await guest.Run.WaitForExitAsync(), Is.Zero, guest.Run.Describe());
        Assert.That(guest.Run.Messages, Is.Empty);
    }
}
