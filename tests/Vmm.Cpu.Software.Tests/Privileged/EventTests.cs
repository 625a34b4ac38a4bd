using Iced.Intel;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Exceptions and interrupts: frames, error codes, stacks, double and triple faults (SDM vol. 3, chapter 6).</summary>
public sealed unsafe class EventTests
{
    [Test]
    public void RealModeInterruptPushesFlagsCsIpAndIretReturns()
    {
        using var m = M.Real();
        m.C->Rflags |= Flags.If;
        m.LoadBytes(0xCD, 0x40, 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(0x40));
            Assert.That(m.Top(0, 2), Is.EqualTo(0x1002));
            Assert.That(m.Top(1, 2), Is.EqualTo(0));
            Assert.That(m.Top(2, 2) & Flags.If, Is.Not.Zero);
            Assert.That(m.C->Rflags & Flags.If, Is.Zero);
        });
        m.Write8(M.Handlers + (0x40 * 16) + 1, 0xCF);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(0x1003));
            Assert.That(m.C->Rflags & Flags.If, Is.Not.Zero);
            Assert.That(m.C->Gpr[4], Is.EqualTo(0x8000));
        });
    }

    [Test]
    public void RealModeFaultHasNoErrorCode()
    {
        using var m = M.Real();
        // mov ax, [0xFFFF]: beyond the limit.
        m.LoadBytes(0xA1, 0xFF, 0xFF);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.C->Gpr[4], Is.EqualTo(0x8000 - 6));
            Assert.That(m.Top(0, 2), Is.EqualTo(0x1000));
        });
    }

    [Test]
    public void ProtectedModeFaultFromUserSwitchesStacksAndPushesErrorCode()
    {
        using var m = M.Protected(3);
        m.LoadBytes(0x8E, 0xD8);
        m.C->Gpr[0] = M.Data32;
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.C->Cpl, Is.Zero);
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack0 - 24));
            Assert.That(m.C->Segments[SegmentIndex.Ss].Selector, Is.EqualTo(M.Data32));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.Data32));
            Assert.That(m.Top(1, 4), Is.EqualTo(M.Code));
            Assert.That(m.Top(2, 4), Is.EqualTo(M.UserCode32));
            Assert.That(m.Top(3, 4) & Flags.Rf, Is.Not.Zero);
            Assert.That(m.Top(4, 4), Is.EqualTo(M.Stack));
            Assert.That(m.Top(5, 4), Is.EqualTo(M.UserData32));
        });
    }

    [Test]
    public void LongModeFaultFromUserUsesRsp0AndAlignsIt()
    {
        using var m = M.Long(3);
        m.Write64(M.Tss + 4, M.Stack0 + 8);
        m.LoadBytes(0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack0 - 48));
            Assert.That(m.C->Segments[SegmentIndex.Ss].Selector, Is.Zero);
            Assert.That(m.C->Segments[SegmentIndex.Ss].Unusable, Is.EqualTo(1));
            Assert.That(m.Top(0, 8), Is.Zero);
            Assert.That(m.Top(1, 8), Is.EqualTo(M.Code));
            Assert.That(m.Top(2, 8), Is.EqualTo(M.UserCode64));
            Assert.That(m.Top(4, 8), Is.EqualTo(M.Stack));
            Assert.That(m.Top(5, 8), Is.EqualTo(M.UserData32));
        });
    }

    [Test]
    public void InterruptStackTableIsUsedAtTheSameLevelToo()
    {
        using var m = M.Long();
        m.SetGate(0x50, M.Code64, M.Handlers + (0x50 * 16), 0x8E, 1);
        m.LoadBytes(0xCD, 0x50);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(0x50));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Ist1 - 40));
            Assert.That(m.Top(0, 8), Is.EqualTo(M.Code + 2));
            Assert.That(m.Top(4, 8), Is.EqualTo(M.Data32));
        });
    }

    [Test]
    public void IretqReturnsToUserWithItsFlags()
    {
        using var m = M.Long();
        m.Load(a =>
        {
            a.push(M.UserData32);
            a.push(0x123450);
            a.push(0x202);
            a.push(M.UserCode64);
            a.mov(eax, M.Data);
            a.push(rax);
            a.iretq();
        });
        m.Write8(M.Data, 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.Top(1, 8), Is.EqualTo(M.Data));
            Assert.That(m.Top(2, 8), Is.EqualTo(M.UserCode64));
            Assert.That(m.Top(3, 8), Is.EqualTo(0x10202));
            Assert.That(m.Top(4, 8), Is.EqualTo(0x123450));
            Assert.That(m.Top(5, 8), Is.EqualTo(M.UserData32));
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public void SoftwareInterruptThroughSupervisorGateNamesTheGate(bool lng)
    {
        using var m = lng ? M.Long(3) : M.Protected(3);
        m.LoadBytes(0x90, 0xCD, 0x33);
        m.Run();
        int size = lng ? 8 : 4;
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.Top(0, size), Is.EqualTo((0x33 * 8) + 2));
            Assert.That(m.Top(1, size), Is.EqualTo(M.Code + 1), "The fault is at the instruction, not behind it.");
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public void SoftwareInterruptThroughUserGateReturnsBehindIt(bool lng)
    {
        using var m = lng ? M.Long(3) : M.Protected(3);
        m.SetGate(3, lng ? M.Code64 : M.Code32, M.Handlers + (3 * 16), 0xEF);
        m.LoadBytes(0xCC);
        m.C->Rflags |= Flags.If;
        m.Run();
        int size = lng ? 8 : 4;
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Bp));
            Assert.That(m.Top(0, size), Is.EqualTo(M.Code + 1));
            Assert.That(m.C->Rflags & Flags.If, Is.Not.Zero, "A trap gate leaves IF alone.");
            Assert.That(m.Top(2, size) & Flags.Rf, Is.Zero);
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public void GateNotPresentRaisesNpWithIdtAndExtBits(bool lng)
    {
        using var m = lng ? M.Long() : M.Protected();
        ushort code = lng ? M.Code64 : M.Code32;
        m.SetGate(Vector.Ud, code, M.Handlers, 0x0E);
        m.LoadBytes(0x0F, 0x0B);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Np));
            Assert.That(m.Top(0, lng ? 8 : 4), Is.EqualTo((Vector.Ud * 8) | 3));
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public void ContributoryFaultInDeliveryIsADoubleFault(bool lng)
    {
        using var m = lng ? M.Long() : M.Protected();
        m.SetGate(Vector.De, lng ? M.Code64 : M.Code32, M.Handlers, 0x0E);
        // xor ecx, ecx; div ecx
        m.LoadBytes(0x31, 0xC9, 0xF7, 0xF1);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Df));
            Assert.That(m.Top(0, lng ? 8 : 4), Is.Zero);
            Assert.That(m.Top(1, lng ? 8 : 4), Is.EqualTo(M.Code + 2));
        });
    }

    [TestCase(false)]
    [TestCase(true)]
    public void FaultInDoubleFaultDeliveryShutsDown(bool lng)
    {
        using var m = lng ? M.Long() : M.Protected();
        m.C->IdtrLimit = 0;
        m.LoadBytes(0x0F, 0x0B);
        Assert.That(m.Run(), Is.EqualTo(VirtualCpuExit.Shutdown));
        Assert.That(m.C->MpState, Is.EqualTo((int)MpState.Shutdown));
    }

    [Test]
    public void PageFaultInPageFaultDeliveryIsADoubleFault()
    {
        using var m = M.Long(3);
        m.Write64(M.Tss + 4, 0x7F0000000000);
        m.SetGate(Vector.Df, M.Code64, M.Handlers + (Vector.Df * 16), 0x8E, 1);
        // mov eax, [0x40000000]: not mapped.
        m.Load(a => a.mov(eax, __dword_ptr[0x40000000]));
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Df));
            Assert.That(m.C->Cr2, Is.EqualTo(0x7F0000000000 - 8));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Ist1 - 48));
        });
    }

    [Test]
    public void PageFaultReportsAddressAndUserBit()
    {
        using var m = M.Long(3);
        m.Load(a => a.mov(__dword_ptr[0x40000000], eax));
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Pf));
            Assert.That(m.C->Cr2, Is.EqualTo(0x40000000));
            Assert.That(m.Top(0, 8), Is.EqualTo(6));
        });
    }

    [TestCase((ushort)M.UserCode64, TestName = "Handler code at a lower privilege")]
    [TestCase((ushort)M.Data32, TestName = "Handler code segment is data")]
    [TestCase((ushort)M.Code32, TestName = "Handler code segment is not 64-bit")]
    public void BadGateTargetRaisesGpWithTheSelector(ushort selector)
    {
        using var m = M.Long();
        m.SetGate(0x60, selector, M.Handlers, 0x8E);
        m.LoadBytes(0xCD, 0x60);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
            Assert.That(m.Top(0, 8), Is.EqualTo(selector & 0xFFFC));
        });
    }

    [Test]
    public void NonCanonicalInnerStackIsAStackFault()
    {
        using var m = M.Long(3);
        m.Write64(M.Tss + 4, 0x8000_0000_0000_0000);
        m.SetGate(Vector.Ss, M.Code64, M.Handlers + (Vector.Ss * 16), 0x8E, 1);
        m.LoadBytes(0x0F, 0x0B);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ss));
            Assert.That(m.Top(0, 8), Is.EqualTo(1), "EXT");
        });
    }

    [Test]
    public void InnerStackSelectorIsCheckedWithInvalidTss()
    {
        using var m = M.Protected(3);
        m.Write32(M.Tss + 8, M.UserData32);
        // #TS and the double fault need the same stack: the third fault shuts down.
        m.LoadBytes(0x0F, 0x0B);
        Assert.That(m.Run(), Is.EqualTo(VirtualCpuExit.Shutdown));
    }

    [Test]
    public void V86InterruptPushesAndClearsDataSegments()
    {
        using var m = M.Protected();
        m.C->Rflags |= Flags.Iopl;
        m.Load(a =>
        {
            foreach (uint value in new uint[] { 0x5, 0x4, 0x3, 0x2, 0x1000, 0xF00, 0x23202, 0x2000, 0x10 })
                a.push(value);
            a.iretd();
        });
        // int 0x20 at 2000:0010
        m.Write16(0x20010, 0x20CD);
        m.Write8(M.Handlers + (0x20 * 16), 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp), "The gate's DPL counts with IOPL 3, and the error code names it.");
            Assert.That(m.Top(0, 4), Is.EqualTo((0x20 * 8) + 2));
            Assert.That(m.Top(1, 4), Is.EqualTo(0x10));
            Assert.That(m.Top(2, 4), Is.EqualTo(0x2000));
            Assert.That(m.Top(3, 4) & Flags.Vm, Is.Not.Zero);
            Assert.That(m.Top(4, 4), Is.EqualTo(0xF00));
            Assert.That(m.Top(5, 4), Is.EqualTo(0x1000));
            Assert.That(m.Top(6, 4), Is.EqualTo(2));
            Assert.That(m.Top(7, 4), Is.EqualTo(3));
            Assert.That(m.Top(8, 4), Is.EqualTo(4));
            Assert.That(m.Top(9, 4), Is.EqualTo(5));
            Assert.That(m.C->Segments[SegmentIndex.Ds].Unusable, Is.EqualTo(1));
            Assert.That(m.C->Rflags & Flags.Vm, Is.Zero);
        });
    }
}
