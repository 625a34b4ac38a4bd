using Vmm.Devices.Timers;

namespace Vmm.Machine.Pc;

/// <summary>What a PC's firmware keeps in CMOS RAM about the machine (IBM PC AT Technical Reference; QEMU's additions from 0x34 on).</summary>
internal static class Cmos
{
    private const byte EquipmentIndex = 0x14;
    private const byte BaseMemoryIndex = 0x15;
    private const byte ExtendedMemoryIndex = 0x17;
    private const byte ExtendedMemoryAgainIndex = 0x30;
    private const byte MemoryAbove16MIndex = 0x34;
    private const byte MemoryAbove4GIndex = 0x5B;
    private const byte ProcessorsIndex = 0x5F;

    // A coprocessor, a PS/2 mouse, no floppy.
    private const byte Equipment = 0x06;

    public static void Write(Mc146818Rtc rtc, ulong memory, int cpus)
    {
        ulong low = AddressMap.LowMemorySize(memory);
        rtc.WriteRam(EquipmentIndex, Equipment);
        Write(rtc, BaseMemoryIndex, 2, AddressMap.ConventionalMemoryEnd >> 10);
        ulong extended = Math.Min((low - AddressMap.ExtendedMemory) >> 10, ushort.MaxValue);
        Write(rtc, ExtendedMemoryIndex, 2, extended);
        Write(rtc, ExtendedMemoryAgainIndex, 2, extended);
        Write(rtc, MemoryAbove16MIndex, 2, low > 16 << 20 ? Math.Min((low - (16 << 20)) >> 16, ushort.MaxValue) : 0);
        Write(rtc, MemoryAbove4GIndex, 3, AddressMap.HighMemorySize(memory) >> 16);
        rtc.WriteRam(ProcessorsIndex, (byte)Math.Min(cpus - 1, byte.MaxValue));
    }

    private static void Write(Mc146818Rtc rtc, byte index, int bytes, ulong value)
    {
        for (int i = 0; i < bytes; i++)
            rtc.WriteRam((byte)(index + i), (byte)(value >> (8 * i)));
    }
}
