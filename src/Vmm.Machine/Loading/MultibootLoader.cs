using Vmm.Core.Lifecycle;
using Vmm.Core.Memory;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Loading;

/// <summary>A kernel by multiboot 1 (Multiboot Specification 0.6.96): ELF, or flat with addresses in its header.</summary>
internal static class MultibootLoader
{
    // Multiboot information flags (3.3).
    private const uint HasMemory = 1 << 0;
    private const uint HasCommandLine = 1 << 2;
    private const uint HasModules = 1 << 3;
    private const uint HasMemoryMap = 1 << 6;
    private const uint HasLoaderName = 1 << 9;

    private const int ModuleEntrySize = 16;
    private const string LoaderName = "vmm";

    public static LoadedKernel Load(BootFiles files, BootSpace space, MultibootHeader header)
    {
        var kernel = files.Kernel;
        if (header.UnknownRequirements != 0)
            throw new VmmException($"{kernel.Name}: the multiboot header requires features 0x{header.UnknownRequirements:x}, which do not exist; give a multiboot 1 kernel.");
        var (entry, end, format) = header.HasAddresses ? LoadFlat(kernel, space, header) : LoadElf(kernel, space);
        WriteInformation(files, space, end);
        BootStructures.WriteGdt(space, longMode: false);
        return new LoadedKernel(new BootEntry.Multiboot(entry), $"multiboot, {format}", end);
    }

    // 3.1.3: the header's own address tells which byte of the file goes to load_addr.
    private static (ulong Entry, ulong End, string Format) LoadFlat(ImageFile kernel, BootSpace space, MultibootHeader header)
    {
        var (headerAddress, load, loadEnd, bssEnd, entry) = (header.Addresses[0], header.Addresses[1], header.Addresses[2], header.Addresses[3], header.Addresses[4]);
        long offset = header.Offset - ((long)headerAddress - load);
        if (load > headerAddress || offset < 0 || offset >= kernel.Length || (loadEnd != 0 && loadEnd < load) || (bssEnd != 0 && bssEnd < loadEnd))
            throw new VmmException($"{kernel.Name}: the addresses in the multiboot header contradict each other; build the kernel again.");
        ulong size = loadEnd == 0 ? (ulong)(kernel.Length - offset) : loadEnd - load;
        ulong end = Math.Max(load + size, bssEnd);
        space.RequireLoadable(kernel.Name, load, end - load);
        if (entry < load || entry >= end)
            throw new VmmException($"{kernel.Name}: the entry 0x{entry:x} in the multiboot header lies outside the kernel; build the kernel again.");
        space.Load(kernel, offset, load, size);
        space.Zero(load + size, end - load - size);
        return (entry, end, "flat");
    }

    private static (ulong Entry, ulong End, string Format) LoadElf(ImageFile kernel, BootSpace space)
    {
        Span<byte> magic = stackalloc byte[4];
        kernel.ReadAt(0, magic);
        if (!ElfImage.IsElf(magic))
            throw new VmmException($"{kernel.Name}: the multiboot kernel is neither an ELF file nor does its header tell where to load it; build it as either.");
        var elf = ElfImage.Open(kernel);
        ulong end = elf.Load(space);
        ulong entry = elf.PhysicalEntry();
        if (entry > uint.MaxValue)
            throw new VmmException($"{kernel.Name}: the entry 0x{entry:x} is above 4 GiB; link the kernel for a 32-bit entry.");
        space.RequireLoadable(kernel.Name, entry, 1);
        return (entry, end, elf.Is64 ? "ELF64" : "ELF32");
    }

    private static void WriteInformation(BootFiles files, BootSpace space, ulong kernelEnd)
    {
        uint flags = HasMemory | HasCommandLine | HasMemoryMap | HasLoaderName;
        ulong commandLine = space.AddString("--append", files.CommandLine.Length == 0 ? files.Kernel.Path : $"{files.Kernel.Path} {files.CommandLine}");
        ulong loaderName = space.AddString("--append", LoaderName);
        uint modules = LoadModules(files, space, kernelEnd);
        if (modules != 0)
            flags |= HasModules;
        uint mapLength = WriteMap(space);
        ulong upper = (space.LowEnd - AddressMap.ExtendedMemory) >> 10;
        var info = new ByteWriter()
            .U32(flags)
            .U32((uint)(AddressMap.ExtendedBiosDataArea >> 10))
            .U32((uint)upper)
            .U32(0)
            .U32((uint)commandLine)
            .U32(modules)
            .U32(modules == 0 ? 0 : (uint)AddressMap.BootModules)
            .Zeros(16)
            .U32(mapLength)
            .U32((uint)AddressMap.BootMemoryMap)
            .Zeros(12)
            .U32((uint)loaderName)
            .Zeros(52);
        space.Write(AddressMap.BootInformation, info.Written);
    }

    // Each entry begins with its size, which does not count itself.
    private static uint WriteMap(BootSpace space)
    {
        var map = new ByteWriter();
        foreach (var range in space.Map)
            map.U32(20).U64(range.Address).U64(range.Size).U32((uint)range.Type);
        space.Write(AddressMap.BootMemoryMap, map.Written);
        return (uint)map.Length;
    }

    // Modules follow the kernel on page boundaries, as kernels without a memory manager expect.
    private static uint LoadModules(BootFiles files, BootSpace space, ulong kernelEnd)
    {
        var all = new List<BootModule>();
        if (files.Initrd is { } initrd)
            all.Add(new BootModule(initrd, initrd.Path));
        all.AddRange(files.Modules);
        if (all.Count > AddressMap.BootModulesSize / ModuleEntrySize)
            throw new VmmException($"module: {all.Count} modules are more than there is room for; give at most {AddressMap.BootModulesSize / ModuleEntrySize}.");
        var list = new ByteWriter();
        ulong next = Math.Max(kernelEnd, AddressMap.ExtendedMemory);
        foreach (var module in all)
        {
            next = (next + (GuestMemory.PageSize - 1)) & ~(GuestMemory.PageSize - 1);
            ulong size = (ulong)module.File.Length;
            if (next > space.LowEnd || size > space.LowEnd - next)
                throw new VmmException($"{module.File.Name}: {size >> 10} KiB do not fit into the memory behind the kernel; give more --memory.");
            space.Load(module.File, 0, next, size);
            list.U32((uint)next).U32((uint)(next + size)).U32((uint)space.AddString("module", module.CommandLine)).U32(0);
            next += size;
        }
        if (all.Count > 0)
            space.Write(AddressMap.BootModules, list.Written);
        return (uint)all.Count;
    }
}
