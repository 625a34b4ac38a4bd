using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>What control registers, EFER and MSRs accept (SDM vol. 2, MOV CR; vol. 4).</summary>
public sealed unsafe class ControlRegisterTests
{
    [TestCase(Mode.Cr0Pg, false, TestName = "PG without PE")]
    [TestCase(Mode.Cr0Pe | Mode.Cr0Nw, false, TestName = "NW without CD")]
    [TestCase(Mode.Cr0Pe | (1UL << 32), false, TestName = "Upper half")]
    [TestCase(Mode.Cr0Pe | Mode.Cr0Wp | (1UL << 20), true, TestName = "Reserved bits of the lower half are ignored")]
    [TestCase(Mode.Cr0Pe | Mode.Cr0Cd | Mode.Cr0Nw, true, TestName = "Caches off")]
    public void Cr0(ulong value, bool accepted)
    {
        using var m = M.Protected();
        Assert.That(ControlRegisters.TryWriteCr0(m.C, value), Is.EqualTo(accepted));
        if (accepted)
            Assert.That(m.C->Cr0 & (1UL << 20), Is.Zero);
        else
            Assert.That((m.C->PendingVector, m.C->PendingErrorCode), Is.EqualTo((Vector.Gp, 0u)));
    }

    [Test]
    public void LongModeNeedsPaeAndCodeThatIsNot64Bit()
    {
        using var m = M.Protected();
        m.C->Cr3 = 0x1000;
        Assert.That(ControlRegisters.TryWriteEfer(m.C, Mode.EferLme));
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 | Mode.Cr0Pg), Is.False, "PAE is off.");
        Assert.That(ControlRegisters.TryWriteCr4(m.C, Mode.Cr4Pae));
        m.C->Segments[SegmentIndex.Cs].Attributes |= Descriptor.LongBit;
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 | Mode.Cr0Pg), Is.False, "CS.L is set.");
        m.C->Segments[SegmentIndex.Cs].Attributes &= unchecked((ushort)~Descriptor.LongBit);
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 | Mode.Cr0Pg));
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Efer & Mode.EferLma, Is.Not.Zero);
            Assert.That(ControlRegisters.TryWriteCr4(m.C, 0), Is.False, "PAE cannot go in long mode.");
            Assert.That(ControlRegisters.TryWriteEfer(m.C, 0), Is.False, "LME cannot change with paging on.");
            Assert.That(ControlRegisters.TryWriteEfer(m.C, Mode.EferLme | Mode.EferSce));
            Assert.That(m.C->Efer & Mode.EferLma, Is.Not.Zero, "LMA is not written.");
        });
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 & ~Mode.Cr0Pg));
        Assert.That(m.C->Efer & Mode.EferLma, Is.Zero);
    }

    [Test]
    public void PagingCannotGoIn64BitCodeOrWithPcid()
    {
        using var m = M.Long();
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 & ~Mode.Cr0Pg), Is.False);
        m.C->Segments[SegmentIndex.Cs].Attributes = 0xC09B;
        Mode.Update(m.C);
        Assert.That(ControlRegisters.TryWriteCr4(m.C, m.C->Cr4 | Mode.Cr4Pcide));
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 & ~Mode.Cr0Pg), Is.False);
    }

    [TestCase(1UL << 46, false)]
    [TestCase(1UL << 63, false)]
    [TestCase(0x1018UL, true)]
    public void Cr3InLongMode(ulong value, bool accepted)
    {
        using var m = M.Long();
        Assert.That(ControlRegisters.TryWriteCr3(m.C, value), Is.EqualTo(accepted));
    }

    [Test]
    public void PcidNeedsAClearCr3AndAllowsTheNoFlushBit()
    {
        using var m = M.Long();
        m.C->Cr3 = 0x1001;
        Assert.That(ControlRegisters.TryWriteCr4(m.C, m.C->Cr4 | Mode.Cr4Pcide), Is.False);
        m.C->Cr3 = 0x1000;
        Assert.That(ControlRegisters.TryWriteCr4(m.C, m.C->Cr4 | Mode.Cr4Pcide));
        Assert.That(ControlRegisters.TryWriteCr3(m.C, 0x1005 | (1UL << 63)));
        Assert.That(m.C->Cr3, Is.EqualTo(0x1005));
    }

    [TestCase(Mode.Cr4Vme)]
    [TestCase(Mode.Cr4Pvi)]
    [TestCase(1UL << 12, TestName = "LA57")]
    [TestCase(1UL << 13, TestName = "VMXE")]
    [TestCase(1UL << 22, TestName = "PKE")]
    [TestCase(Mode.Cr4Pcide, TestName = "PCIDE outside long mode")]
    public void Cr4RefusesWhatCpuidDoesNotReport(ulong bit)
    {
        using var m = M.Protected();
        Assert.That(ControlRegisters.TryWriteCr4(m.C, bit), Is.False);
        Assert.That((m.C->PendingVector, m.C->PendingErrorCode), Is.EqualTo((Vector.Gp, 0u)));
    }

    [Test]
    public void PdptesWithReservedBitsAreRefused()
    {
        using var m = M.Protected();
        m.C->Cr3 = M.Data;
        m.Write64(M.Data, 0x1000 | 1);
        m.Write64(M.Data + 8, 0x1000 | 3);
        m.C->Cr4 = Mode.Cr4Pae;
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 | Mode.Cr0Pg), Is.False);
        m.Write64(M.Data + 8, 0x2);
        Assert.That(ControlRegisters.TryWriteCr0(m.C, m.C->Cr0 | Mode.Cr0Pg), "Reserved bits of an entry that is not present do not count.");
    }

    // mov eax, cr0; mov cr0, eax; clts; hlt; invlpg [0]; wbinvd; rdmsr; wrmsr; lgdt [0]; mov eax, dr7; lmsw ax
    [TestCase(new byte[] { 0x0F, 0x20, 0xC0 })]
    [TestCase(new byte[] { 0x0F, 0x22, 0xC0 })]
    [TestCase(new byte[] { 0x0F, 0x06 })]
    [TestCase(new byte[] { 0xF4 })]
    [TestCase(new byte[] { 0x0F, 0x01, 0x38 })]
    [TestCase(new byte[] { 0x0F, 0x09 })]
    [TestCase(new byte[] { 0x0F, 0x32 })]
    [TestCase(new byte[] { 0x0F, 0x30 })]
    [TestCase(new byte[] { 0x0F, 0x01, 0x10 })]
    [TestCase(new byte[] { 0x0F, 0x21, 0xF8 })]
    [TestCase(new byte[] { 0x0F, 0x01, 0xF0 })]
    [TestCase(new byte[] { 0xFA }, TestName = "CLI with IOPL 0")]
    [TestCase(new byte[] { 0xFB }, TestName = "STI with IOPL 0")]
    public void PrivilegedInstructionsAreRefusedAtLevel3(byte[] code)
    {
        using var m = M.Long(3);
        m.LoadBytes(code);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8), m.Top(1, 8)), Is.EqualTo((Vector.Gp, 0UL, (ulong)M.Code)));
    }

    [TestCase(Msrs.FsBase)]
    [TestCase(Msrs.GsBase)]
    [TestCase(Msrs.KernelGsBase)]
    [TestCase(Msrs.Lstar)]
    [TestCase(Msrs.SysenterEip)]
    public void AddressRegistersTakeCanonicalAddressesOnly(uint msr)
    {
        using var m = M.Long();
        Assert.That(Msrs.TryWrite(m.C, msr, 0x8000_0000_0000), Is.False);
        Assert.That(Msrs.TryWrite(m.C, msr, 0xFFFF_8000_0000_0000));
        Assert.That(Msrs.TryRead(m.C, msr, out ulong value));
        Assert.That(value, Is.EqualTo(0xFFFF_8000_0000_0000));
    }

    [TestCase(Msrs.Efer, 1UL << 12, false, TestName = "EFER.SVME")]
    [TestCase(Msrs.Efer, 1UL << 1, false, TestName = "EFER reserved")]
    [TestCase(Msrs.Pat, 0x0606060606060602UL, false)]
    [TestCase(Msrs.Pat, 0x0706050401000606UL, true)]
    [TestCase(Msrs.MtrrDefType, 0xC06UL, true)]
    [TestCase(Msrs.MtrrDefType, 0xC02UL, false)]
    [TestCase(Msrs.MtrrDefType, 0x1C06UL, false)]
    [TestCase(0x200u, 0xC0000006UL, true)]
    [TestCase(0x200u, 0xC0000106UL, false)]
    [TestCase(0x201u, 0x3FFFC0000800UL, true)]
    [TestCase(0x201u, 0x7FFFC0000800UL, false)]
    [TestCase(0x250u, 0x0606060606060606UL, true)]
    [TestCase(0x250u, 0x0606060606060603UL, false)]
    [TestCase(0x48u, 0UL, false, TestName = "SPEC_CTRL is not reported")]
    [TestCase(0x12345u, 0UL, false)]
    [TestCase(0xC0012345u, 0UL, false)]
    public void MsrWrites(uint msr, ulong value, bool accepted)
    {
        using var m = M.Long();
        if (msr == Msrs.Efer)
            value |= m.C->Efer;
        Assert.That(Msrs.TryWrite(m.C, msr, value), Is.EqualTo(accepted));
        if (!accepted || msr == Msrs.Efer)
            return;
        Assert.That(Msrs.TryRead(m.C, msr, out ulong back));
        Assert.That(back, Is.EqualTo(value));
    }

    [Test]
    public void UnknownMsrRaisesGp()
    {
        using var m = M.Long();
        m.C->Gpr[1] = 0x12345;
        m.LoadBytes(0x0F, 0x32);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Gp, 0UL)));
    }

    [Test]
    public void WritingTheTscMovesItsAdjustment()
    {
        using var m = M.Long();
        Assert.That(Msrs.TryWrite(m.C, Msrs.Tsc, 5000));
        Assert.That(TimeStamp.Read(m.C), Is.EqualTo(5000), "The test's clock stands still.");
        Assert.That(Msrs.TryRead(m.C, Msrs.TscAdjust, out ulong adjust));
        Assert.That(adjust, Is.EqualTo(5000 - (ulong)m.Cpu.Machine.Clock.Now));
    }

    [Test]
    public void TsdShutsUserModeOutOfTheTsc()
    {
        using var m = M.Long(3);
        m.LoadBytes(0x0F, 0x31, 0x0F, 0x0B);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
        using var shut = M.Long(3);
        shut.C->Cr4 |= Mode.Cr4Tsd;
        shut.LoadBytes(0x0F, 0x31, 0x0F, 0x0B);
        shut.Run();
        Assert.That(shut.HaltedVector, Is.EqualTo(Vector.Gp));
    }

    // POPFQ of all ones at CPL, with IOPL before; which bits may change.
    [TestCase(0, 0UL, Flags.If | Flags.Iopl | Flags.Nt | Flags.Ac | Flags.Id | Flags.Df | Flags.Arithmetic)]
    [TestCase(3, 0UL, Flags.Nt | Flags.Ac | Flags.Id | Flags.Df | Flags.Arithmetic)]
    [TestCase(3, 0x3000UL, Flags.If | Flags.Iopl | Flags.Nt | Flags.Ac | Flags.Id | Flags.Df | Flags.Arithmetic)]
    public void PopfChangesWhatPrivilegeAllows(int cpl, ulong iopl, ulong expected)
    {
        using var m = M.Long(cpl);
        m.C->Rflags |= iopl;
        // All but TF, which would trap.
        m.Write64(M.Stack, ~Flags.Tf);
        m.LoadBytes(0x9D, 0x0F, 0x0B);
        m.Run();
        Assert.That(m.Top(2, 8) & ~Flags.Rf, Is.EqualTo(expected | 2));
    }

    [Test]
    public void StacAndClacChangeAcAtLevel0Only()
    {
        using var m = M.Long();
        m.C->Cr4 |= Mode.Cr4Smap;
        Mode.Update(m.C);
        // stac; hlt
        m.LoadBytes(0x0F, 0x01, 0xCB, 0xF4);
        m.Run();
        Assert.That(m.C->Rflags & Flags.Ac, Is.Not.Zero);
        using var user = M.Long(3);
        user.LoadBytes(0x0F, 0x01, 0xCB);
        user.Run();
        Assert.That(user.HaltedVector, Is.EqualTo(Vector.Ud));
    }

    [Test]
    public void InvpcidChecksItsDescriptor()
    {
        using var m = M.Long();
        m.Write64(M.Data, 1);
        m.C->Gpr[1] = M.Data;
        m.C->Gpr[0] = 0;
        // invpcid rax, [rcx]
        m.LoadBytes(0x66, 0x0F, 0x38, 0x82, 0x01);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp), "A PCID without CR4.PCIDE");
        using var good = M.Long();
        good.Write64(M.Data, 0);
        good.C->Gpr[1] = M.Data;
        good.C->Gpr[0] = 2;
        good.LoadBytes(0x66, 0x0F, 0x38, 0x82, 0x01, 0xF4);
        good.Run();
        Assert.That(good.HaltedVector, Is.EqualTo(-1));
    }

    [Test]
    public void FsgsbaseInstructionsNeedTheirBit()
    {
        using var m = M.Long(3);
        m.C->Cr4 |= Mode.Cr4Fsgsbase;
        m.C->Gpr[0] = 0x7000_0000_1000;
        // wrfsbase rax; rdfsbase rcx; wrgsbase rdx
        m.C->Gpr[2] = 0x8000_0000_0000;
        m.LoadBytes(0xF3, 0x48, 0x0F, 0xAE, 0xD0, 0xF3, 0x48, 0x0F, 0xAE, 0xC1, 0xF3, 0x48, 0x0F, 0xAE, 0xDA);
        m.Run();
        Assert.That((m.HaltedVector, m.C->Gpr[1], m.Top(1, 8)), Is.EqualTo((Vector.Gp, 0x7000_0000_1000UL, (ulong)M.Code + 10)));
        using var off = M.Long(3);
        off.LoadBytes(0xF3, 0x48, 0x0F, 0xAE, 0xD0);
        off.Run();
        Assert.That(off.HaltedVector, Is.EqualTo(Vector.Ud));
    }
}
