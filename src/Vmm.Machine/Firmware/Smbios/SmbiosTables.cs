using System.Text;

namespace Vmm.Machine.Firmware.Smbios;

/// <summary>SMBIOS 3 entry point and structures (DSP0134 version 3.2.0).</summary>
internal static class SmbiosTables
{
    /// <summary>Bytes of the 64-bit entry point.</summary>
    public const int EntryPointSize = 24;

    private const string Manufacturer = "vmm";
    private const string Product = "vmm pc";

    private const ushort BiosHandle = 0x0000;
    private const ushort SystemHandle = 0x0100;
    private const ushort ChassisHandle = 0x0300;
    private const ushort ProcessorHandle = 0x0400;
    private const ushort ArrayHandle = 0x1000;
    private const ushort DeviceHandle = 0x1100;
    private const ushort RangeHandle = 0x1300;
    private const ushort BootHandle = 0x2000;
    private const ushort EndHandle = 0x7F00;
    private const ushort NoHandle = 0xFFFE;

    // A memory device says its size in 31 bits of MiB; larger machines have one device of the size in its extended field.
    private const ushort SeeExtendedSize = 0x7FFF;

    /// <summary>The entry point for a table of <paramref name="length"/> bytes at <see cref="AddressMap.SmbiosTable"/> (5.2.2).</summary>
    public static byte[] EntryPoint(int length)
    {
        var writer = new ByteWriter()
            .Ascii("_SM3_", 5)
            .U8(0)
            .U8(EntryPointSize)
            .U8(3).U8(2).U8(0)
            .U8(1)
            .U8(0)
            .U32((uint)length)
            .U64(AddressMap.SmbiosTable);
        Checksum.Seal(writer.Written, 5);
        return writer.ToArray();
    }

    /// <summary>The structures: types 0, 1, 3, 4, 16, 17, 19, 32 and 127.</summary>
    public static byte[] Structures(FirmwareOptions options)
    {
        var w = new ByteWriter();
        Bios(w);
        System(w, options.Name);
        Chassis(w);
        Processor(w, options.Cpus);
        Memory(w, options.Memory);
        Structure(w, 32, BootHandle, b => b.Zeros(6).U8(0));
        Structure(w, 127, EndHandle, static _ => { });
        return w.ToArray();
    }

    // 7.1: a virtual machine (characteristics extension byte 2, bit 4).
    private static void Bios(ByteWriter w) => Structure(
        w, 0, BiosHandle,
        b => b.U8(1).U8(2).U16(0xF000).U8(3).U8(0).U64(1 << 3).U8(0).U8(1 << 4).U8(0).U8(1).U8(0xFF).U8(0xFF).U16(0),
        Manufacturer, "0.1", "01/01/2025");

    // 7.2: woken by the power switch; the UUID is that of the name, so that it survives restarts.
    private static void System(ByteWriter w, string name) => Structure(
        w, 1, SystemHandle,
        b => b.U8(1).U8(2).U8(3).U8(0).Bytes(NameUuid(name)).U8(6).U8(0).U8(0),
        Manufacturer, Product, "1");

    // 7.4: type other, all states safe.
    private static void Chassis(ByteWriter w) => Structure(
        w, 3, ChassisHandle,
        b => b.U8(1).U8(1).U8(0).U8(0).U8(0).U8(3).U8(3).U8(3).U8(2).U32(0).U8(0).U8(0).U8(0).U8(0).U8(0),
        Manufacturer);

    // 7.5: one package with as many cores as there are processors.
    private static void Processor(ByteWriter w, int cpus)
    {
        byte cores = (byte)Math.Min(cpus, 255);
        Structure(
            w, 4, ProcessorHandle,
            b => b.U8(1).U8(3).U8(1).U8(2).U64(0).U8(0).U8(0).U16(0).U16(2000).U16(2000).U8(0x41).U8(1)
                .U16(0xFFFF).U16(0xFFFF).U16(0xFFFF).U8(0).U8(0).U8(0).U8(cores).U8(cores).U8(cores).U16(1 << 2).U16(1)
                .U16((ushort)cpus).U16((ushort)cpus).U16((ushort)cpus),
            "CPU 0", Manufacturer);
    }

    // 7.17, 7.18, 7.20: one array of one module; the mapped ranges below and above the hole.
    private static void Memory(ByteWriter w, ulong memory)
    {
        ulong mib = memory >> 20;
        Structure(w, 16, ArrayHandle, b => b.U8(1).U8(3).U8(6).U32(0x8000_0000).U16(NoHandle).U16(1).U64(memory));
        Structure(
            w, 17, DeviceHandle,
            b => b.U16(ArrayHandle).U16(NoHandle).U16(64).U16(64).U16(mib < SeeExtendedSize ? (ushort)mib : SeeExtendedSize)
                .U8(9).U8(0).U8(1).U8(0).U8(7).U16(1 << 1).U16(0).U8(2).U8(0).U8(0).U8(0).U8(0)
                .U32(mib < SeeExtendedSize ? 0 : (uint)mib).U16(0).U16(0).U16(0).U16(0),
            "DIMM 0", Manufacturer);
        MappedRange(w, RangeHandle, 0, AddressMap.LowMemorySize(memory));
        if (AddressMap.HighMemorySize(memory) is var high and > 0)
            MappedRange(w, RangeHandle + 1, AddressMap.HighMemory, high);
    }

    private static void MappedRange(ByteWriter w, ushort handle, ulong start, ulong size) => Structure(
        w, 19, handle,
        b =>
        {
            ulong end = start + size - 1;
            // In KiB where 32 bits hold it, else all ones and the 64-bit addresses in bytes.
            if (end >> 10 < uint.MaxValue)
                b.U32((uint)(start >> 10)).U32((uint)(end >> 10)).U16(ArrayHandle).U8(1).U64(0).U64(0);
            else
                b.U32(uint.MaxValue).U32(uint.MaxValue).U16(ArrayHandle).U8(1).U64(start).U64(end);
        });

    // 6.1.2: type, length, handle, formatted area; then the strings, each ended by a NUL, and one more NUL.
    private static void Structure(ByteWriter w, byte type, ushort handle, Action<ByteWriter> body, params ReadOnlySpan<string> strings)
    {
        var formatted = new ByteWriter();
        body(formatted);
        w.U8(type).U8((byte)(formatted.Length + 4)).U16(handle).Bytes(formatted.Written);
        foreach (string s in strings)
            w.AsciiZ(s);
        if (strings.IsEmpty)
            w.U8(0);
        w.U8(0);
    }

    // A version 8 UUID (RFC 9562, 5.8) of the machine's name.
    private static byte[] NameUuid(string name)
    {
        byte[] hash = global::System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes($"vmm:{name}"))[..16];
        hash[7] = (byte)((hash[7] & 0x0F) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return hash;
    }
}
