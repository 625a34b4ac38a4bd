using System.Buffers.Binary;

namespace Vmm.Bench;

/// <summary>A guest whose first instructions end it through isa-debug-exit: what is left is the start of the VMM.</summary>
internal static class BareKernelStart
{
    private const uint LoadAddress = 0x10_0000;
    private const uint Magic = 0x1BAD_B002;
    private const uint Flags = 1 << 16;

    internal static TimeSpan Measure(string vmm)
    {
        string kernel = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(kernel, Kernel());
            return BootMeasurement.TimeOf(vmm, ["run", "--kernel", kernel, "--accel", "software", "--memory", "128M", "--serial", "none", "--debug-exit"]);
        }
        finally
        {
            File.Delete(kernel);
        }
    }

    /// <summary>A multiboot header (0.6.96, 3.1), then MOV AL,0; OUT 0xF4,AL; HLT; JMP to the HLT.</summary>
    private static byte[] Kernel()
    {
        byte[] code = [0xB0, 0x00, 0xE6, 0xF4, 0xF4, 0xEB, 0xFD];
        byte[] image = new byte[32 + code.Length];
        uint end = LoadAddress + (uint)image.Length;
        uint[] header = [Magic, Flags, unchecked(0u - (Magic + Flags)), LoadAddress, LoadAddress, end, end + 0x1000, LoadAddress + 32];
        for (int i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(4 * i), header[i]);
        code.CopyTo(image, 32);
        return image;
    }
}
