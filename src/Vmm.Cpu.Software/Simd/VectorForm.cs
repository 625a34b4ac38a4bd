using Iced.Intel;

namespace Vmm.Cpu.Software.Simd;

/// <summary>What the stubs and handlers have to know of one vector instruction code.</summary>
internal sealed class VectorForm
{
    private static readonly string[] MxcsrStems =
    [
        "Add", "Sub", "Mul", "Div", "Sqrt", "Min", "Max", "Cmp", "Comis", "Ucomis", "Cvt", "Round", "Dpp", "Hadd", "Hsub", "Fmadd", "Fmsub", "Fnmadd",
        "Fnmsub", "Rcp", "Rsqrt",
    ];

    private static readonly HashSet<string> Unaligned =
    [
        "Movups", "Movupd", "Movdqu", "Lddqu", "Pcmpestri", "Pcmpestri64", "Pcmpestrm", "Pcmpestrm64", "Pcmpistri", "Pcmpistrm",
    ];

    private static readonly HashSet<string> VexAligned =
    [
        "Vmovaps", "Vmovapd", "Vmovdqa", "Vmovntps", "Vmovntpd", "Vmovntdq", "Vmovntdqa",
    ];

    private VectorForm(Code code)
    {
        OpCodeInfo opcode = code.ToOpCode();
        string name = code.Mnemonic().ToString();
        Vex = opcode.Encoding == EncodingKind.VEX;
        string stem = Vex ? char.ToUpperInvariant(name[1]) + name[2..] : name;
        for (int i = 0; i < opcode.OpCount; i++)
        {
            OpCodeOperandKind kind = opcode.GetOpKind(i);
            Mmx |= kind is OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_rm or OpCodeOperandKind.mm_or_mem;
            Xmm |= kind is OpCodeOperandKind.xmm_reg or OpCodeOperandKind.xmm_rm or OpCodeOperandKind.xmm_or_mem;
        }
        bool isFloat = name.EndsWith("ps", StringComparison.Ordinal) || name.EndsWith("pd", StringComparison.Ordinal)
            || name.EndsWith("ss", StringComparison.Ordinal) || name.EndsWith("sd", StringComparison.Ordinal) || stem.StartsWith("Cvt", StringComparison.Ordinal);
        Mxcsr = isFloat && Array.Exists(MxcsrStems, s => stem.StartsWith(s, StringComparison.Ordinal));
        StringCompare = stem.StartsWith("Pcmpestr", StringComparison.Ordinal) || stem.StartsWith("Pcmpistr", StringComparison.Ordinal);
        ExplicitLength = stem.StartsWith("Pcmpestr", StringComparison.Ordinal);
        MaskResult = StringCompare && stem.Contains('m', StringComparison.Ordinal) && (stem.EndsWith('m') || stem.EndsWith("m64", StringComparison.Ordinal));
        WritesFlags = StringCompare || stem is "Ptest" or "Testps" or "Testpd" or "Comiss" or "Comisd" or "Ucomiss" or "Ucomisd";
        ImplicitXmm0 = !Vex && stem is "Pblendvb" or "Blendvps" or "Blendvpd" or "Sha256rnds2";
        int size = opcode.MemorySize.GetSize();
        AlignmentMask = Vex ? (VexAligned.Contains(name) ? size - 1 : 0) : size == 16 && !Unaligned.Contains(name) ? 15 : 0;
    }

    /// <summary>VEX-encoded: clears the upper halves, gated by XCR0.</summary>
    public bool Vex { get; }

    /// <summary>Has an MMX register operand.</summary>
    public bool Mmx { get; }

    /// <summary>Has an XMM register operand.</summary>
    public bool Xmm { get; }

    /// <summary>Runs under MXCSR and may raise SIMD floating-point exceptions.</summary>
    public bool Mxcsr { get; }

    /// <summary>Sets the arithmetic flags.</summary>
    public bool WritesFlags { get; }

    /// <summary>PCMPxSTRx.</summary>
    public bool StringCompare { get; }

    /// <summary>PCMPESTRx: reads EAX and EDX.</summary>
    public bool ExplicitLength { get; }

    /// <summary>PCMPxSTRM: the result is in XMM0; otherwise in ECX.</summary>
    public bool MaskResult { get; }

    /// <summary>Reads XMM0 without naming it.</summary>
    public bool ImplicitXmm0 { get; }

    /// <summary>Address bits that must be 0, else #GP(0).</summary>
    public int AlignmentMask { get; }

    /// <summary>The form of a code, or null when it is no vector instruction that a stub runs on this host.</summary>
    public static VectorForm? TryCreate(Code code)
    {
        OpCodeInfo opcode = code.ToOpCode();
        if (!opcode.IsInstruction || !opcode.Mode64 || opcode.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX) || opcode.OpCount == 0)
            return null;
        CpuidFeature[] features = code.CpuidFeatures();
        return features.Length != 0 && Array.TrueForAll(features, IsPresent) ? new VectorForm(code) : null;
    }

    private static bool IsPresent(CpuidFeature feature) => feature switch
    {
        CpuidFeature.MMX or CpuidFeature.SSE or CpuidFeature.SSE2 => true,
        CpuidFeature.SSE3 => HostFeatures.Sse3,
        CpuidFeature.SSSE3 => HostFeatures.Ssse3,
        CpuidFeature.SSE4_1 => HostFeatures.Sse41,
        CpuidFeature.SSE4_2 => HostFeatures.Sse42,
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
