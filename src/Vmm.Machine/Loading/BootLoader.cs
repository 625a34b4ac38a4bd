using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>Finds out what a kernel is, and loads it by the protocol that was asked for or suits it best.</summary>
internal static class BootLoader
{
    /// <summary>Loads the kernel and all that goes with it.</summary>
    /// <exception cref="VmmException">It cannot be done; the message names the file or option.</exception>
    public static LoadedKernel Load(BootFiles files, BootSpace space)
    {
        byte[] start = new byte[Math.Min(files.Kernel.Length, MultibootHeader.SearchSpace)];
        files.Kernel.ReadAt(0, start);
        return files.Protocol switch
        {
            BootProtocol.Linux64 => LoadLinux(files, space, start),
            BootProtocol.Pvh => LoadPvh(files, space, start),
            BootProtocol.Multiboot => LoadMultiboot(files, space, start),
            _ => LoadBest(files, space, start),
        };
    }

    private static LoadedKernel LoadBest(BootFiles files, BootSpace space, byte[] start)
    {
        if (BzImage.IsBzImage(start))
            return TryUnpack(files, space, BzImage.Open(files.Kernel)) ?? LoadLinux(files, space, start);
        var multiboot = MultibootHeader.Find(start);
        if (ElfImage.IsElf(start))
        {
            var elf = ElfImage.Open(files.Kernel);
            ulong end = elf.Load(space);
            if (elf.PvhEntry is uint entry)
                return PvhLoader.Finish(files, space, entry, end, "ELF, PVH");
            if (multiboot is null)
                throw new VmmException($"{files.Kernel.Name}: this ELF file has neither the PVH note nor a multiboot header; build Linux with CONFIG_PVH=y, or give its bzImage.");
            space.Memory.Clear();
        }
        if (multiboot is not null)
            return MultibootLoader.Load(files, space, multiboot);
        throw Foreign(files);
    }

    private static LoadedKernel LoadLinux(BootFiles files, BootSpace space, byte[] start)
    {
        if (!BzImage.IsBzImage(start))
            throw new VmmException($"{files.Kernel.Name}: this is not a bzImage, which --boot-protocol linux64 needs; leave the option out or give a bzImage.");
        var image = BzImage.Open(files.Kernel);
        if (files.Protocol == BootProtocol.Linux64 && !image.Has64BitEntry)
            throw new VmmException($"{files.Kernel.Name}: this kernel has no 64-bit entry, which --boot-protocol linux64 needs; leave the option out.");
        return LinuxLoader.Load(files, space, image);
    }

    private static LoadedKernel LoadPvh(BootFiles files, BootSpace space, byte[] start)
    {
        if (BzImage.IsBzImage(start))
        {
            return TryUnpack(files, space, BzImage.Open(files.Kernel))
                ?? throw new VmmException($"{files.Kernel.Name}: the kernel inside has no PVH note, which --boot-protocol pvh needs; leave the option out.");
        }
        var elf = ElfImage.Open(files.Kernel);
        ulong end = elf.Load(space);
        uint entry = elf.PvhEntry
            ?? throw new VmmException($"{files.Kernel.Name}: this ELF file has no PVH note, which --boot-protocol pvh needs; build Linux with CONFIG_PVH=y.");
        return PvhLoader.Finish(files, space, entry, end, "ELF, PVH");
    }

    private static LoadedKernel LoadMultiboot(BootFiles files, BootSpace space, byte[] start)
    {
        var header = MultibootHeader.Find(start)
            ?? throw new VmmException($"{files.Kernel.Name}: there is no multiboot header in the first 8 KiB, which --boot-protocol multiboot needs; leave the option out.");
        return MultibootLoader.Load(files, space, header);
    }

    // The kernel inside a bzImage, unpacked here at native speed; null when it must be entered by the Linux protocol after all.
    private static LoadedKernel? TryUnpack(BootFiles files, BootSpace space, BzImage image)
    {
        LinuxLoader.CheckCommandLine(files, image);
        using var payload = PayloadReader.TryOpen(files.Kernel, image, space.Memory.RamSize);
        if (payload is null)
            return null;
        Span<byte> magic = stackalloc byte[4];
        payload.Peek(magic);
        if (!ElfImage.IsElf(magic))
            return null;
        var elf = ElfImage.Open(payload);
        ulong end = elf.Load(space);
        if (elf.PvhEntry is uint entry)
            return PvhLoader.Finish(files, space, entry, end, $"bzImage ({payload.Format}), PVH");
        space.Memory.Clear();
        return null;
    }

    private static VmmException Foreign(BootFiles files) =>
        new($"{files.Kernel.Name}: this is not a kernel for x86: neither a bzImage, nor an ELF file, nor multiboot; check the path.");
}
