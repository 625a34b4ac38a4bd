using Iced.Intel;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests;

/// <summary>Decoded blocks must never outlive the bytes they were made of.</summary>
public sealed unsafe class CodeInvalidationTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    // mov eax, imm32: the immediate is at offset 1.
    private const byte MovEax = 0xB8;

    private static void Run(SoftwareCpu cpu)
    {
        var run = Task.Factory.StartNew(cpu.Run, TaskCreationOptions.LongRunning);
        if (!run.Wait(Limit))
        {
            cpu.Kick();
            Assert.Fail("The guest did not stop.");
        }
        Assert.That(run.Result, Is.EqualTo(VirtualCpuExit.Kicked));
        Assert.That(cpu.Context->PendingVector, Is.EqualTo(-1));
    }

    [Test]
    public void AStoreIntoTheRunningBlockTakesEffectAtTheNextInstruction()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            var patched = a.CreateLabel();
            a.lea(rdi, __[patched]);
            a.mov(ebx, 3);
            var loop = a.CreateLabel();
            a.Label(ref loop);
            // Patches the immediate of the very next instruction, each time round with another value.
            a.mov(__dword_ptr[rdi + 1], ebx);
            a.Label(ref patched);
            a.mov(eax, 0x11111111);
            a.add(ecx, eax);
            a.dec(ebx);
            a.jnz(loop);
            TestMachine.Stop(a);
        });
        machine.Context->Gpr[1] = 0;
        Run(machine.Cpu);
        Assert.That(machine.Context->Gpr[1], Is.EqualTo(3 + 2 + 1));
    }

    [Test]
    public void AStoreThroughAnAliasIsSeen()
    {
        using var machine = new TestMachine();
        // Linear 0xE00000 (the last 2 MiB page) is mapped to physical 0 here, an alias of the code at 0x100000.
        machine.Memory.TryLoad(0x3000 + (7 * 8), BitConverter.GetBytes(0xE7UL));
        machine.Load(a =>
        {
            var function = a.CreateLabel();
            a.call(function);
            a.mov(ecx, eax);
            a.mov(rdi, 0xF02000);
            a.mov(__dword_ptr[rdi + 1], 7);
            a.call(function);
            TestMachine.Stop(a);
            while (a.Instructions.Count < 7)
                a.nop();
            a.Label(ref function);
            a.mov(rdx, 0x102000);
            a.jmp(rdx);
        });
        machine.Memory.TryLoad(0x102000, [MovEax, 5, 0, 0, 0, 0xC3]);
        Run(machine.Cpu);
        Assert.That(machine.Context->Gpr[1], Is.EqualTo(5));
        Assert.That(machine.Context->Gpr[0], Is.EqualTo(7));
    }

    [Test]
    public void ADeviceWriteIsSeen()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            a.mov(rdx, 0x102000);
            a.call(rdx);
            TestMachine.Stop(a);
        });
        machine.Memory.TryLoad(0x102000, [MovEax, 5, 0, 0, 0, 0xC3]);
        Run(machine.Cpu);
        Assert.That(machine.Context->Gpr[0], Is.EqualTo(5));
        machine.Memory.TryWrite(0x102001, [9]);
        machine.Context->Rip = TestMachine.CodeAddress;
        Run(machine.Cpu);
        Assert.That(machine.Context->Gpr[0], Is.EqualTo(9));
    }

    [Test]
    public void AnInstructionThatCrossesAPageIsReadFromBoth()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            a.mov(rdx, 0x102FFE);
            a.call(rdx);
            a.mov(ecx, eax);
            a.mov(rdi, 0x103000);
            a.mov(__byte_ptr[rdi], 6);
            a.call(rdx);
            TestMachine.Stop(a);
        });
        machine.Memory.TryLoad(0x102FFE, [MovEax, 5, 1, 0, 0, 0xC3]);
        Run(machine.Cpu);
        Assert.That(machine.Context->Gpr[1], Is.EqualTo(0x105));
        Assert.That(machine.Context->Gpr[0], Is.EqualTo(0x605));
    }

    [Test]
    public void ManyBlocksFillTheArenaAndGoOn()
    {
        using var machine = new TestMachine();
        // A megabyte of short blocks, each jumping to the next, run after every byte of them was rewritten.
        byte[] code = new byte[1 << 20];
        for (int i = 0; i + 8 <= code.Length; i += 4)
            (code[i], code[i + 1], code[i + 2], code[i + 3]) = (0xFF, 0xC0, 0xEB, 0x00);
        code[^8] = 0xC3;
        machine.Load(a =>
        {
            a.xor(eax, eax);
            a.mov(rdx, 0x400000);
            a.call(rdx);
            TestMachine.Stop(a);
        });
        for (int round = 0; round < 4; round++)
        {
            machine.Memory.TryWrite(0x400000, code);
            machine.Context->Rip = TestMachine.CodeAddress;
            Run(machine.Cpu);
            Assert.That(machine.Context->Gpr[0], Is.EqualTo((ulong)((code.Length - 8) / 4)));
        }
    }

    [Test]
    public void AnotherProcessorsStoreIsSeenSoon()
    {
        using var machine = new TestMachine(cpus: 2);
        const ulong function = 0x102000;
        const ulong flag = TestMachine.DataAddress;
        machine.Memory.TryLoad(function, [MovEax, 0, 0, 0, 0, 0xC3]);
        // CPU 1 calls the function until it gives the number that CPU 0 announced last.
        machine.Load(
            a =>
            {
                var loop = a.CreateLabel();
                a.mov(rdx, function);
                a.mov(rsi, flag);
                a.mov(rsp, 0x190000UL);
                a.Label(ref loop);
                a.call(rdx);
                a.mov(__dword_ptr[rsi + 64], eax);
                a.jmp(loop);
            },
            0x110000);
        machine.Cpus[1].Context->Rip = 0x110000;
        machine.Load(a =>
        {
            var next = a.CreateLabel();
            var wait = a.CreateLabel();
            a.mov(rdi, function);
            a.mov(rsi, flag);
            a.mov(ebx, 1);
            a.Label(ref next);
            a.mov(__dword_ptr[rdi + 1], ebx);
            a.Label(ref wait);
            a.cmp(__dword_ptr[rsi + 64], ebx);
            a.jne(wait);
            a.inc(ebx);
            a.cmp(ebx, 5000);
            a.jne(next);
            TestMachine.Stop(a);
        });
        var other = Task.Factory.StartNew(machine.Cpus[1].Run, TaskCreationOptions.LongRunning);
        Run(machine.Cpus[0]);
        Assert.That(other.Wait(Limit));
        Assert.That(machine.Cpus[0].Context->Gpr[3], Is.EqualTo(5000));
    }
}
