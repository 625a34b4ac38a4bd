using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Locked instructions of four processors on the same memory lose nothing.</summary>
public sealed unsafe class AtomicityTests
{
    private const int Threads = 4;
    private const int Rounds = 20000;
    private const int Finished = 0x2000;
    private const ulong Data = TestMachine.DataAddress;

    private static void RunAll(TestMachine machine, Action<Assembler> body)
    {
        machine.Load(a =>
        {
            var loop = a.CreateLabel();
            a.mov(esi, (uint)Data);
            a.mov(r15d, Rounds);
            a.Label(ref loop);
            body(a);
            a.dec(r15d);
            a.jnz(loop);
            var idle = a.CreateLabel();
            a.@lock.inc(__dword_ptr[rsi + Finished]);
            a.Label(ref idle);
            a.pause();
            a.jmp(idle);
        });
        var threads = new List<Thread>();
        foreach (var cpu in machine.Cpus)
        {
            cpu.Context->Rip = TestMachine.CodeAddress;
            cpu.Context->Gpr[4] = TestMachine.StackTop - (ulong)(cpu.Index * 0x1000);
            var thread = new Thread(() => cpu.Run());
            threads.Add(thread);
            thread.Start();
        }
        bool all = SpinWait.SpinUntil(() => Read(machine, Data + Finished, 4) == Threads, TimeSpan.FromSeconds(60));
        foreach (var cpu in machine.Cpus)
            cpu.Kick();
        foreach (var thread in threads)
            Assert.That(thread.Join(TimeSpan.FromSeconds(20)));
        Assert.That(all, "all processors came to the end");
    }

    private static ulong Read(TestMachine machine, ulong address, int size)
    {
        byte[] bytes = new byte[8];
        Assert.That(machine.Memory.TryRead(address, bytes.AsSpan(0, size)));
        return BitConverter.ToUInt64(bytes);
    }

    [Test]
    public void IncrementsOfEverySizeAndAlignment()
    {
        using var machine = new TestMachine(Threads);
        RunAll(machine, a =>
        {
            a.@lock.inc(__byte_ptr[rsi]);
            a.@lock.inc(__word_ptr[rsi + 3]);
            a.@lock.add(__dword_ptr[rsi + 8], 3);
            a.@lock.inc(__qword_ptr[rsi + 61]);
            a.mov(eax, 1);
            a.@lock.xadd(__dword_ptr[rsi + 0x100], eax);
            a.@lock.sub(__qword_ptr[rsi + 0xFFD], -1);
        });
        const ulong Total = Threads * Rounds;
        Assert.That(Read(machine, Data, 1), Is.EqualTo(Total & 0xFF));
        Assert.That(Read(machine, Data + 3, 2), Is.EqualTo(Total & 0xFFFF));
        Assert.That(Read(machine, Data + 8, 4), Is.EqualTo(Total * 3));
        Assert.That(Read(machine, Data + 61, 8), Is.EqualTo(Total));
        Assert.That(Read(machine, Data + 0x100, 4), Is.EqualTo(Total));
        Assert.That(Read(machine, Data + 0xFFD, 8), Is.EqualTo(Total), "across pages");
    }

    [Test]
    public void SpinLockKeepsOthersOut([Values] bool byExchange)
    {
        using var machine = new TestMachine(Threads);
        RunAll(machine, a =>
        {
            var again = a.CreateLabel();
            a.nop();
            a.Label(ref again);
            if (byExchange)
            {
                a.mov(eax, 1);
                a.xchg(__dword_ptr[rsi], eax);
                a.test(eax, eax);
                a.jnz(again);
            }
            else
            {
                a.@lock.bts(__dword_ptr[rsi], 0);
                a.jc(again);
            }
            a.mov(rbx, __qword_ptr[rsi + 64]);
            a.inc(rbx);
            a.mov(__qword_ptr[rsi + 64], rbx);
            a.mov(__dword_ptr[rsi], 0);
        });
        Assert.That(Read(machine, Data + 64, 8), Is.EqualTo(Threads * Rounds));
    }

    [Test]
    public void CompareExchangeLoops()
    {
        using var machine = new TestMachine(Threads);
        RunAll(machine, a =>
        {
            var pair = a.CreateLabel();
            var pair8 = a.CreateLabel();
            var single = a.CreateLabel();
            a.mov(rax, __qword_ptr[rsi]);
            a.mov(rdx, __qword_ptr[rsi + 8]);
            a.Label(ref pair);
            a.lea(rbx, __[rax + 1]);
            a.lea(rcx, __[rdx + 2]);
            a.@lock.cmpxchg16b(__xmmword_ptr[rsi]);
            a.jnz(pair);
            a.mov(eax, __dword_ptr[rsi + 68]);
            a.mov(edx, __dword_ptr[rsi + 72]);
            a.Label(ref pair8);
            a.lea(ebx, __[rax + 1]);
            a.lea(ecx, __[rdx + 2]);
            a.@lock.cmpxchg8b(__qword_ptr[rsi + 68]);
            a.jnz(pair8);
            a.mov(rax, __qword_ptr[rsi + 128]);
            a.Label(ref single);
            a.lea(rbx, __[rax + 1]);
            a.@lock.cmpxchg(__qword_ptr[rsi + 128], rbx);
            a.jnz(single);
        });
        const ulong Total = Threads * Rounds;
        Assert.That((Read(machine, Data, 8), Read(machine, Data + 8, 8)), Is.EqualTo((Total, 2 * Total)));
        Assert.That((Read(machine, Data + 68, 4), Read(machine, Data + 72, 4)), Is.EqualTo((Total, 2 * Total)));
        Assert.That(Read(machine, Data + 128, 8), Is.EqualTo(Total));
    }
}
