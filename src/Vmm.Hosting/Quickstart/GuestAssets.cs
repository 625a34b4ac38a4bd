namespace Vmm.Hosting.Quickstart;

/// <summary>What a small Linux guest needs, ready to boot.</summary>
/// <param name="Kernel">The distribution's kernel image.</param>
/// <param name="Initrd">An initramfs with busybox and the kernel's modules for vmm's devices; a root shell on ttyS0.</param>
/// <param name="Disk">A raw disk image, formatted or to be formatted by the guest.</param>
/// <param name="DiskFormatted">Whether the disk holds an ext4 file system already.</param>
/// <param name="KernelRelease">The kernel's release, as <c>uname -r</c>.</param>
/// <param name="Origin">Where the kernel came from, in words.</param>
public sealed record GuestAssets(string Kernel, string Initrd, string Disk, bool DiskFormatted, string KernelRelease, string Origin)
{
    /// <summary>The kernel command line that goes with them.</summary>
    public string CommandLine => DiskFormatted ? "console=ttyS0 quiet" : "console=ttyS0 quiet vmm.mkfs";
}

/// <summary>How far the preparation of <see cref="GuestAssets"/> is.</summary>
/// <param name="Step">What is being done, in words.</param>
/// <param name="Fraction">0 to 1, or null where it cannot be told.</param>
public readonly record struct GuestAssetProgress(string Step, double? Fraction);
