using Iced.Intel;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Simd;

public sealed unsafe class StubTests
{
    [Test]
    public void LegacySseKeepsTheUpperHalfAndVexClearsIt()
    {
        using var m = Machine();
        ulong* v = (ulong*)&m.Context->Vectors;
        for (int i = 0; i < 64; i++)
            v[i] = 0x0101010101010101UL * (ulong)i;
        m.Load(a =>
        {
            a.pmulhuw(xmm1, xmm2);
            a.vpmulhuw(xmm3, xmm2, xmm1);
            TestMachine.Stop(a);
        });
        m.Cpu.Run();
        Assert.Multiple(() =>
        {
            Assert.That(v[6], Is.EqualTo(0x0101010101010101UL * 6), "legacy");
            Assert.That(v[14], Is.Zero, "VEX");
            Assert.That((ushort)v[4], Is.EqualTo((ushort)((0x0404u * 0x0808u) >> 16)), "result");
        });
    }

    [Test]
    public void AnUnmaskedDivisionByZeroIsAnExceptionOfTheGuest()
    {
        using var m = Machine();
        m.Context->Mxcsr = 0x1F80 & ~0x200u;
        m.Load(a =>
        {
            a.xorps(xmm1, xmm1);
            a.pcmpeqd(xmm0, xmm0);
            a.psrld(xmm0, 25);
            a.pslld(xmm0, 23);
            a.divps(xmm0, xmm1);
            TestMachine.Stop(a);
        });
        m.Cpu.RunToEvent();
        Assert.That(m.Context->Mxcsr & 4, Is.EqualTo(4), "ZE");
        Assert.That(m.Context->PendingVector, Is.EqualTo(Interpreter.Vector.Xm));
    }

    [Test]
    public void TheX87ComputesInExtendedPrecision()
    {
        using var m = Machine();
        m.Load(a =>
        {
            a.fninit();
            a.fldpi();
            a.fld1();
            a.faddp(st1, st0);
            a.fstp(__tbyte_ptr[TestMachine.DataAddress]);
            a.fnstsw(ax);
            TestMachine.Stop(a);
        });
        m.Cpu.Run();
        Span<byte> result = stackalloc byte[10];
        m.Memory.TryRead(TestMachine.DataAddress, result);
        Assert.That(Convert.ToHexString(result), Is.EqualTo(Convert.ToHexString(PiPlusOne)));
    }

    [Test]
    public void RegisterFilesAreAligned()
    {
        using var m = Machine();
        Assert.That((long)(&m.Context->Vectors) % 64, Is.Zero);
        Assert.That((long)(&m.Context->Fx) % 64, Is.Zero);
        Assert.That((long)(&m.Context->Scratch) % 64, Is.Zero);
    }

    [Test]
    public void TheNumberOfStubsDoesNotDependOnTheRegisters()
    {
        using var m = Machine();
        m.Load(a =>
        {
            a.paddsw(xmm1, xmm2);
            a.paddsw(xmm7, xmm15);
            a.paddsw(xmm8, __xmmword_ptr[TestMachine.DataAddress]);
            a.paddsw(xmm9, __xmmword_ptr[TestMachine.DataAddress + 16]);
            TestMachine.Stop(a);
        });
        m.Cpu.Run();
        Assert.That(m.Engine.Stubs.Count, Is.EqualTo(2));
    }

    // 4.14159265358979323851 in 80 bits.
    private static byte[] PiPlusOne => [0x1A, 0x61, 0xB4, 0x10, 0x51, 0xED, 0x87, 0x84, 0x01, 0x40];

    private static TestMachine Machine()
    {
        var m = new TestMachine();
        VectorState.Reset(m.Context);
        return m;
    }
}
