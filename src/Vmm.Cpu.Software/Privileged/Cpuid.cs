using System.Numerics;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>The four registers that a CPUID leaf gives.</summary>
internal readonly record struct CpuidLeaf(uint Eax, uint Ebx, uint Ecx, uint Edx);

/// <summary>
/// CPUID: exactly what is implemented (SDM vol. 2, CPUID; APM vol. 3, appendix E).
/// </summary>
/// <remarks>
/// The processor says that it is an AMD family 19h (Zen 4) one. Linux then knows it to be free of Meltdown, L1TF and MDS, so there is no page
/// table isolation; with automatic IBRS reported it needs no retpolines and no IBRS writes either, and the bits for "not affected" (SSB_NO, BTC_NO,
/// SRSO_NO, TSA) keep it from the rest of its mitigations. An Intel signature would bring most of them in.
/// </remarks>
internal static unsafe class Cpuid
{
    /// <summary>Family 19h, model 11h, stepping 1; also EDX after reset.</summary>
    public const uint Signature = 0x00A10F11;

    private const uint VendorB = 0x68747541;
    private const uint VendorC = 0x444D4163;
    private const uint VendorD = 0x69746E65;
    private const uint MaxBasic = 0x16;
    private const uint MaxHypervisor = 0x40000010;
    private const uint MaxExtended = 0x80000021;

    // "VMMVMMVMMVMM".
    private const uint HypervisorB = 0x564D4D56;
    private const uint HypervisorC = 0x4D564D4D;
    private const uint HypervisorD = 0x4D4D564D;

    // Leaf 1 EDX: FPU DE PSE TSC MSR PAE MCE CX8 | SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2. APIC and HTT are added.
    private const uint Leaf1Edx = 0x078BF9FD;
    private const uint EdxApic = 1u << 9;
    private const uint EdxHtt = 1u << 28;

    // What of leaf 1 EDX AMD repeats in leaf 80000001: all but SEP, CLFSH, SSE, SSE2.
    private const uint Repeated = 0x0183F3FF;

    private static ReadOnlySpan<byte> Brand => "vmm virtual x86-64 processor\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"u8;

    /// <summary>Gives a leaf as the guest sees it now.</summary>
    public static CpuidLeaf Query(CpuContext* c, uint leaf, uint subleaf)
    {
        var cpu = SoftwareCpu.From(c);
        uint count = (uint)cpu.Machine.CpuCount;
        uint id = (uint)cpu.Index;
        switch (leaf)
        {
            case 0:
                return new CpuidLeaf(MaxBasic, VendorB, VendorC, VendorD);
            case 1:
                uint ebx = (id << 24) | (Math.Min(count, 255) << 16) | (8 << 8);
                return new CpuidLeaf(Signature, ebx, Leaf1Ecx(c), Leaf1EdxNow(cpu, count));
            case 6:
                // ARAT: the APIC timer does not stop.
                return new CpuidLeaf(4, 0, 0, 0);
            case 7:
                return subleaf == 0 ? new CpuidLeaf(0, Leaf7Ebx(), Leaf7Ecx, Leaf7Edx) : default;
            case 0xB:
                return Topology(subleaf, count, id);
            case 0xD:
                return ExtendedState(c, subleaf);
            case 0x15:
                // TSC = 25 MHz crystal * 40.
                return new CpuidLeaf(1, TimeStamp.Frequency / 25_000_000, 25_000_000, 0);
            case 0x16:
                return new CpuidLeaf(TimeStamp.Frequency / 1_000_000, TimeStamp.Frequency / 1_000_000, 100, 0);
            case >= 0x40000000 and <= MaxHypervisor:
                return Hypervisor(leaf);
            case >= 0x80000000 and <= MaxExtended:
                return Extended(cpu, leaf, subleaf, count, id);
            default:
                return default;
        }
    }

    private static uint Bit(bool value, int bit) => value ? 1u << bit : 0;

    // SSE3 PCLMUL SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE OSXSAVE AVX F16C RDRAND hypervisor.
    private static uint Leaf1Ecx(CpuContext* c)
        => Bit(HostFeatures.Sse3, 0) | Bit(HostFeatures.Pclmul, 1) | Bit(HostFeatures.Ssse3, 9) | Bit(HostFeatures.Fma, 12) | Bit(true, 13)
            | Bit(true, 17) | Bit(HostFeatures.Sse41, 19) | Bit(HostFeatures.Sse42, 20) | Bit(true, 21) | Bit(true, 22) | Bit(true, 23)
            | Bit(true, 24) | Bit(HostFeatures.Aes, 25) | Bit(true, 26) | Bit((c->Cr4 & Mode.Cr4Osxsave) != 0, 27)
            | Bit(HostFeatures.Avx, 28) | Bit(HostFeatures.F16c, 29) | Bit(true, 30) | Bit(true, 31);

    private static uint Leaf1EdxNow(SoftwareCpu cpu, uint count)
        => Leaf1Edx | ((cpu.Apic.ApicBase & 0x800) != 0 ? EdxApic : 0) | (count > 1 ? EdxHtt : 0);

    // FSGSBASE TSC_ADJUST BMI1 AVX2 SMEP BMI2 ERMS INVPCID FCS-FDS-deprecation RDSEED ADX SMAP CLFLUSHOPT CLWB SHA.
    private static uint Leaf7Ebx()
        => Bit(true, 0) | Bit(true, 1) | Bit(true, 3) | Bit(HostFeatures.Avx2, 5) | Bit(true, 7) | Bit(true, 8) | Bit(true, 9) | Bit(true, 10)
            | Bit(true, 13) | Bit(true, 18) | Bit(true, 19) | Bit(true, 20) | Bit(true, 23) | Bit(true, 24) | Bit(HostFeatures.Sha, 29);

    // UMIP, RDPID.
    private const uint Leaf7Ecx = (1u << 2) | (1u << 22);

    // FSRM: guests copy with rep movsb, which the engine does in one piece.
    private const uint Leaf7Edx = 1u << 4;

    // One thread per core, all cores in one package.
    private static CpuidLeaf Topology(uint subleaf, uint count, uint id) => subleaf switch
    {
        0 => new CpuidLeaf(0, 1, 1 << 8, id),
        1 => new CpuidLeaf(IdBits(count), count, (2 << 8) | 1, id),
        _ => new CpuidLeaf(0, 0, subleaf & 0xFF, id),
    };

    private static uint IdBits(uint count) => count <= 1 ? 0 : (uint)BitOperations.Log2(count - 1) + 1;

    private static CpuidLeaf ExtendedState(CpuContext* c, uint subleaf)
    {
        ulong supported = VectorState.SupportedXcr0;
        uint now = (c->Xcr0 & 4) != 0 ? 832u : 576u;
        uint max = (supported & 4) != 0 ? 832u : 576u;
        return subleaf switch
        {
            0 => new CpuidLeaf((uint)supported, now, max, (uint)(supported >> 32)),
            // XSAVEOPT, XSAVEC, XGETBV with ECX = 1.
            1 => new CpuidLeaf(7, now, 0, 0),
            2 when (supported & 4) != 0 => new CpuidLeaf(256, 576, 0, 0),
            _ => default,
        };
    }

    private static CpuidLeaf Hypervisor(uint leaf) => leaf switch
    {
        0x40000000 => new CpuidLeaf(MaxHypervisor, HypervisorB, HypervisorC, HypervisorD),
        // Frequencies of the TSC and of the APIC timer's bus, kHz.
        0x40000010 => new CpuidLeaf(TimeStamp.Frequency / 1000, 1_000_000, 0, 0),
        _ => default,
    };

    private static CpuidLeaf Extended(SoftwareCpu cpu, uint leaf, uint subleaf, uint count, uint id)
    {
        switch (leaf)
        {
            case 0x80000000:
                return new CpuidLeaf(MaxExtended, VendorB, VendorC, VendorD);
            case 0x80000001:
                // LAHF, CMP_LEGACY, ABM, 3DNOWPREFETCH, TOPOEXT; SYSCALL NX MMXEXT 1G RDTSCP LM.
                uint ecx = 1 | Bit(count > 1, 1) | (1 << 5) | (1 << 8) | (1 << 22);
                uint edx = (Leaf1EdxNow(cpu, 1) & Repeated) | (1 << 11) | (1 << 20) | (1 << 22) | (1 << 26) | (1 << 27) | (1 << 29);
                return new CpuidLeaf(Signature, 0, ecx, edx);
            case >= 0x80000002 and <= 0x80000004:
                return BrandPart((int)(leaf - 0x80000002) * 16);
            case 0x80000005:
                // 32 KiB, 8-way, 64-byte lines, data and code.
                return new CpuidLeaf(0xFF40FF40, 0xFF40FF40, 0x20080140, 0x20080140);
            case 0x80000006:
                // L2: 512 KiB, 8-way. L3: 16 MiB, 16-way.
                return new CpuidLeaf(0, 0x42004200, 0x02006140, (32 << 18) | 0x8140);
            case 0x80000007:
                return new CpuidLeaf(0, 0, 0, 1 << 8);
            case 0x80000008:
                // XSAVE keeps the error pointers, WBNOINVD, SSB_NO, BTC_NO.
                uint cores = (count - 1) & 0xFF;
                return new CpuidLeaf(ControlRegisters.PhysicalBits | (48 << 8), (1u << 2) | (1u << 9) | (1u << 26) | (1u << 29), cores | (IdBits(count) << 12), 0);
            case 0x8000001D:
                return Cache(subleaf, count);
            case 0x8000001E:
                return new CpuidLeaf(id, id & 0xFF, 0, 0);
            case 0x80000021:
                // LFENCE serializes, null selectors clear the base, automatic IBRS, SRSO_NO; TSA_SQ_NO and TSA_L1_NO.
                return new CpuidLeaf((1 << 2) | (1 << 6) | (1 << 8) | (1u << 29), 0, 6, 0);
            default:
                return default;
        }
    }

    private static CpuidLeaf Cache(uint subleaf, uint count)
    {
        const uint L1Geometry = (7u << 22) | 63;
        return subleaf switch
        {
            0 => new CpuidLeaf(1 | (1 << 5) | (1 << 8), L1Geometry, 63, 0),
            1 => new CpuidLeaf(2 | (1 << 5) | (1 << 8), L1Geometry, 63, 0),
            2 => new CpuidLeaf(3 | (2 << 5) | (1 << 8), L1Geometry, 1023, 2),
            3 => new CpuidLeaf(3 | (3 << 5) | (1 << 8) | (((count - 1) & 0xFFF) << 14), (15u << 22) | 63, 16383, 1),
            _ => default,
        };
    }

    private static CpuidLeaf BrandPart(int offset)
    {
        var part = Brand[offset..];
        return new CpuidLeaf(Word(part), Word(part[4..]), Word(part[8..]), Word(part[12..]));
    }

    private static uint Word(ReadOnlySpan<byte> bytes) => System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(bytes);
}
