using System.Text.RegularExpressions;
using Iced.Intel;
using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>Which instruction codes the differential test draws from: everything of user mode that this project implements and the host has.</summary>
internal static class InstructionPool
{
    private static readonly HashSet<Mnemonic> Excluded =
    [
        // Depend on the system or its tables, leave user mode, or trap on purpose.
        Mnemonic.Syscall, Mnemonic.Sysenter, Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Into, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq,
        Mnemonic.Cpuid, Mnemonic.Rdtsc, Mnemonic.Rdtscp, Mnemonic.Rdpmc, Mnemonic.Rdrand, Mnemonic.Rdseed, Mnemonic.Lar, Mnemonic.Lsl, Mnemonic.Verr,
        Mnemonic.Verw, Mnemonic.Sldt, Mnemonic.Str, Mnemonic.Smsw, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Lss, Mnemonic.Lds, Mnemonic.Les, Mnemonic.Arpl, Mnemonic.Lfs, Mnemonic.Lgs, Mnemonic.Retf,
        Mnemonic.In, Mnemonic.Out, Mnemonic.Insb, Mnemonic.Insw, Mnemonic.Insd, Mnemonic.Outsb, Mnemonic.Outsw, Mnemonic.Outsd, Mnemonic.Hlt,
        Mnemonic.Cli, Mnemonic.Sti, Mnemonic.Clts, Mnemonic.Invd, Mnemonic.Wbinvd, Mnemonic.Ud0, Mnemonic.Ud1, Mnemonic.Ud2,
        // Would set TF or AC in the test's own process.
        Mnemonic.Popf, Mnemonic.Popfq, Mnemonic.Popfd,
        // Whole-state images have their own tests: their reserved and pointer fields differ between vendors.
        Mnemonic.Fxsave, Mnemonic.Fxsave64, Mnemonic.Fxrstor, Mnemonic.Fxrstor64, Mnemonic.Xsave, Mnemonic.Xsave64, Mnemonic.Xsaveopt, Mnemonic.Xsaveopt64,
        Mnemonic.Xsavec, Mnemonic.Xsavec64, Mnemonic.Xrstor, Mnemonic.Xrstor64, Mnemonic.Xgetbv, Mnemonic.Xsetbv,
    ];

    /// <summary>The codes of 32-bit or 64-bit mode, those whose name matches <paramref name="filter"/> if there is one.</summary>
    public static Code[] Create(string? filter, int bits)
    {
        Regex? regex = filter is null ? null : new Regex(filter, RegexOptions.IgnoreCase);
        return [.. Enum.GetValues<Code>().Where(c => IsSupported(c, bits) && (regex is null || regex.IsMatch(c.ToString())))];
    }

    private static bool IsSupported(Code code, int bits)
    {
        OpCodeInfo o = code.ToOpCode();
        if (!o.IsInstruction || !(bits == 64 ? o.Mode64 : o.Mode32) || o.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX) || Excluded.Contains(code.Mnemonic()))
            return false;
        if (o.IsPrivileged || o.MustBeCpl0 || o.Fwait || o.Flags() || HasSystemOperand(o, bits))
            return false;
        return Array.TrueForAll(code.CpuidFeatures(), IsPresent);
    }

    private static bool Flags(this OpCodeInfo o) => o.IsReservedNop || o.IsUndocumentedX87();

    // Aliases of documented instructions that Iced tells apart by opcode; the encoder makes them, other processors need not have them.
    private static bool IsUndocumentedX87(this OpCodeInfo o) => o.Code is Code.Fstpnce_sti;

    private static bool HasSystemOperand(OpCodeInfo o, int bits)
    {
        for (int i = 0; i < o.OpCount; i++)
        {
            if (o.GetOpKind(i) is OpCodeOperandKind.cr_reg or OpCodeOperandKind.dr_reg or OpCodeOperandKind.tr_reg or OpCodeOperandKind.seg_reg
                or OpCodeOperandKind.farbr2_2 or OpCodeOperandKind.farbr4_2 or OpCodeOperandKind.fs or OpCodeOperandKind.gs
                or OpCodeOperandKind.es or OpCodeOperandKind.cs or OpCodeOperandKind.ss or OpCodeOperandKind.ds
                or OpCodeOperandKind.br16_1 or OpCodeOperandKind.br16_2 or OpCodeOperandKind.xbegin_2 or OpCodeOperandKind.xbegin_4 or OpCodeOperandKind.brdisp_2 or OpCodeOperandKind.brdisp_4)
            {
                return true;
            }
            if (bits == 64 && o.GetOpKind(i) is (OpCodeOperandKind.br32_1 or OpCodeOperandKind.br32_4))
                return true;
        }
        return o.Code.ToString().Contains("1616", StringComparison.Ordinal) || o.Code.ToString().Contains("1632", StringComparison.Ordinal)
            || o.Code.ToString().Contains("1664", StringComparison.Ordinal) || (o.Code.FlowControl() != FlowControl.Next && o.OperandSize == 16);
    }

    private static bool IsPresent(CpuidFeature f) => f switch
    {
        CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.X64
            or CpuidFeature.CMOV or CpuidFeature.CX8 or CpuidFeature.CMPXCHG16B or CpuidFeature.MULTIBYTENOP or CpuidFeature.PAUSE or CpuidFeature.FPU
            or CpuidFeature.FPU287 or CpuidFeature.FPU387 or CpuidFeature.MMX or CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.CLFSH
            or CpuidFeature.PREFETCHW => true,
        CpuidFeature.SSE3 => HostFeatures.Sse3,
        CpuidFeature.SSSE3 => HostFeatures.Ssse3,
        CpuidFeature.SSE4_1 => HostFeatures.Sse41,
        CpuidFeature.SSE4_2 => HostFeatures.Sse42,
        CpuidFeature.POPCNT => System.Runtime.Intrinsics.X86.Popcnt.IsSupported,
        CpuidFeature.LZCNT => System.Runtime.Intrinsics.X86.Lzcnt.IsSupported,
        CpuidFeature.BMI1 => System.Runtime.Intrinsics.X86.Bmi1.IsSupported,
        CpuidFeature.BMI2 => System.Runtime.Intrinsics.X86.Bmi2.IsSupported,
        CpuidFeature.MOVBE => (System.Runtime.Intrinsics.X86.X86Base.CpuId(1, 0).Ecx & (1 << 22)) != 0,
        CpuidFeature.ADX => (System.Runtime.Intrinsics.X86.X86Base.CpuId(7, 0).Ebx & (1 << 19)) != 0,
        CpuidFeature.AES => HostFeatures.Aes,
        CpuidFeature.PCLMULQDQ => HostFeatures.Pclmul,
        CpuidFeature.SHA => HostFeatures.Sha,
        CpuidFeature.AVX => HostFeatures.Avx,
        CpuidFeature.AVX2 => HostFeatures.Avx2,
        CpuidFeature.FMA => HostFeatures.Fma,
        CpuidFeature.F16C => HostFeatures.F16c,
        _ => false,
    };
}
