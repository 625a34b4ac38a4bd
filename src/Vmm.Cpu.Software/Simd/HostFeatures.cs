using System.Runtime.Intrinsics.X86;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// What the host's processor can do (CPUID, SDM vol. 2A). Instructions that the guest runs by host stubs exist only where the host has them, so CPUID
/// reports the intersection of what is implemented and what is here.
/// </summary>
internal static class HostFeatures
{
    private static readonly (int Ecx, int Edx) Leaf1 = Read1();
    private static readonly int Leaf7Ebx = Read7();
    // Not Avx.IsSupported, which tells what the executable was compiled for: the stubs need only the processor and the kernel.
    private static readonly bool YmmEnabled = (Leaf1.Ecx & (1 << 27)) != 0 && (Shim.GetXcr0() & 6) == 6;

    /// <summary>SSE3.</summary>
    public static bool Sse3 => (Leaf1.Ecx & (1 << 0)) != 0;

    /// <summary>PCLMULQDQ.</summary>
    public static bool Pclmul => (Leaf1.Ecx & (1 << 1)) != 0;

    /// <summary>SSSE3.</summary>
    public static bool Ssse3 => (Leaf1.Ecx & (1 << 9)) != 0;

    /// <summary>SSE4.1.</summary>
    public static bool Sse41 => (Leaf1.Ecx & (1 << 19)) != 0;

    /// <summary>SSE4.2.</summary>
    public static bool Sse42 => (Leaf1.Ecx & (1 << 20)) != 0;

    /// <summary>The AES instructions.</summary>
    public static bool Aes => (Leaf1.Ecx & (1 << 25)) != 0;

    /// <summary>AVX, with its state enabled by the host's kernel.</summary>
    public static bool Avx => YmmEnabled && (Leaf1.Ecx & (1 << 28)) != 0;

    /// <summary>Half-precision conversions.</summary>
    public static bool F16c => Avx && (Leaf1.Ecx & (1 << 29)) != 0;

    /// <summary>Fused multiply-add.</summary>
    public static bool Fma => Avx && (Leaf1.Ecx & (1 << 12)) != 0;

    /// <summary>AVX2.</summary>
    public static bool Avx2 => Avx && (Leaf7Ebx & (1 << 5)) != 0;

    /// <summary>The SHA instructions.</summary>
    public static bool Sha => (Leaf7Ebx & (1 << 29)) != 0;

    private static (int Ecx, int Edx) Read1()
    {
        (_, _, int ecx, int edx) = X86Base.CpuId(1, 0);
        return (ecx, edx);
    }

    private static int Read7()
    {
        (int max, _, _, _) = X86Base.CpuId(0, 0);
        return max < 7 ? 0 : X86Base.CpuId(7, 0).Ebx;
    }
}
