namespace Vmm.Cpu.Software.Privileged;

/// <summary>
/// The configuration registers of AMD processors that systems read without asking (APM vol. 2, appendix A.9). They keep their values:
/// what they configure has no meaning here.
/// </summary>
internal static class AmdMsrs
{
    private const uint Syscfg = 0xC0010010;
    private const uint Hwcr = 0xC0010015;
    private const uint DeCfg = 0xC0011029;

    // HWCR bit 24, TscFreqSel: the TSC runs at the P0 frequency. Linux warns when it is clear.
    private const ulong HwcrValue = 1UL << 24;

    // DE_CFG bit 1: LFENCE serializes.
    private const ulong DeCfgValue = 2;

    /// <summary>Reads a register.</summary>
    public static bool TryRead(uint msr, out ulong value)
    {
        value = msr switch
        {
            Hwcr => HwcrValue,
            DeCfg => DeCfgValue,
            _ => 0,
        };
        return IsKnown(msr);
    }

    /// <summary>Writes a register: accepted and without effect.</summary>
    public static bool TryWrite(uint msr) => IsKnown(msr);

    private static bool IsKnown(uint msr) => msr switch
    {
        Syscfg or Hwcr or DeCfg => true,
        // TOP_MEM, TOP_MEM2, NB_CFG, interrupt pending message, MMIO configuration base, VM_CR.
        0xC001001A or 0xC001001D or 0xC001001F or 0xC0010055 or 0xC0010058 or 0xC0010114 => true,
        // LS_CFG, IC_CFG, DC_CFG, BU_CFG, FP_CFG, BU_CFG2.
        0xC0011020 or 0xC0011021 or 0xC0011022 or 0xC0011023 or 0xC0011028 or 0xC001102A => true,
        _ => false,
    };
}
