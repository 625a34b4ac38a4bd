using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Segment register loads and what reads descriptors (SDM vol. 2, MOV, LAR, LSL, VERR, LLDT, LTR).</summary>
public sealed unsafe class SegmentTests
{
    private const int None = -1;

    // Selector, CPL, loaded into DS; expected vector and error code.
    [TestCase(M.Data32, 0, None, 0u)]
    [TestCase(M.Data32 | 3, 0, Vector.Gp, 0x10u)]
    [TestCase(M.Data32, 3, Vector.Gp, 0x10u)]
    [TestCase(M.UserData32, 3, None, 0u)]
    [TestCase(M.UserData32, 0, None, 0u)]
    [TestCase(M.UserData32 & ~3, 3, None, 0u)]
    [TestCase(0, 3, None, 0u)]
    [TestCase(3, 0, None, 0u)]
    [TestCase(M.Code32, 0, None, 0u)]
    [TestCase(M.ExecuteOnly, 0, Vector.Gp, 0x88u)]
    [TestCase(M.ReadOnly, 0, None, 0u)]
    [TestCase(M.Conforming, 3, None, 0u)]
    [TestCase(M.NotPresent, 0, Vector.Np, 0x78u)]
    [TestCase(M.TssSelector, 0, Vector.Gp, 0x50u)]
    [TestCase(M.LastSelector, 0, Vector.Gp, 0xB8u)]
    [TestCase(M.Data32 | 4, 0, Vector.Gp, 0x14u)]
    public void LoadOfDataSegment(int selector, int cpl, int vector, uint error)
    {
        using var m = M.Protected(cpl);
        bool done = Segments.TryLoad(m.C, SegmentIndex.Ds, (ushort)selector);
        Assert.That(done, Is.EqualTo(vector == None));
        if (!done)
        {
            Assert.That((m.C->PendingVector, m.C->PendingErrorCode), Is.EqualTo((vector, error)));
            return;
        }
        Assert.That(m.C->Segments[SegmentIndex.Ds].Selector, Is.EqualTo(selector));
        Assert.That(m.C->Segments[SegmentIndex.Ds].Unusable != 0, Is.EqualTo((selector & 0xFFFC) == 0));
        if ((selector & 0xFFFC) != 0)
            Assert.That(m.GetDescriptor((ushort)selector) & (1UL << 40), Is.Not.Zero, "accessed");
    }

    [TestCase(M.Data32, 0, None, 0u)]
    [TestCase(M.UserData32, 0, Vector.Gp, 0x20u)]
    [TestCase(M.UserData32, 3, None, 0u)]
    [TestCase(M.Data32 | 3, 3, Vector.Gp, 0x10u)]
    [TestCase(M.ReadOnly, 0, Vector.Gp, 0x80u)]
    [TestCase(M.Code32, 0, Vector.Gp, 8u)]
    [TestCase(M.NotPresent, 0, Vector.Gp, 0x78u, Description = "Not writable data comes before not present")]
    [TestCase(0, 0, Vector.Gp, 0u)]
    public void LoadOfStackSegment(int selector, int cpl, int vector, uint error)
    {
        using var m = M.Protected(cpl);
        if (selector == M.NotPresent)
            m.SetDescriptor(M.NotPresent, M.Make(0, 0xFFFFF, 0x10, 0xC));
        bool done = Segments.TryLoad(m.C, SegmentIndex.Ss, (ushort)selector);
        Assert.That(done, Is.EqualTo(vector == None));
        if (!done)
            Assert.That((m.C->PendingVector, m.C->PendingErrorCode), Is.EqualTo((vector, error)));
    }

    [Test]
    public void StackSegmentNotPresentIsAStackFault()
    {
        using var m = M.Protected();
        Assert.That(Segments.TryLoad(m.C, SegmentIndex.Ss, M.NotPresent), Is.False);
        Assert.That((m.C->PendingVector, m.C->PendingErrorCode), Is.EqualTo((Vector.Ss, 0x78u)));
    }

    [TestCase(0, 0, true)]
    [TestCase(0, 3, false)]
    [TestCase(3, 0, false)]
    public void NullStackSegmentIn64BitMode(int selector, int cpl, bool permitted)
    {
        using var m = M.Long(cpl);
        Assert.That(Segments.TryLoad(m.C, SegmentIndex.Ss, (ushort)selector), Is.EqualTo(permitted));
    }

    [Test]
    public void ExpandDownLimitIsTheLowestForbiddenByteAbove()
    {
        using var m = M.Protected();
        m.SetDescriptor(M.ReadOnly, M.Make(0, 0xFFF, 0x96, 0x4));
        // mov ds, ax; mov cl, [0x1000]; mov cl, [0xFFF]
        m.C->Gpr[0] = M.ReadOnly;
        m.LoadBytes(0x8E, 0xD8, 0x8A, 0x0D, 0x00, 0x10, 0, 0, 0x8A, 0x0D, 0xFF, 0x0F, 0, 0, 0xF4);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((Vector.Gp, 0UL, (ulong)M.Code + 8)));
    }

    [Test]
    public void StackAccessBeyondTheLimitIsAStackFault()
    {
        using var m = M.Protected(3);
        m.SetDescriptor(M.UserData32, M.Make(0, 0xFFF, 0xF2, 0x4));
        // mov ss, ax; push eax
        m.C->Gpr[0] = M.UserData32;
        m.C->Gpr[4] = 0x1004;
        m.LoadBytes(0x8E, 0xD0, 0x50);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((Vector.Ss, 0UL, (ulong)M.Code + 2)));
    }

    [Test]
    public void RealModeLoadKeepsALargeLimit()
    {
        using var m = M.Real();
        ref var ds = ref m.C->Segments[SegmentIndex.Ds];
        ds.Limit = uint.MaxValue;
        Assert.That(Segments.TryLoad(m.C, SegmentIndex.Ds, 0x1234));
        Assert.That((m.C->Segments[SegmentIndex.Ds].Base, m.C->Segments[SegmentIndex.Ds].Limit), Is.EqualTo((0x12340UL, uint.MaxValue)));
    }

    [Test]
    public void FarPointerLoadSetsBothOrNeither()
    {
        using var m = M.Protected();
        m.Write32(M.Data, 0x12345678);
        m.Write16(M.Data + 4, M.UserData32);
        m.Write32(M.Data + 8, 0x11111111);
        m.Write16(M.Data + 12, M.ExecuteOnly);
        // les ebx, [Data]; lfs ebx, [Data + 8]
        m.LoadBytes(0xC4, 0x1D, 0, 0, 0x20, 0, 0x0F, 0xB4, 0x1D, 8, 0, 0x20, 0);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.ExecuteOnly));
            Assert.That(m.C->Gpr[3], Is.EqualTo(0x12345678));
            Assert.That(m.C->Segments[SegmentIndex.Es].Selector, Is.EqualTo(M.UserData32));
        });
    }

    // LAR's ZF and value, LSL's ZF and value.
    [TestCase(M.Code32, 0, true, 0xCF9A00u, true, uint.MaxValue)]
    [TestCase(M.Data32, 3, false, 0u, false, 0u)]
    [TestCase(M.Conforming, 3, true, 0xCF9E00u, true, uint.MaxValue)]
    [TestCase(M.TaskGate, 0, true, 0x008500u, false, 0u)]
    [TestCase(M.Tss2Selector, 0, true, 0x008900u, true, 0x67u)]
    [TestCase(0, 0, false, 0u, false, 0u)]
    [TestCase(M.LastSelector, 0, false, 0u, false, 0u)]
    public void LarAndLsl(int selector, int cpl, bool larOk, uint rights, bool lslOk, uint limit)
    {
        using var m = M.Protected(cpl);
        m.C->Gpr[1] = (uint)selector;
        // lar eax, ecx; setz dl; lsl ebx, ecx; setz dh; hlt (faults at CPL 3, registers stay)
        m.LoadBytes(0x0F, 0x02, 0xC1, 0x0F, 0x94, 0xC2, 0x0F, 0x03, 0xD9, 0x0F, 0x94, 0xC6, 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That((m.C->Gpr[2] & 0xFF) != 0, Is.EqualTo(larOk));
            Assert.That((m.C->Gpr[2] & 0xFF00) != 0, Is.EqualTo(lslOk));
            Assert.That((uint)m.C->Gpr[0], Is.EqualTo(rights));
            Assert.That((uint)m.C->Gpr[3], Is.EqualTo(limit));
        });
    }

    [TestCase(M.Data32, 0, true, true)]
    [TestCase(M.Data32, 3, false, false)]
    [TestCase(M.ReadOnly, 0, true, false)]
    [TestCase(M.ExecuteOnly, 0, false, false)]
    [TestCase(M.Code32, 0, true, false)]
    [TestCase(M.TssSelector, 0, false, false)]
    public void VerrAndVerw(int selector, int cpl, bool readable, bool writable)
    {
        using var m = M.Protected(cpl);
        m.C->Gpr[1] = (uint)selector;
        // verr cx; setz al; verw cx; setz ah; hlt
        m.LoadBytes(0x0F, 0x00, 0xE1, 0x0F, 0x94, 0xC0, 0x0F, 0x00, 0xE9, 0x0F, 0x94, 0xC4, 0xF4);
        m.Run();
        Assert.That(((m.C->Gpr[0] & 0xFF) != 0, (m.C->Gpr[0] & 0xFF00) != 0), Is.EqualTo((readable, writable)));
    }

    [Test]
    public void ArplRaisesTheRpl()
    {
        using var m = M.Protected();
        m.C->Gpr[0] = 0x10;
        m.C->Gpr[1] = 0x23;
        // arpl ax, cx; hlt
        m.LoadBytes(0x63, 0xC8, 0xF4);
        m.Run();
        Assert.That((m.C->Gpr[0], Flags.GetZf(m.C)), Is.EqualTo((0x13UL, true)));
    }

    [Test]
    public void LtrMarksTheTssBusyAndRefusesItThen()
    {
        using var m = M.Protected();
        m.C->Gpr[0] = M.Tss2Selector;
        // ltr ax; ltr ax
        m.LoadBytes(0x0F, 0x00, 0xD8, 0x0F, 0x00, 0xD8);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.Tss2Selector));
            Assert.That((m.GetDescriptor(M.Tss2Selector) >> 40) & 0xFF, Is.EqualTo(0x8B));
            Assert.That(m.C->Segments[SegmentIndex.Tr].Base, Is.EqualTo(M.Tss2));
        });
    }

    [Test]
    public void LdtSelectorsWorkAfterLldt()
    {
        using var m = M.Protected();
        m.Write64(M.Ldt + 8, M.Make(0x1000, 0xFFF, 0x92, 4));
        m.C->Gpr[0] = M.LdtSelector;
        m.C->Gpr[1] = 0x0C;
        // lldt ax; mov ds, cx; hlt
        m.LoadBytes(0x0F, 0x00, 0xD0, 0x8E, 0xD9, 0xF4);
        m.Run();
        Assert.That((m.HaltedVector, m.C->Segments[SegmentIndex.Ds].Base), Is.EqualTo((-1, 0x1000UL)));
    }

    // sgdt [Data], sidt, sldt eax, str eax, smsw eax
    [TestCase(new byte[] { 0x0F, 0x01, 0x05, 0, 0, 0x20, 0 })]
    [TestCase(new byte[] { 0x0F, 0x01, 0x0D, 0, 0, 0x20, 0 })]
    [TestCase(new byte[] { 0x0F, 0x00, 0xC0 })]
    [TestCase(new byte[] { 0x0F, 0x00, 0xC8 })]
    [TestCase(new byte[] { 0x0F, 0x01, 0xE0 })]
    public void UmipShutsUserModeOut(byte[] code)
    {
        using var open = M.Protected(3);
        open.LoadBytes([.. code, 0x0F, 0x0B]);
        open.Run();
        Assert.That(open.HaltedVector, Is.EqualTo(Vector.Ud));
        using var shut = M.Protected(3);
        shut.C->Cr4 = Mode.Cr4Umip;
        shut.LoadBytes([.. code, 0x0F, 0x0B]);
        shut.Run();
        Assert.That(shut.HaltedVector, Is.EqualTo(Vector.Gp));
    }

    [Test]
    public void MovSsHoldsInterruptsOffForOneInstruction()
    {
        using var m = M.Protected();
        m.C->Gpr[0] = M.Data32;
        m.C->Rflags |= Flags.If;
        // mov ss, ax; ud2: an NMI that came before is taken behind the next instruction at the earliest.
        m.LoadBytes(0x8E, 0xD0, 0x90, 0xF4);
        m.C->Shadow = 2;
        m.Cpu.Nmi();
        m.Run();
        // The shadow at entry covers MOV SS, which makes another that covers the NOP.
        Assert.That((m.HaltedVector, m.Top(0, 4)), Is.EqualTo((Vector.Nmi, (ulong)M.Code + 3)));
    }
}
