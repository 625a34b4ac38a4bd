using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>A little of each integer family, through decoder and run loop.</summary>
public sealed unsafe class SmokeTests
{
    [Test]
    public void ArithmeticInRegistersAndMemory()
    {
        using var machine = new TestMachine();
        CpuContext* c = IntegerProgram.Run(machine, a =>
        {
            a.mov(rsi, TestMachine.DataAddress);
            a.mov(__qword_ptr[rsi], 41);
            a.@lock.inc(__qword_ptr[rsi]);
            a.mov(eax, 42);
            a.mov(ecx, 7);
            a.@lock.cmpxchg(__qword_ptr[rsi], rcx);
            a.mov(edx, 5);
            a.@lock.xadd(__dword_ptr[rsi], edx);
            a.mov(rbx, __qword_ptr[rsi]);
            a.imul(rbx, rbx, -3);
            a.mov(eax, 1000);
            a.mov(r8, rdx);
            a.xor(edx, edx);
            a.mov(ecx, 7);
            a.div(ecx);
            a.bsf(r9, rax);
            a.mov(r10d, 0x12345678);
            a.rol(r10d, 8);
            a.bswap(r10);
        });
        Assert.That(c->Gpr[3], Is.EqualTo(unchecked((ulong)-36)));
        Assert.That(c->Gpr[8], Is.EqualTo(7));
        Assert.That(c->Gpr[0], Is.EqualTo(142));
        Assert.That(c->Gpr[2], Is.EqualTo(6));
        Assert.That(c->Gpr[9], Is.EqualTo(1));
        Assert.That(c->Gpr[10], Is.EqualTo(0x1278563400000000));
    }

    [Test]
    public void RepeatedStringsAcrossPages()
    {
        using var machine = new TestMachine();
        CpuContext* c = IntegerProgram.Run(machine, a =>
        {
            a.mov(rdi, TestMachine.DataAddress + 3);
            a.mov(ecx, 10000);
            a.mov(eax, 0x5A);
            a.rep.stosb();
            a.mov(rsi, TestMachine.DataAddress);
            a.mov(rdi, TestMachine.DataAddress + 0x10000);
            a.mov(ecx, 1500);
            a.rep.movsq();
            a.mov(rdi, TestMachine.DataAddress + 0x10003);
            a.mov(ecx, 20000);
            a.repe.scasb();
            a.mov(r8, rcx);
        });
        Assert.That(c->Gpr[8], Is.EqualTo(20000 - 10001));
        byte[] bytes = IntegerProgram.Read(machine, TestMachine.DataAddress + 0x10000, 12000);
        Assert.That(bytes.Count(b => b == 0x5A), Is.EqualTo(10000));
        Assert.That(bytes[3], Is.EqualTo(0x5A));
        Assert.That(bytes[2], Is.Zero);
    }

    [Test]
    public void RepeatedStoresOverTheRunningBlockTakeEffect([Values] bool move)
    {
        using var machine = new TestMachine();
        CpuContext* c = IntegerProgram.Run(machine, a =>
        {
            var patched = a.CreateLabel();
            a.xor(ebx, ebx);
            a.mov(rdi, TestMachine.DataAddress);
            a.mov(ecx, 64);
            a.mov(eax, 0x90);
            a.rep.stosb();
            a.lea(rdi, __[patched]);
            a.mov(rsi, TestMachine.DataAddress);
            a.mov(ecx, 20);
            if (move)
                a.rep.movsb();
            else
                a.rep.stosb();
            a.Label(ref patched);
            for (int n = 0; n < 10; n++)
                a.inc(ebx);
            a.mov(edx, 7);
        });
        Assert.That((c->Gpr[3], c->Gpr[2], c->Gpr[1]), Is.EqualTo((0UL, 7UL, 0UL)));
    }
}
