using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Reset states and the state record.</summary>
public sealed unsafe class StateTests
{
    [Test]
    public void ResetIsThePowerOnState()
    {
        using var m = M.Long();
        m.Cpu.Reset();
        var s = new CpuState();
        m.Cpu.Capture(s);
        Assert.Multiple(() =>
        {
            Assert.That(s.Rip, Is.EqualTo(0xFFF0));
            Assert.That(s.Rflags, Is.EqualTo(2));
            Assert.That((s.Segments[1].Selector, s.Segments[1].Base, s.Segments[1].Limit), Is.EqualTo(((ushort)0xF000, 0xFFFF0000UL, 0xFFFFu)));
            Assert.That((s.Segments[3].Selector, s.Segments[3].Base, s.Segments[3].Limit), Is.EqualTo(((ushort)0, 0UL, 0xFFFFu)));
            Assert.That(s.Cr0, Is.EqualTo(0x60000010));
            Assert.That(s.Gpr[2], Is.EqualTo(Cpuid.Query(m.C, 1, 0).Eax));
            Assert.That((s.Dr6, s.Dr7), Is.EqualTo((0xFFFF0FF0UL, 0x400UL)));
            Assert.That(s.Xcr0, Is.EqualTo(1));
            Assert.That(s.Msrs[Msrs.Pat], Is.EqualTo(0x0007040600070406));
            Assert.That(s.Msrs[Msrs.Efer], Is.Zero);
            Assert.That((s.Gdtr.Base, s.Gdtr.Limit, s.Idtr.Base, s.Idtr.Limit), Is.EqualTo((0UL, (ushort)0xFFFF, 0UL, (ushort)0xFFFF)));
            Assert.That(s.MpState, Is.EqualTo(MpState.Runnable));
        });
    }

    [Test]
    public void CapturedStateRunsOnAnotherProcessor()
    {
        using var a = M.Long(3);
        for (int i = 0; i < 16; i++)
            a.C->Gpr[i] = 0x1111111111111111UL * (ulong)i;
        a.C->Gpr[4] = M.Stack;
        a.C->Segments[SegmentIndex.Fs].Base = 0x7FFF_0000_1234;
        a.C->KernelGsBase = 0xFFFF_8880_0000_0000;
        a.C->TscAdjust = 77;
        a.C->Shadow = 1;
        a.C->NmiBlocked = 1;
        Flow.SetPending(a.C, Vector.Pf, 6);
        var s = new CpuState();
        a.Cpu.Capture(s);
        using var b = M.Real();
        b.Cpu.Restore(s);
        var t = new CpuState();
        b.Cpu.Capture(t);
        Assert.Multiple(() =>
        {
            Assert.That(t.Gpr, Is.EqualTo(s.Gpr));
            Assert.That((t.Rip, t.Rflags, t.Cr0, t.Cr3, t.Cr4), Is.EqualTo((s.Rip, s.Rflags, s.Cr0, s.Cr3, s.Cr4)));
            Assert.That(t.Segments, Is.EqualTo(s.Segments));
            Assert.That(t.Ldtr, Is.EqualTo(s.Ldtr));
            Assert.That(t.Tr, Is.EqualTo(s.Tr));
            Assert.That(t.Msrs, Is.EqualTo(s.Msrs));
            Assert.That(t.Events, Is.EqualTo(s.Events));
            Assert.That(t.Xsave, Is.EqualTo(s.Xsave));
            Assert.That(b.C->Cpl, Is.EqualTo(3));
            Assert.That(b.C->CodeBits, Is.EqualTo(64));
            Assert.That(b.C->PendingVector, Is.EqualTo(Vector.Pf));
        });
    }

    [TestCase("EFER")]
    [TestCase("CR0")]
    [TestCase("CR4")]
    [TestCase("RFLAGS")]
    [TestCase("XCR0")]
    [TestCase("LMA")]
    [TestCase("RIP")]
    [TestCase("MSR")]
    [TestCase("MP")]
    [TestCase("CS")]
    public void ImpossibleStatesAreRefused(string what)
    {
        using var m = M.Long();
        var s = new CpuState();
        m.Cpu.Capture(s);
        switch (what)
        {
            case "EFER":
                s.Msrs.Remove(Msrs.Efer);
                break;
            case "CR0":
                s.Cr0 &= ~Mode.Cr0Pe;
                break;
            case "CR4":
                s.Cr4 |= 1UL << 13;
                break;
            case "RFLAGS":
                s.Rflags |= Flags.Vm;
                break;
            case "XCR0":
                s.Xcr0 = 5;
                break;
            case "LMA":
                s.Msrs[Msrs.Efer] &= ~Mode.EferLma;
                break;
            case "RIP":
                s.Rip = 0x8000_0000_0000;
                break;
            case "MSR":
                s.Msrs[Msrs.Pat] = 2;
                break;
            case "MP":
                s.MpState = (MpState)99;
                break;
            default:
                s.Segments[1].Attributes |= Descriptor.DefaultBit;
                break;
        }
        Assert.That(() => m.Cpu.Restore(s), Throws.TypeOf<InvalidDataException>());
    }

    [Test]
    public void StartupIpiStartsAtItsPage()
    {
        using var machine = new TestMachine(2);
        var cpu = machine.Cpus[1];
        cpu.Reset();
        Assert.That(cpu.Context->MpState, Is.EqualTo((int)MpState.WaitForSipi));
        // hlt at 9000:0000
        machine.Memory.TryLoad(0x90000, [0x90, 0xF4]);
        cpu.Startup(0x90);
        var run = Task.Run(cpu.Run);
        Assert.That(() => Volatile.Read(ref cpu.Context->MpState), Is.EqualTo((int)MpState.Halted).After(20000, 5));
        cpu.Kick();
        run.Wait();
        Assert.That((cpu.Context->Segments[SegmentIndex.Cs].Base, cpu.Context->Rip), Is.EqualTo((0x90000UL, 2UL)));
    }
}
