using System.Buffers.Binary;
using System.Text;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>
/// A bzImage by Linux's boot protocol (Documentation/arch/x86/boot.rst, zero-page.rst): the 64-bit entry, or the 32-bit one for a kernel
/// that has no other.
/// </summary>
internal static class LinuxLoader
{
    private const ulong Entry64Offset = 0x200;
    private const byte LoaderUndefined = 0xFF;
    private const int MaximumE820Entries = 128;

    // Offsets in boot_params.
    private const int AcpiRsdpAddress = 0x070;
    private const int E820Entries = 0x1E8;
    private const int VideoMode = 0x1FA;
    private const int TypeOfLoader = 0x210;
    private const int Code32Start = 0x214;
    private const int RamdiskImage = 0x218;
    private const int RamdiskSize = 0x21C;
    private const int CommandLinePointer = 0x228;
    private const int E820Table = 0x2D0;
    private const ushort VideoModeNormal = 0xFFFF;

    public static LoadedKernel Load(BootFiles files, BootSpace space, BzImage image)
    {
        var kernel = files.Kernel;
        CheckCommandLine(files, image);
        if (files.Modules.Count > 0)
            throw new VmmException("module: only multiboot kernels take modules; use --initrd.");
        ulong size = (ulong)(kernel.Length - image.ProtectedModeOffset);
        ulong span = Math.Max(size, image.InitSize);
        ulong address = Place(space, image, kernel.Name, span);
        space.Load(kernel, image.ProtectedModeOffset, address, size);

        byte[] parameters = new byte[4096];
        image.Header.CopyTo(parameters.AsSpan(BzImage.HeaderStart));
        parameters[TypeOfLoader] = LoaderUndefined;
        BinaryPrimitives.WriteUInt16LittleEndian(parameters.AsSpan(VideoMode), VideoModeNormal);
        Set32(parameters, Code32Start, (uint)address);
        Set32(parameters, CommandLinePointer, (uint)space.AddString("--append", files.CommandLine));
        BinaryPrimitives.WriteUInt64LittleEndian(parameters.AsSpan(AcpiRsdpAddress), AddressMap.Rsdp);
        if (files.Initrd is { } initrd)
        {
            Set32(parameters, RamdiskImage, (uint)space.LoadInitrd(initrd, address + span, image.InitrdAddressMaximum));
            Set32(parameters, RamdiskSize, (uint)initrd.Length);
        }
        WriteMap(parameters, space);
        space.Write(AddressMap.BootInformation, parameters);
        BootStructures.WriteGdt(space, image.Has64BitEntry);
        if (!image.Has64BitEntry)
            return new LoadedKernel(new BootEntry.Linux32(address), "bzImage, 32-bit Linux boot protocol", address + span);
        BootStructures.WritePageTables(space);
        return new LoadedKernel(new BootEntry.Linux64(address + Entry64Offset), "bzImage, 64-bit Linux boot protocol", address + span);
    }

    /// <summary>Checks the command line against what the kernel takes.</summary>
    /// <exception cref="VmmException">It is longer.</exception>
    public static void CheckCommandLine(BootFiles files, BzImage image)
    {
        int length = Encoding.UTF8.GetByteCount(files.CommandLine);
        if ((uint)length > image.CommandLineSize)
            throw new VmmException($"--append: the command line has {length} bytes, and this kernel takes {image.CommandLineSize}; shorten it.");
    }

    // Where it prefers to be, else from the first place that its alignment allows.
    private static ulong Place(BootSpace space, BzImage image, string name, ulong span)
    {
        ulong preferred = image.PreferredAddress;
        uint alignment = image.RelocatableAlignment;
        if (alignment != 0 && !space.IsLoadable(preferred, span) && preferred < AddressMap.LowMemoryLimit)
        {
            ulong lowest = (AddressMap.ExtendedMemory + alignment - 1) / alignment * alignment;
            if (space.IsLoadable(lowest, span))
                return lowest;
        }
        space.RequireLoadable(name, preferred, span);
        if (preferred + span > uint.MaxValue)
            throw new VmmException($"{name}: the kernel wants to be at 0x{preferred:x}, above 4 GiB; give a kernel with a lower preferred address.");
        return preferred;
    }

    private static void WriteMap(byte[] parameters, BootSpace space)
    {
        int count = Math.Min(space.Map.Length, MaximumE820Entries);
        parameters[E820Entries] = (byte)count;
        for (int i = 0; i < count; i++)
        {
            var entry = parameters.AsSpan(E820Table + (i * 20), 20);
            BinaryPrimitives.WriteUInt64LittleEndian(entry, space.Map[i].Address);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], space.Map[i].Size);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], (uint)space.Map[i].Type);
        }
    }

    private static void Set32(byte[] bytes, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), value);
}
