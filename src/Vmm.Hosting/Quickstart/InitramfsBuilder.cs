namespace Vmm.Hosting.Quickstart;

/// <summary>Builds the quickstart guest's initramfs: busybox, the modules that the devices need, and a few files of /etc.</summary>
internal static class InitramfsBuilder
{
    private const string Inittab = """
        ttyS0::respawn:-/bin/sh
        ::once:/sbin/acpid -f -l /dev/null -p /run/acpid.pid
        ::ctrlaltdel:/sbin/reboot
        ::shutdown:/bin/umount -a -r 2>/dev/null

        """;

    private const string Profile = """
        export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root PS1='\w # '
        cd
        if [ -z "$VMM_GREETED" ]; then
            export VMM_GREETED=1
            echo
            echo "Linux $(uname -r) on vmm, $(nproc) CPU(s), $(awk '/MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo) MiB."
            [ -b /dev/vda ] && echo "'mount /dev/vda' puts the disk at /mnt."
            echo "'poweroff' ends the VM; so does Ctrl-A x, at once. Ctrl-A h lists the keys."
            echo
        fi

        """;

    /// <summary>
    /// Writes the initramfs. It is not compressed: Linux takes it as it is, and unpacking would be done by the guest.
    /// </summary>
    /// <param name="output">Where to.</param>
    /// <param name="busybox">A statically linked busybox for x86-64.</param>
    /// <param name="modules">Kernel modules, in the order of loading.</param>
    internal static void Build(Stream output, ReadOnlySpan<byte> busybox, IReadOnlyList<KernelModule> modules)
    {
        using CpioWriter cpio = new(output);
        foreach (string directory in (string[])["bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "mnt", "root", "etc"])
            cpio.AddDirectory(directory);
        cpio.AddDirectory("tmp", 0x3FF);
        cpio.AddCharacterDevice("dev/console", 5, 1);
        cpio.AddCharacterDevice("dev/null", 1, 3);
        cpio.AddFile("bin/busybox", busybox, executable: true);
        cpio.AddLink("bin/sh", "busybox");
        cpio.AddText("init", ReadScript(), executable: true);
        cpio.AddText("etc/inittab", Inittab);
        cpio.AddText("etc/profile", Profile);
        cpio.AddText("etc/fstab", "/dev/vda /mnt ext4 defaults 0 0\n");
        cpio.AddText("etc/passwd", "root::0:0:root:/root:/bin/sh\n");
        cpio.AddText("etc/group", "root:x:0:\n");
        cpio.AddText("etc/hostname", "vmm\n");
        // busybox acpid runs this when the ACPI power button is pressed.
        cpio.AddText("etc/acpi/PWRF/00000080", "#!/bin/sh\nexec /sbin/poweroff\n", executable: true);
        foreach (KernelModule module in modules)
            cpio.AddFile($"lib/modules/{module.Name}.ko", module.Content);
        cpio.AddText("lib/modules/order", string.Concat(modules.Select(m => m.Name + "\n")));
    }

    private static string ReadScript()
    {
        using Stream stream = typeof(InitramfsBuilder).Assembly.GetManifestResourceStream("Vmm.Hosting.Quickstart.init.sh")
            ?? throw new InvalidOperationException("The assembly lacks its init script.");
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
