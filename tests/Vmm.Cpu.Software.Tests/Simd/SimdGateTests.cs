using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Simd;
using static Iced.Intel.AssemblerRegisters;
using Vector = Vmm.Cpu.Software.Interpreter.Vector;

namespace Vmm.Cpu.Software.Tests.Simd;

/// <summary>#UD and #NM by CR0, CR4 and XCR0 (SDM vol. 3, table 2-2; vol. 2A, 2.4).</summary>
public sealed unsafe class SimdGateTests
{
    private const int None = -1;

    private static readonly Dictionary<string, Action<Assembler>> Instructions = new()
    {
        ["sse move"] = a => a.movaps(xmm1, xmm2),
        ["sse stub"] = a => a.sqrtps(xmm1, xmm2),
        ["avx"] = a => a.vsqrtps(ymm1, ymm2),
        ["mmx"] = a => a.paddsb(mm1, mm2),
        ["x87"] = a => a.fld1(),
        ["fnstcw"] = a => a.fnstcw(__word_ptr[TestMachine.DataAddress]),
        ["wait"] = a => a.wait(),
        ["fxsave"] = a => a.fxsave(__[TestMachine.DataAddress]),
        ["xsave"] = a => a.xsave(__[TestMachine.DataAddress]),
        ["ldmxcsr"] = a => a.stmxcsr(__dword_ptr[TestMachine.DataAddress]),
        ["xgetbv"] = a => a.xgetbv(),
    };

    [TestCase("sse move", 0ul, 0ul, 7ul, None)]
    [TestCase("sse move", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("sse move", Mode.Cr0Em, 0ul, 7ul, Vector.Ud)]
    [TestCase("sse move", Mode.Cr0Ts, Mode.Cr4Osfxsr, 7ul, Vector.Ud)]
    [TestCase("sse stub", 0ul, Mode.Cr4Osfxsr, 7ul, Vector.Ud)]
    [TestCase("sse stub", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("avx", 0ul, 0ul, 3ul, Vector.Ud)]
    [TestCase("avx", 0ul, Mode.Cr4Osxsave, 7ul, Vector.Ud)]
    [TestCase("avx", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("avx", Mode.Cr0Em, Mode.Cr4Osfxsr, 7ul, None)]
    [TestCase("mmx", Mode.Cr0Em, 0ul, 7ul, Vector.Ud)]
    [TestCase("mmx", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("mmx", 0ul, Mode.Cr4Osfxsr, 1ul, None)]
    [TestCase("x87", Mode.Cr0Em, 0ul, 7ul, Vector.Nm)]
    [TestCase("x87", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("fnstcw", Mode.Cr0Em, 0ul, 7ul, Vector.Nm)]
    [TestCase("wait", Mode.Cr0Ts, 0ul, 7ul, None)]
    [TestCase("wait", Mode.Cr0Ts | Mode.Cr0Mp, 0ul, 7ul, Vector.Nm)]
    [TestCase("fxsave", Mode.Cr0Em, 0ul, 7ul, Vector.Nm)]
    [TestCase("fxsave", 0ul, Mode.Cr4Osxsave, 7ul, None)]
    [TestCase("xsave", 0ul, Mode.Cr4Osxsave, 7ul, Vector.Ud)]
    [TestCase("xsave", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("ldmxcsr", Mode.Cr0Ts, 0ul, 7ul, Vector.Nm)]
    [TestCase("ldmxcsr", Mode.Cr0Em, 0ul, 7ul, Vector.Ud)]
    [TestCase("xgetbv", Mode.Cr0Ts, 0ul, 7ul, None)]
    [TestCase("xgetbv", 0ul, Mode.Cr4Osxsave, 7ul, Vector.Ud)]
    public void ControlRegistersForbid(string instruction, ulong cr0Set, ulong cr4Clear, ulong xcr0, int expected)
    {
        if (instruction == "avx" && !HostFeatures.Avx)
            Assert.Ignore("The host has no AVX.");
        using var m = new TestMachine();
        VectorState.Reset(m.Context);
        m.Context->Cr0 |= cr0Set;
        m.Context->Cr4 &= ~cr4Clear;
        m.Context->Xcr0 = xcr0;
        m.Context->Gpr[1] = 0;
        Mode.Update(m.Context);
        int length = m.Load(a =>
        {
            Instructions[instruction](a);
            a.ud2();
        });
        m.Cpu.RunToEvent();
        bool passed = m.Context->Rip == TestMachine.CodeAddress + (ulong)length - 2;
        Assert.That(passed ? None : m.Context->PendingVector, Is.EqualTo(expected));
    }

    [Test]
    public void APendingX87ExceptionIsRaisedByTheNextWaitingInstruction()
    {
        using var m = new TestMachine();
        VectorState.Reset(m.Context);
        X87State.ControlWord(m.Context) = 0x37B;
        m.Load(a =>
        {
            a.fld1();
            a.fldz();
            a.fdivp(st1, st0);
            a.fnstsw(ax);
            a.mov(ebx, 1);
            a.fld1();
        });
        m.Cpu.RunToEvent();
        Assert.Multiple(() =>
        {
            Assert.That(m.Context->PendingVector, Is.EqualTo(Vector.Mf));
            Assert.That(m.Context->Gpr[0] & 0x84, Is.EqualTo(0x84), "FNSTSW does not wait and sees ZE and ES");
            Assert.That(m.Context->Gpr[3], Is.EqualTo(1), "instructions in between run");
        });
    }

    [TestCase(0ul, false)]
    [TestCase(1ul, true)]
    [TestCase(2ul, false)]
    [TestCase(3ul, true)]
    [TestCase(5ul, false)]
    [TestCase(7ul, true)]
    [TestCase(0x1Ful, false)]
    public void Xcr0TakesOnlyWhatIsConsistent(ulong value, bool accepted)
    {
        if (!HostFeatures.Avx)
            Assert.Ignore("The host has no AVX.");
        using var m = new TestMachine();
        m.Context->Xcr0 = 1;
        (m.Context->Gpr[0], m.Context->Gpr[1], m.Context->Gpr[2]) = (value, 0, 0);
        m.Load(a =>
        {
            a.xsetbv();
            a.ud2();
        });
        m.Cpu.RunToEvent();
        Assert.That(m.Context->PendingVector, Is.EqualTo(accepted ? Vector.Ud : Vector.Gp));
        Assert.That(m.Context->Xcr0, Is.EqualTo(accepted ? value : 1));
    }
}
