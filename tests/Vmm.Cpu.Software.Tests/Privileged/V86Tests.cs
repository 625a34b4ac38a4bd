using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Virtual-8086 mode without VME (SDM vol. 3, chapter 21).</summary>
public sealed unsafe class V86Tests
{
    private const uint Linear = 0x20010;

    private static M Enter(int iopl, params byte[] code)
    {
        var m = M.Protected();
        uint flags = 0x20202 | ((uint)iopl << 12);
        m.Load(a =>
        {
            foreach (uint value in new uint[] { 0, 0, 0x3000, 0, 0x1000, 0xF00, flags, 0x2000, 0x10 })
                a.push(value);
            a.iretd();
        });
        Assert.That(m.Machine.Memory.TryLoad(Linear, code));
        return m;
    }

    // cli; sti; pushf; popf; int 0x20; iret; all but INT3 depend on IOPL.
    [TestCase(new byte[] { 0xFA })]
    [TestCase(new byte[] { 0xFB })]
    [TestCase(new byte[] { 0x9C })]
    [TestCase(new byte[] { 0x9D })]
    [TestCase(new byte[] { 0xCD, 0x20 })]
    [TestCase(new byte[] { 0xCF })]
    public void SensitiveInstructionsTrapBelowIopl3(byte[] code)
    {
        using var m = Enter(0, code);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((Vector.Gp, 0UL, 0x10UL)));
    }

    [Test]
    public void WithIopl3TheyRun()
    {
        // cli; pushf; pop ax; sti; ud2
        using var m = Enter(3, 0xFA, 0x9C, 0x58, 0xFB, 0x0F, 0x0B);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That((m.HaltedVector, m.Top(0, 4)), Is.EqualTo((Vector.Ud, 0x14UL)));
            Assert.That(m.C->Gpr[0] & Flags.If, Is.Zero);
            Assert.That(m.C->Gpr[0] & Flags.Iopl, Is.EqualTo(Flags.Iopl));
            Assert.That(m.Top(2, 4) & (Flags.Vm | Flags.If), Is.EqualTo(Flags.Vm | Flags.If));
        });
    }

    [Test]
    public void SegmentsAreSelectorTimes16()
    {
        // mov ax, [0x20] with DS 3000; mov bx, cs; mov ds, bx; mov cx, [0x10]; ud2
        using var m = Enter(0, 0xA1, 0x20, 0x00, 0x8C, 0xCB, 0x8E, 0xDB, 0x8B, 0x0E, 0x10, 0x00, 0x0F, 0x0B);
        m.Write16(0x30020, 0x1234);
        m.Run();
        Assert.That((m.HaltedVector, m.C->Gpr[0] & 0xFFFF, m.C->Gpr[1] & 0xFFFF), Is.EqualTo((Vector.Ud, 0x1234UL, 0x20A1UL)));
    }

    [Test]
    public void HandlerReturnsByIretd()
    {
        // int3; inc ax; ud2
        using var m = Enter(0, 0xCC, 0x40, 0x0F, 0x0B);
        m.SetGate(3, M.Code32, M.Handlers + (3 * 16), 0xEE);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4)), Is.EqualTo((Vector.Bp, 0x11UL)));
        m.C->Gpr[0] = 0xFFFF;
        m.Write8(M.Handlers + (3 * 16) + 1, 0xCF);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That((m.HaltedVector, m.Top(0, 4)), Is.EqualTo((Vector.Ud, 0x12UL)));
            Assert.That(m.C->Gpr[0] & 0xFFFF, Is.Zero);
            Assert.That(m.Top(5, 4), Is.Zero, "ES");
            Assert.That(m.Top(6, 4), Is.EqualTo(0x3000), "DS");
        });
    }

    [Test]
    public void ProtectedModeInstructionsAreUndefined()
    {
        // lldt ax
        using var m = Enter(3, 0x0F, 0x00, 0xD0);
        m.Run();
        Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
    }
}
