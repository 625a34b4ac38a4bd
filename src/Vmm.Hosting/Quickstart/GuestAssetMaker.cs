using System.Text.RegularExpressions;
using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Quickstart;

/// <summary>Makes the kernel and the initramfs of the quickstart guest in a folder.</summary>
internal sealed partial class GuestAssetMaker
{
    /// <summary>Packages that stand for a stock kernel: Debian's for clouds (small), Debian's, Ubuntu's for VMs, Ubuntu's.</summary>
    private static readonly string[] KernelPackages = ["linux-image-cloud-amd64", "linux-image-amd64", "linux-image-virtual", "linux-image-generic"];

    /// <summary>Modules for the devices of the board, where the kernel does not have them built in.</summary>
    private static readonly string[] Modules =
        ["virtio_pci", "virtio_blk", "virtio_rng", "ext4", "button", "evdev", "pvpanic", "pvpanic_mmio", "pvpanic_pci", "rtc_cmos"];

    private readonly string _folder;
    private readonly string _host;
    private readonly Action<GuestAssetProgress> _progress;

    /// <param name="folder">Where the files go.</param>
    /// <param name="progress">Is told what is being done.</param>
    /// <param name="host">Root of the host's file system.</param>
    internal GuestAssetMaker(string folder, Action<GuestAssetProgress> progress, string host = "/")
    {
        (_folder, _progress, _host) = (folder, progress, host);
    }

    /// <summary>Makes them from packages, or else from the host's own kernel.</summary>
    internal async Task<Manifest> MakeAsync(CancellationToken cancellation)
    {
        string work = Path.Combine(_folder, "work");
        DeleteFolder(work);
        Directory.CreateDirectory(work);
        try
        {
            if (AptRepository.Find(Path.Combine(_folder, "apt")) is not AptRepository apt)
                return MakeFromHost("this system has no apt-get");
            try
            {
                return await MakeFromPackagesAsync(apt, work, cancellation).ConfigureAwait(false);
            }
            catch (VmmException e)
            {
                return MakeFromHost(e.Message);
            }
        }
        finally
        {
            DeleteFolder(work);
        }
    }

    private static void DeleteFolder(string folder)
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
    }

    private async Task<Manifest> MakeFromPackagesAsync(AptRepository apt, string work, CancellationToken cancellation)
    {
        IReadOnlyList<string> files = await DownloadAsync(apt, work, cancellation).ConfigureAwait(false);
        string root = Path.Combine(work, "root");
        foreach (string file in files)
        {
            Report($"Unpacking {Path.GetFileName(file).Split('_')[0]}");
            await DebianPackage.ExtractAsync(file, name => IsWanted(name) ? Path.Combine(root, name) : null, cancellation).ConfigureAwait(false);
        }
        string kernel = FindOne(root, "vmlinuz-*");
        string release = Path.GetFileName(kernel)["vmlinuz-".Length..];
        Build(kernel, FindModules(root, release), FindOne(root, "busybox"));
        return new Manifest(release, $"Debian package linux-image-{release}");
    }

    /// <summary>Files of the packages that are used; a name that could leave the folder is none of them.</summary>
    private static bool IsWanted(string name) =>
        !name.Contains("..", StringComparison.Ordinal) && !name.StartsWith('/') && WantedFile().IsMatch(name);

    private async Task<IReadOnlyList<string>> DownloadAsync(AptRepository apt, string work, CancellationToken cancellation)
    {
        string packages = Path.Combine(work, "packages");
        while (true)
        {
            VmmException failure;
            try
            {
                DeleteFolder(packages);
                Directory.CreateDirectory(packages);
                IReadOnlyList<AptPackage> wanted = await ChooseAsync(apt, cancellation).ConfigureAwait(false);
                string step = $"Fetching {string.Join(", ", wanted.Select(p => p.Name))}";
                Report(step);
                return await apt.DownloadAsync(wanted, packages, f => _progress(new GuestAssetProgress(step, f)), cancellation).ConfigureAwait(false);
            }
            catch (VmmException e) when (!apt.HasOwnLists)
            {
                failure = e;
            }
            Report($"Reading the package lists, since {failure.Message}");
            await apt.UpdateAsync(cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>The concrete kernel package behind the distribution's name for the current one, its modules' package, and busybox.</summary>
    private async Task<IReadOnlyList<AptPackage>> ChooseAsync(AptRepository apt, CancellationToken cancellation)
    {
        Report("Looking for a kernel package");
        AptPackage meta = await apt.FindPackageAsync(KernelPackages, cancellation).ConfigureAwait(false)
            ?? throw new VmmException("no kernel package is in the package lists.");
        AptPackage? kernel = await apt.FindPackageAsync(meta.Depends.Where(d => ConcreteKernel().IsMatch(d)), cancellation).ConfigureAwait(false);
        if (kernel is null)
            throw new VmmException($"the package {meta.Name} names no kernel.");
        AptPackage? modules = await apt.FindPackageAsync(kernel.Depends.Where(d => d.StartsWith("linux-modules-", StringComparison.Ordinal)), cancellation)
            .ConfigureAwait(false);
        AptPackage busybox = await apt.FindPackageAsync(["busybox-static"], cancellation).ConfigureAwait(false)
            ?? throw new VmmException("no package busybox-static is in the package lists.");
        return modules is null ? [kernel, busybox] : [kernel, modules, busybox];
    }

    /// <summary>Uses the kernel that this host runs, and its busybox.</summary>
    private Manifest MakeFromHost(string reason)
    {
        Report($"Using this host's kernel, since {reason}");
        string running = File.ReadAllText(Path.Combine(_host, "proc/sys/kernel/osrelease")).Trim();
        string boot = Path.Combine(_host, "boot");
        string kernel = Path.Combine(boot, $"vmlinuz-{running}");
        string modules = Path.Combine(_host, "lib/modules", running);
        string advice = "Run once with network access, or install a kernel package and busybox-static and make /boot/vmlinuz-* readable.";
        if (!CanRead(kernel) || !Directory.Exists(modules))
            throw new VmmException($"No kernel for the guest: {reason.TrimEnd('.')}, and '{kernel}' with '{modules}' cannot be read. {advice}");
        string busybox = new[] { "bin/busybox", "usr/bin/busybox" }.Select(p => Path.Combine(_host, p)).FirstOrDefault(IsStatic)
            ?? throw new VmmException($"No userland for the guest: {reason.TrimEnd('.')}, and this host has no statically linked busybox. {advice}");
        Build(kernel, modules, busybox);
        return new Manifest(running, $"this host's {kernel}, since {reason}");
    }

    private void Build(string kernel, string modulesFolder, string busybox)
    {
        Report("Building the initramfs");
        ModuleTree tree = new(modulesFolder);
        foreach (string needed in (string[])["virtio_pci", "virtio_blk"])
        {
            if (!tree.Has(needed))
                throw new VmmException($"the kernel '{kernel}' has no {needed} driver.");
        }
        string initrd = Path.Combine(_folder, "initramfs.cpio");
        using (FileStream output = File.Create(initrd + ".new"))
            InitramfsBuilder.Build(output, File.ReadAllBytes(busybox), tree.Resolve(Modules));
        File.Move(initrd + ".new", initrd, overwrite: true);
        string target = Path.Combine(_folder, "vmlinuz");
        File.Copy(kernel, target + ".new", overwrite: true);
        File.Move(target + ".new", target, overwrite: true);
    }

    private static string FindModules(string root, string release) =>
        new[] { "lib/modules", "usr/lib/modules" }.Select(p => Path.Combine(root, p, release)).FirstOrDefault(Directory.Exists)
        ?? throw new VmmException($"the packages hold no modules for kernel {release}.");

    private static string FindOne(string root, string pattern) =>
        Directory.EnumerateFiles(root, pattern, SearchOption.AllDirectories).FirstOrDefault()
        ?? throw new VmmException($"the packages hold no file {pattern}.");

    private static bool CanRead(string file)
    {
        try
        {
            using FileStream _ = File.OpenRead(file);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Whether a file is an ELF64 program without an interpreter (PT_INTERP), which runs with no libraries around it.</summary>
    private static bool IsStatic(string file)
    {
        const uint interpreter = 3;
        if (!CanRead(file))
            return false;
        byte[] bytes = File.ReadAllBytes(file);
        if (bytes.Length < 64 || !bytes.AsSpan().StartsWith("\u007FELF\u0002"u8))
            return false;
        ulong table = BitConverter.ToUInt64(bytes, 0x20);
        int size = BitConverter.ToUInt16(bytes, 0x36), count = BitConverter.ToUInt16(bytes, 0x38);
        for (int i = 0; i < count; i++)
        {
            ulong header = table + (ulong)(i * size);
            if (header > (ulong)bytes.Length - 4 || BitConverter.ToUInt32(bytes, (int)header) == interpreter)
                return false;
        }
        return true;
    }

    private void Report(string step) => _progress(new GuestAssetProgress(step, null));

    [GeneratedRegex(@"^(boot/vmlinuz-[^/]+|(usr/)?lib/modules/.+(\.ko(\.gz|\.xz|\.zst)?|/modules\.builtin)|(usr/)?bin/busybox)$")]
    private static partial Regex WantedFile();

    [GeneratedRegex(@"^linux-image-(unsigned-)?\d")]
    private static partial Regex ConcreteKernel();
}
