using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Single-step, breakpoints and debug registers (SDM vol. 3, chapter 18).</summary>
public sealed unsafe class DebugTests
{
    private const ulong SingleStep = 1UL << 14;

    [Test]
    public void TfTrapsBehindTheInstruction()
    {
        using var m = M.Long();
        m.C->Rflags |= Flags.Tf;
        m.LoadBytes(0x90, 0x90, 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Db));
            Assert.That(m.Top(0, 8), Is.EqualTo(M.Code + 1));
            Assert.That(m.Top(2, 8) & (Flags.Tf | Flags.Rf), Is.EqualTo(Flags.Tf));
            Assert.That(m.C->Dr6, Is.EqualTo(DebugRegisters.Dr6Reset | SingleStep));
            Assert.That(m.C->Rflags & Flags.Tf, Is.Zero);
        });
    }

    [Test]
    public void TfLoadedByPopfCountsFromTheNextInstruction()
    {
        using var m = M.Long();
        m.Write64(M.Stack, Flags.Tf | 2);
        // popfq; nop; nop
        m.LoadBytes(0x9D, 0x90, 0x90, 0xF4);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Db, (ulong)M.Code + 2)));
    }

    [Test]
    public void MovSsHoldsTheTrapOffForOneInstruction()
    {
        using var m = M.Long();
        m.C->Rflags |= Flags.Tf;
        m.C->Gpr[0] = M.Data32;
        // mov ss, ax; nop; nop
        m.LoadBytes(0x8E, 0xD0, 0x90, 0x90, 0xF4);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Db, (ulong)M.Code + 3)));
    }

    [Test]
    public void SoftwareInterruptUnderTfDoesNotTrapInTheHandler()
    {
        using var m = M.Long();
        m.C->Rflags |= Flags.Tf;
        m.LoadBytes(0xCD, 0x40);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((0x40, (ulong)M.Code + 2)));
    }

    [Test]
    public void InstructionBreakpointFaultsOnceAndRfPassesIt()
    {
        using var m = M.Long();
        m.C->Dr[1] = M.Code + 1;
        m.C->Dr7 = DebugRegisters.ToDr7(1 << 2);
        // nop; inc eax; hlt
        m.LoadBytes(0x90, 0xFF, 0xC0, 0xF4);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Db, (ulong)M.Code + 1)));
            Assert.That(m.C->Dr6 & 0xF, Is.EqualTo(2));
            Assert.That(m.C->Gpr[0], Is.Zero);
        });
        // The handler sets RF in the image and returns.
        m.Write64(m.StackTop + 16, m.Top(2, 8) | Flags.Rf);
        m.Write16(M.Handlers + 16 + 1, 0xCF48);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Gpr[0], Is.EqualTo(1));
            Assert.That(m.C->Rip, Is.EqualTo(M.Code + 4));
            Assert.That(m.C->Rflags & Flags.Rf, Is.Zero);
        });
    }

    [TestCase(1UL, true, true, TestName = "Write breakpoint, write")]
    [TestCase(1UL, false, false, TestName = "Write breakpoint, read")]
    [TestCase(3UL, false, true, TestName = "Access breakpoint, read")]
    public void DataBreakpointTrapsBehindTheAccess(ulong kind, bool write, bool hits)
    {
        using var m = M.Long();
        m.C->Dr[2] = M.Data + 4;
        // L2, RW2, LEN2 = 4 bytes.
        m.C->Dr7 = DebugRegisters.ToDr7((1UL << 4) | (kind << 24) | (3UL << 26));
        Mmu.Paging.FlushAll(m.C);
        // mov [Data + 1], rax or mov rax, [Data + 1]; nop; ud2
        m.LoadBytes(0x48, write ? (byte)0x89 : (byte)0x8B, 0x04, 0x25, 1, 0, 0x20, 0, 0x0F, 0x0B);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(hits ? Vector.Db : Vector.Ud));
        if (hits)
            Assert.That((m.Top(0, 8), m.C->Dr6 & 0xF), Is.EqualTo(((ulong)M.Code + 8, 4UL)));
    }

    [Test]
    public void GeneralDetectFaultsAndIsClearedInTheHandler()
    {
        using var m = M.Long();
        m.C->Dr7 = DebugRegisters.ToDr7(Debugging.GeneralDetect);
        // mov rax, dr0
        m.LoadBytes(0x0F, 0x21, 0xC0);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Db, (ulong)M.Code)));
            Assert.That(m.C->Dr6 & (1 << 13), Is.Not.Zero);
            Assert.That(m.C->Dr7 & Debugging.GeneralDetect, Is.Zero);
        });
    }

    [TestCase(false, -1)]
    [TestCase(true, Vector.Ud)]
    public void Dr4IsDr6UnlessDeIsSet(bool de, int vector)
    {
        using var m = M.Long();
        if (de)
            m.C->Cr4 |= Mode.Cr4De;
        // mov rax, dr4; hlt
        m.LoadBytes(0x0F, 0x21, 0xE0, 0xF4);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(vector));
        if (!de)
            Assert.That(m.C->Gpr[0], Is.EqualTo(DebugRegisters.Dr6Reset));
    }

    [Test]
    public void UpperHalfOfDr7MustBeZero()
    {
        using var m = M.Long();
        m.C->Gpr[0] = 1UL << 32;
        // mov dr7, rax
        m.LoadBytes(0x0F, 0x23, 0xF8);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(Vector.Gp));
    }

    [Test]
    public void TrapBehindHltEndsIt()
    {
        using var m = M.Long();
        m.C->Rflags |= Flags.Tf;
        m.LoadBytes(0xF4, 0x0F, 0x0B);
        m.SetGate(Vector.Db, M.Code64, M.Handlers + 8, 0x8E);
        m.Write16(M.Handlers + 8, 0x0B0F);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
        Assert.That(m.Read(m.StackTop + 48, 8), Is.EqualTo(M.Code + 1), "The frame of #DB lies above that of #UD.");
    }

    [Test]
    public void PortBreakpointTrapsWithDe()
    {
        using var m = M.Long();
        m.C->Cr4 |= Mode.Cr4De;
        m.C->Dr[0] = 0x80;
        m.C->Dr7 = DebugRegisters.ToDr7(1 | (2UL << 16));
        // out 0x81, al; out 0x80, al; ud2
        m.LoadBytes(0xE6, 0x81, 0xE6, 0x80, 0x0F, 0x0B);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8), m.C->Dr6 & 0xF), Is.EqualTo((Vector.Db, (ulong)M.Code + 4, 1UL)));
    }

    [Test]
    public void RepStringTrapsAfterEachIteration()
    {
        using var m = M.Long();
        m.C->Rflags |= Flags.Tf;
        m.C->Gpr[1] = 3;
        m.C->Gpr[7] = M.Data;
        // rep stosb
        m.LoadBytes(0xF3, 0xAA, 0x90, 0xF4);
        m.Run();
        Assert.That((m.HaltedVector, m.C->Gpr[1], m.Top(0, 8)), Is.EqualTo((Vector.Db, 2UL, (ulong)M.Code)));
    }
}
