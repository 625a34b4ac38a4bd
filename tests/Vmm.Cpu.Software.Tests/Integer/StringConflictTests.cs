using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Strings whose source and destination share an entry of the TLB.</summary>
public sealed unsafe class StringConflictTests
{
    [Test]
    public void MovsBetweenRivalPagesWorksInPieces()
    {
        using var machine = new TestMachine();
        var data = new byte[0x3000];
        new Random(1).NextBytes(data);
        Assert.That(machine.Memory.TryLoad(0x400000, data));
        machine.Load(a =>
        {
            var done = a.CreateLabel();
            a.mov(esi, 0x400123);
            a.mov(edi, 0x800123);
            a.mov(ecx, 0x2000);
            a.rep.movsb();
            TestMachine.Stop(a);
            a.Label(ref done);
            a.jmp(done);
        });
        machine.Cpu.Run();
        var copy = new byte[0x2000];
        Assert.That(machine.Memory.TryRead(0x800123, copy));
        Assert.That(copy, Is.EqualTo(data[0x123..0x2123]));
    }
}
