using System.Diagnostics;
using Iced.Intel;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests;

/// <summary>The run loop, blocks, links and the instructions that everything else stands on.</summary>
public sealed unsafe class CoreInstructionTests
{
    private static void RunFor(TestMachine machine, int milliseconds)
    {
        using var timer = new Timer(_ => machine.Cpu.Kick(), null, milliseconds, Timeout.Infinite);
        Assert.That(machine.Cpu.Run(), Is.EqualTo(VirtualCpuExit.Kicked));
    }

    [Test]
    public void LoopOverMemoryComputesTheSum()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            var loop = a.CreateLabel();
            var done = a.CreateLabel();
            a.mov(rsi, TestMachine.DataAddress);
            a.mov(ecx, 1000);
            a.xor(eax, eax);
            a.Label(ref loop);
            a.mov(__qword_ptr[rsi + (rcx * 8)], rcx);
            a.add(rax, __qword_ptr[rsi + (rcx * 8)]);
            a.dec(ecx);
            a.jnz(loop);
            a.mov(__qword_ptr[rsi], rax);
            a.Label(ref done);
            a.jmp(done);
        });
        RunFor(machine, 100);
        Assert.That(machine.Context->Gpr[0], Is.EqualTo(500500));
    }

    [Test, Explicit("A measurement, not a check.")]
    public void Speed()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            var loop = a.CreateLabel();
            var f = a.CreateLabel();
            a.mov(rsi, TestMachine.DataAddress);
            a.Label(ref loop);
            a.mov(rax, __qword_ptr[rsi + 8]);
            a.add(rax, 3);
            a.mov(__qword_ptr[rsi + 8], rax);
            a.and(eax, 0xFF);
            a.lea(rbx, __[rax + (rax * 4)]);
            a.cmp(rbx, 77);
            a.call(f);
            a.test(ebx, ebx);
            a.jne(loop);
            a.jmp(loop);
            a.Label(ref f);
            a.push(rbp);
            a.mov(rbp, rsp);
            a.movzx(ecx, bl);
            a.shl(ecx, 3);
            a.pop(rbp);
            a.ret();
        });
        for (int i = 0; i < 4; i++)
        {
            ulong before = machine.Cpu.InstructionsRetired;
            var watch = Stopwatch.StartNew();
            RunFor(machine, 1000);
            TestContext.Out.WriteLine($"{(machine.Cpu.InstructionsRetired - before) / watch.Elapsed.TotalSeconds / 1e6:F0} million instructions a second");
        }
    }
}
