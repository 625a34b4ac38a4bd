using System.Text;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.Simd;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>CPUID agrees with itself and with what the processor does.</summary>
public sealed unsafe class CpuidTests
{
    [Test]
    public void VendorHypervisorAndBrand()
    {
        using var m = M.Long();
        static string Text(params uint[] words) => Encoding.ASCII.GetString([.. words.SelectMany(BitConverter.GetBytes)]);
        var zero = Cpuid.Query(m.C, 0, 0);
        Assert.That(Text(zero.Ebx, zero.Edx, zero.Ecx), Is.EqualTo("AuthenticAMD"));
        var hypervisor = Cpuid.Query(m.C, 0x40000000, 0);
        Assert.That(Text(hypervisor.Ebx, hypervisor.Ecx, hypervisor.Edx), Is.EqualTo("VMMVMMVMMVMM"));
        var brand = new StringBuilder();
        for (uint leaf = 0x80000002; leaf <= 0x80000004; leaf++)
        {
            var part = Cpuid.Query(m.C, leaf, 0);
            brand.Append(Text(part.Eax, part.Ebx, part.Ecx, part.Edx));
        }
        Assert.That(brand.ToString().TrimEnd('\0'), Is.EqualTo("vmm virtual x86-64 processor"));
    }

    [Test]
    public void OsxsaveFollowsCr4()
    {
        using var m = M.Long();
        m.C->Cr4 &= ~Mode.Cr4Osxsave;
        Assert.That(Cpuid.Query(m.C, 1, 0).Ecx & (1 << 27), Is.Zero);
        m.C->Cr4 |= Mode.Cr4Osxsave;
        Assert.That(Cpuid.Query(m.C, 1, 0).Ecx & (1 << 27), Is.Not.Zero);
    }

    [Test]
    public void Cr4TakesExactlyTheBitsOfReportedFeatures()
    {
        using var m = M.Long();
        var one = Cpuid.Query(m.C, 1, 0);
        var seven = Cpuid.Query(m.C, 7, 0);
        (uint Word, int Bit, ulong Cr4)[] pairs =
        [
            (one.Edx, 1, Mode.Cr4Vme | Mode.Cr4Pvi), (one.Edx, 2, Mode.Cr4De), (one.Edx, 3, Mode.Cr4Pse), (one.Edx, 4, Mode.Cr4Tsd),
            (one.Edx, 6, Mode.Cr4Pae), (one.Edx, 7, Mode.Cr4Mce), (one.Edx, 13, Mode.Cr4Pge), (one.Edx, 24, Mode.Cr4Osfxsr),
            (one.Edx, 25, Mode.Cr4Osxmmexcpt), (one.Ecx, 17, Mode.Cr4Pcide), (one.Ecx, 26, Mode.Cr4Osxsave), (seven.Ebx, 0, Mode.Cr4Fsgsbase),
            (seven.Ebx, 7, Mode.Cr4Smep), (seven.Ebx, 20, Mode.Cr4Smap), (seven.Ecx, 2, Mode.Cr4Umip), (seven.Ecx, 3, 1UL << 22),
            (seven.Ecx, 16, 1UL << 12), (seven.Ecx, 7, 1UL << 23), (one.Ecx, 5, 1UL << 13),
        ];
        Assert.Multiple(() =>
        {
            foreach (var (word, bit, cr4) in pairs)
            {
                bool reported = ((word >> bit) & 1) != 0;
                Assert.That((ControlRegisters.Cr4Defined & cr4) != 0, Is.EqualTo(reported), $"CR4 bit 0x{cr4:X}");
            }
        });
    }

    [Test]
    public void ExtendedLeafRepeatsTheFeaturesThatAmdRepeats()
    {
        using var m = M.Long();
        uint basic = Cpuid.Query(m.C, 1, 0).Edx;
        uint extended = Cpuid.Query(m.C, 0x80000001, 0).Edx;
        const uint Shared = 0x0183F3FF;
        Assert.That(extended & Shared, Is.EqualTo(basic & Shared));
        Assert.That(extended & (1 << 29), Is.Not.Zero, "long mode");
    }

    [Test]
    public void VectorFeaturesAreThoseOfTheHost()
    {
        using var m = M.Long();
        uint ecx = Cpuid.Query(m.C, 1, 0).Ecx;
        Assert.Multiple(() =>
        {
            Assert.That((ecx & (1 << 28)) != 0, Is.EqualTo(HostFeatures.Avx));
            Assert.That((ecx & (1 << 12)) != 0, Is.EqualTo(HostFeatures.Fma));
            Assert.That((Cpuid.Query(m.C, 7, 0).Ebx & (1 << 5)) != 0, Is.EqualTo(HostFeatures.Avx2));
            Assert.That(Cpuid.Query(m.C, 0xD, 0).Eax, Is.EqualTo((uint)VectorState.SupportedXcr0));
        });
    }

    [TestCase(1u, 576u)]
    [TestCase(3u, 576u)]
    [TestCase(7u, 832u)]
    public void XsaveSizeFollowsXcr0(uint xcr0, uint size)
    {
        using var m = M.Long();
        m.C->Xcr0 = xcr0;
        Assert.That(Cpuid.Query(m.C, 0xD, 0).Ebx, Is.EqualTo(size));
        Assert.That(Cpuid.Query(m.C, 0xD, 1).Ebx, Is.EqualTo(size));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(8)]
    public void TopologyGivesEveryProcessorACoreOfItsOwn(int count)
    {
        using var machine = new TestMachine(count);
        var ids = new HashSet<uint>();
        Assert.Multiple(() =>
        {
            foreach (var cpu in machine.Cpus)
            {
                var c = cpu.Context;
                uint id = Cpuid.Query(c, 1, 0).Ebx >> 24;
                ids.Add(id);
                var smt = Cpuid.Query(c, 0xB, 0);
                var core = Cpuid.Query(c, 0xB, 1);
                Assert.That((smt.Eax, smt.Ebx & 0xFFFF, smt.Ecx, smt.Edx), Is.EqualTo((0u, 1u, 0x100u, id)));
                Assert.That((core.Ebx & 0xFFFF, core.Ecx, core.Edx), Is.EqualTo(((uint)count, 0x201u, id)));
                Assert.That(1u << (int)core.Eax, Is.GreaterThanOrEqualTo((uint)count));
                Assert.That((Cpuid.Query(c, 0x80000008, 0).Ecx & 0xFF) + 1, Is.EqualTo((uint)count));
                Assert.That(Cpuid.Query(c, 0x8000001E, 0).Eax, Is.EqualTo(id));
                Assert.That((Cpuid.Query(c, 1, 0).Edx & (1 << 28)) != 0, Is.EqualTo(count > 1));
            }
        });
        Assert.That(ids, Has.Count.EqualTo(count));
    }

    [Test]
    public void FrequenciesAgree()
    {
        using var m = M.Long();
        var crystal = Cpuid.Query(m.C, 0x15, 0);
        Assert.That((ulong)crystal.Ecx * crystal.Ebx / crystal.Eax, Is.EqualTo(TimeStamp.Frequency));
        Assert.That(Cpuid.Query(m.C, 0x40000010, 0).Eax, Is.EqualTo(TimeStamp.Frequency / 1000));
        Assert.That(m.Machine.Engine.TscFrequency, Is.EqualTo(TimeStamp.Frequency));
        Assert.That(Cpuid.Query(m.C, 0x80000007, 0).Edx & (1 << 8), Is.Not.Zero);
    }

    [Test]
    public void CacheSizesAgree()
    {
        using var m = M.Long();
        static uint Bytes(CpuidLeaf l) => (((l.Ebx >> 22) & 0x3FF) + 1) * ((l.Ebx & 0xFFF) + 1) * (l.Ecx + 1);
        Assert.Multiple(() =>
        {
            Assert.That(Bytes(Cpuid.Query(m.C, 0x8000001D, 0)), Is.EqualTo((Cpuid.Query(m.C, 0x80000005, 0).Ecx >> 24) * 1024));
            Assert.That(Bytes(Cpuid.Query(m.C, 0x8000001D, 2)), Is.EqualTo((Cpuid.Query(m.C, 0x80000006, 0).Ecx >> 16) * 1024));
            Assert.That(Bytes(Cpuid.Query(m.C, 0x8000001D, 3)), Is.EqualTo((Cpuid.Query(m.C, 0x80000006, 0).Edx >> 18) * 512 * 1024));
        });
    }

    [Test]
    public void LeavesBeyondTheLastAreZero()
    {
        using var m = M.Long();
        uint max = Cpuid.Query(m.C, 0, 0).Eax;
        Assert.That(Cpuid.Query(m.C, max + 1, 0), Is.EqualTo(default(CpuidLeaf)));
        max = Cpuid.Query(m.C, 0x80000000, 0).Eax;
        Assert.That(Cpuid.Query(m.C, max + 1, 0), Is.EqualTo(default(CpuidLeaf)));
    }
}
