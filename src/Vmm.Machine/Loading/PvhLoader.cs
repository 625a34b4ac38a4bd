using Vmm.Core.Lifecycle;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Loading;

/// <summary>PVH direct boot (Xen's docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h, version 1).</summary>
internal static class PvhLoader
{
    private const uint Magic = 0x336E_C578;

    /// <summary>Writes what surrounds an ELF that was loaded and has the note.</summary>
    public static LoadedKernel Finish(BootFiles files, BootSpace space, uint entry, ulong kernelEnd, string description)
    {
        // The entry is 32-bit code anywhere in memory that was loaded.
        space.RequireLoadable(files.Kernel.Name, entry, 1);
        if (files.Modules.Count > 0)
            throw new VmmException("module: only multiboot kernels take modules; use --initrd.");
        ulong commandLine = space.AddString("--append", files.CommandLine);
        uint modules = 0;
        if (files.Initrd is { } initrd)
        {
            ulong address = space.LoadInitrd(initrd, kernelEnd, uint.MaxValue);
            modules = 1;
            space.Write(AddressMap.BootModules, new ByteWriter().U64(address).U64((ulong)initrd.Length).U64(0).U64(0).Written);
        }
        var map = new ByteWriter();
        foreach (var range in space.Map)
            map.U64(range.Address).U64(range.Size).U32((uint)range.Type).U32(0);
        space.Write(AddressMap.BootMemoryMap, map.Written);
        var info = new ByteWriter()
            .U32(Magic)
            .U32(1)
            .U32(0)
            .U32(modules)
            .U64(modules == 0 ? 0 : AddressMap.BootModules)
            .U64(commandLine)
            .U64(AddressMap.Rsdp)
            .U64(AddressMap.BootMemoryMap)
            .U32((uint)space.Map.Length)
            .U32(0);
        space.Write(AddressMap.BootInformation, info.Written);
        BootStructures.WriteGdt(space, longMode: false);
        return new LoadedKernel(new BootEntry.Pvh(entry), description, kernelEnd);
    }
}
