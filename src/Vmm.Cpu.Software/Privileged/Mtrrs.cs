namespace Vmm.Cpu.Software.Privileged;

/// <summary>What the memory type registers accept (SDM vol. 3, 12.11 and 12.12). Memory types have no effect here.</summary>
internal static class Mtrrs
{
    private const ulong PhysicalReserved = ~((1UL << ControlRegisters.PhysicalBits) - 1);

    /// <summary>Whether a register from 0x200 to 0x2FF takes a value.</summary>
    public static bool IsValid(uint msr, ulong value)
    {
        if (msr == Msrs.Pat)
            return AllBytes(value, IsPatType);
        if (msr == Msrs.MtrrDefType)
            return (value & ~0xCFFUL) == 0 && IsType((byte)value);
        if (msr <= Msrs.MtrrVariableLast)
        {
            bool mask = (msr & 1) != 0;
            ulong reserved = PhysicalReserved | (mask ? 0x7FFUL : 0xF00UL);
            return (value & reserved) == 0 && (mask || IsType((byte)value));
        }
        return AllBytes(value, IsType);
    }

    private static bool AllBytes(ulong value, Func<byte, bool> valid)
    {
        for (int i = 0; i < 64; i += 8)
        {
            if (!valid((byte)(value >> i)))
                return false;
        }
        return true;
    }

    private static bool IsType(byte type) => type is 0 or 1 or 4 or 5 or 6;

    private static bool IsPatType(byte type) => IsType(type) || type == 7;
}
