namespace Vmm.Machine;

/// <summary>How a kernel is entered.</summary>
public enum BootProtocol
{
    /// <summary>
    /// By what the file is: a bzImage is unpacked on the host and entered by PVH when its payload has the note, else by the 64-bit
    /// protocol; an ELF by PVH when it has the note, else by multiboot; anything with a multiboot header by multiboot.
    /// </summary>
    Auto,

    /// <summary>A bzImage by Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst); the guest unpacks itself.</summary>
    Linux64,

    /// <summary>An ELF, or the ELF inside a bzImage, by the PVH direct boot ABI (Xen's docs/misc/pvh.pandoc).</summary>
    Pvh,

    /// <summary>A kernel with a multiboot 1 header (Multiboot Specification version 0.6.96).</summary>
    Multiboot,
}
