using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Every feature that CPUID reports has its instructions, and those of features that it does not report raise #UD.</summary>
public sealed unsafe class FeatureTests
{
    private const uint Extended = 0x80000001;

    // Leaf, register (0 EAX to 3 EDX), bit, an instruction of the feature. Memory operands are at [rsi].
    [TestCase(1u, 2, 0, new byte[] { 0xF2, 0x0F, 0x7C, 0xC1 }, TestName = "SSE3 haddps")]
    [TestCase(1u, 2, 1, new byte[] { 0x66, 0x0F, 0x3A, 0x44, 0xC1, 0x00 }, TestName = "PCLMULQDQ")]
    [TestCase(1u, 2, 9, new byte[] { 0x66, 0x0F, 0x38, 0x00, 0xC1 }, TestName = "SSSE3 pshufb")]
    [TestCase(1u, 2, 12, new byte[] { 0xC4, 0xE2, 0x71, 0x98, 0xC2 }, TestName = "FMA vfmadd132ps")]
    [TestCase(1u, 2, 13, new byte[] { 0x48, 0x0F, 0xC7, 0x0E }, TestName = "CMPXCHG16B")]
    [TestCase(1u, 2, 19, new byte[] { 0x66, 0x0F, 0x38, 0x17, 0xC1 }, TestName = "SSE4.1 ptest")]
    [TestCase(1u, 2, 20, new byte[] { 0xF2, 0x0F, 0x38, 0xF1, 0xC1 }, TestName = "SSE4.2 crc32")]
    [TestCase(1u, 2, 22, new byte[] { 0x0F, 0x38, 0xF0, 0x06 }, TestName = "MOVBE")]
    [TestCase(1u, 2, 23, new byte[] { 0xF3, 0x0F, 0xB8, 0xC1 }, TestName = "POPCNT")]
    [TestCase(1u, 2, 25, new byte[] { 0x66, 0x0F, 0x38, 0xDC, 0xC1 }, TestName = "AESENC")]
    [TestCase(1u, 2, 26, new byte[] { 0x31, 0xC9, 0x0F, 0x01, 0xD0 }, TestName = "XGETBV")]
    [TestCase(1u, 2, 28, new byte[] { 0xC5, 0xF0, 0x58, 0xC2 }, TestName = "AVX vaddps")]
    [TestCase(1u, 2, 29, new byte[] { 0xC4, 0xE2, 0x79, 0x13, 0xC1 }, TestName = "F16C vcvtph2ps")]
    [TestCase(1u, 2, 30, new byte[] { 0x0F, 0xC7, 0xF0 }, TestName = "RDRAND")]
    [TestCase(1u, 3, 0, new byte[] { 0xD9, 0xEE }, TestName = "FPU fldz")]
    [TestCase(1u, 3, 8, new byte[] { 0x0F, 0xC7, 0x0E }, TestName = "CMPXCHG8B")]
    [TestCase(1u, 3, 15, new byte[] { 0x0F, 0x44, 0xC1 }, TestName = "CMOV")]
    [TestCase(1u, 3, 19, new byte[] { 0x0F, 0xAE, 0x3E }, TestName = "CLFLUSH")]
    [TestCase(1u, 3, 23, new byte[] { 0x0F, 0xEF, 0xC0 }, TestName = "MMX pxor")]
    [TestCase(1u, 3, 24, new byte[] { 0x0F, 0xAE, 0x06 }, TestName = "FXSAVE")]
    [TestCase(1u, 3, 25, new byte[] { 0x0F, 0x58, 0xC1 }, TestName = "SSE addps")]
    [TestCase(1u, 3, 26, new byte[] { 0x66, 0x0F, 0x58, 0xC1 }, TestName = "SSE2 addpd")]
    [TestCase(7u, 1, 0, new byte[] { 0xF3, 0x48, 0x0F, 0xAE, 0xC0 }, TestName = "RDFSBASE")]
    [TestCase(7u, 1, 3, new byte[] { 0xC4, 0xE2, 0x70, 0xF2, 0xC2 }, TestName = "BMI1 andn")]
    [TestCase(7u, 1, 5, new byte[] { 0xC5, 0xF5, 0xFE, 0xC2 }, TestName = "AVX2 vpaddd")]
    [TestCase(7u, 1, 8, new byte[] { 0xC4, 0xE2, 0x6B, 0xF5, 0xC1 }, TestName = "BMI2 pdep")]
    [TestCase(7u, 1, 18, new byte[] { 0x0F, 0xC7, 0xF8 }, TestName = "RDSEED")]
    [TestCase(7u, 1, 19, new byte[] { 0x66, 0x0F, 0x38, 0xF6, 0xC1 }, TestName = "ADX adcx")]
    [TestCase(7u, 1, 20, new byte[] { 0x0F, 0x01, 0xCA }, TestName = "SMAP clac")]
    [TestCase(7u, 1, 23, new byte[] { 0x66, 0x0F, 0xAE, 0x3E }, TestName = "CLFLUSHOPT")]
    [TestCase(7u, 1, 24, new byte[] { 0x66, 0x0F, 0xAE, 0x36 }, TestName = "CLWB")]
    [TestCase(7u, 1, 29, new byte[] { 0x0F, 0x38, 0xC8, 0xC1 }, TestName = "SHA sha1nexte")]
    [TestCase(7u, 2, 22, new byte[] { 0xF3, 0x0F, 0xC7, 0xF8 }, TestName = "RDPID")]
    [TestCase(Extended, 2, 0, new byte[] { 0x9F }, TestName = "LAHF")]
    [TestCase(Extended, 2, 5, new byte[] { 0xF3, 0x0F, 0xBD, 0xC1 }, TestName = "LZCNT")]
    [TestCase(Extended, 2, 8, new byte[] { 0x0F, 0x0D, 0x0E }, TestName = "PREFETCHW")]
    [TestCase(Extended, 3, 22, new byte[] { 0x0F, 0xDA, 0xC1 }, TestName = "MMXEXT pminub")]
    [TestCase(Extended, 3, 27, new byte[] { 0x0F, 0x01, 0xF9 }, TestName = "RDTSCP")]
    [TestCase(0x80000008u, 1, 9, new byte[] { 0xF3, 0x0F, 0x09 }, TestName = "WBNOINVD")]
    [TestCase(Extended, 2, 6, new byte[] { 0xF2, 0x0F, 0x79, 0xC1 }, TestName = "SSE4A extrq")]
    [TestCase(Extended, 2, 11, new byte[] { 0x8F, 0xE9, 0x78, 0x81, 0xC1 }, TestName = "XOP vfrczpd")]
    [TestCase(Extended, 2, 16, new byte[] { 0xC4, 0xE3, 0x71, 0x68, 0xC2, 0x30 }, TestName = "FMA4 vfmaddps")]
    [TestCase(Extended, 2, 21, new byte[] { 0x8F, 0xE9, 0x78, 0x01, 0xC9 }, TestName = "TBM blcfill")]
    [TestCase(Extended, 3, 31, new byte[] { 0x0F, 0x0F, 0xC1, 0x9E }, TestName = "3DNow pfadd")]
    [TestCase(7u, 1, 11, new byte[] { 0x0F, 0x01, 0xD6 }, TestName = "RTM xtest")]
    [TestCase(7u, 1, 16, new byte[] { 0x62, 0xF1, 0x74, 0x48, 0x58, 0xC2 }, TestName = "AVX512F vaddps")]
    [TestCase(7u, 2, 4, new byte[] { 0x31, 0xC9, 0x0F, 0x01, 0xEE }, TestName = "OSPKE rdpkru")]
    [TestCase(7u, 2, 8, new byte[] { 0x66, 0x0F, 0x38, 0xCF, 0xC1 }, TestName = "GFNI gf2p8mulb")]
    [TestCase(7u, 2, 9, new byte[] { 0xC4, 0xE2, 0x75, 0xDC, 0xC2 }, TestName = "VAES vaesenc")]
    [TestCase(7u, 2, 10, new byte[] { 0xC4, 0xE3, 0x75, 0x44, 0xC2, 0x00 }, TestName = "VPCLMULQDQ")]
    [TestCase(7u, 2, 27, new byte[] { 0x0F, 0x38, 0xF9, 0x06 }, TestName = "MOVDIRI")]
    [TestCase(7u, 3, 14, new byte[] { 0x0F, 0x01, 0xE8 }, TestName = "SERIALIZE")]
    [TestCase(0x80000008u, 1, 0, new byte[] { 0x0F, 0x01, 0xFC }, TestName = "CLZERO")]
    [TestCase(0x80000008u, 1, 4, new byte[] { 0x0F, 0x01, 0xFD }, TestName = "RDPRU")]
    [TestCase(1u, 2, 5, new byte[] { 0x0F, 0xC7, 0x36 }, TestName = "VMX vmptrld")]
    [TestCase(Extended, 2, 2, new byte[] { 0x0F, 0x01, 0xD8 }, TestName = "SVM vmrun")]
    public void InstructionExistsExactlyIfReported(uint leaf, int register, int bit, byte[] code)
    {
        using var m = M.Long();
        m.C->Cr4 |= Mode.Cr4Fsgsbase;
        m.C->Gpr[6] = M.Data;
        Mode.Update(m.C);
        var l = Cpuid.Query(m.C, leaf, 0);
        uint word = register switch
        {
            0 => l.Eax,
            1 => l.Ebx,
            2 => l.Ecx,
            _ => l.Edx,
        };
        bool reported = ((word >> bit) & 1) != 0;
        m.LoadBytes([.. code, 0xF4]);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(reported ? -1 : Vector.Ud), $"RIP 0x{m.C->Rip:X}, MP state {m.C->MpState}");
    }
}
