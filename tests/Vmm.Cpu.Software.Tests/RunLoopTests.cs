using System.Diagnostics;
using Iced.Intel;
using Microsoft.Extensions.Logging;
using Vmm.Core.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests;

/// <summary>What the run loop promises to the host: no allocation, no host CPU while idle, one message for an unknown instruction.</summary>
public sealed unsafe class RunLoopTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [Test]
    public void SteadyStateAllocatesNothing()
    {
        using var machine = new TestMachine();
        machine.Load(a =>
        {
            var loop = a.CreateLabel();
            var function = a.CreateLabel();
            a.Label(ref loop);
            a.mov(rdi, TestMachine.DataAddress);
            a.lea(rsi, __[rdi + 0x3000]);
            a.mov(ecx, 0x2000);
            a.rep.movsb();
            a.call(function);
            // Each round drops the TLB, so that misses and block look-ups are part of it.
            a.mov(rax, cr3);
            a.mov(cr3, rax);
            a.rdtsc();
            a.@in(al, 0x80);
            a.movdqu(xmm0, __xmmword_ptr[rdi]);
            a.paddd(xmm1, xmm0);
            a.movdqu(__xmmword_ptr[rdi + 1], xmm1);
            a.@lock.inc(__dword_ptr[rdi + 64]);
            a.dec(r12d);
            a.jnz(loop);
            TestMachine.Stop(a);
            a.Label(ref function);
            a.push(rbx);
            a.imul(ebx, ecx, 12);
            a.pop(rbx);
            a.ret();
        });
        // Handlers are compiled and stubs made in the first rounds; the runtime may allocate while it replaces code, so several are tried.
        long allocated = long.MaxValue;
        for (int round = 0; round < 10 && allocated != 0; round++)
        {
            machine.Context->Rip = TestMachine.CodeAddress;
            machine.Context->Gpr[12] = 5000;
            long start = GC.GetAllocatedBytesForCurrentThread();
            var exit = machine.Cpu.Run();
            allocated = GC.GetAllocatedBytesForCurrentThread() - start;
            Assert.That(exit, Is.EqualTo(VirtualCpuExit.Kicked));
            Assert.That(machine.Context->Gpr[12], Is.Zero, "it ran");
            TestContext.Out.WriteLine($"round {round}: {allocated} bytes");
        }
        Assert.That(machine.Context->PendingVector, Is.EqualTo(-1));
        Assert.That(allocated, Is.Zero);
    }

    [Test]
    public void AHaltedProcessorUsesNoHostCpuAndWakesUp()
    {
        using var machine = new TestMachine();
        machine.Load(a => a.hlt());
        TimeSpan used = TimeSpan.MaxValue;
        using var halted = new ManualResetEventSlim();
        var thread = new Thread(() => Assert.That(machine.Cpu.Run(), Is.EqualTo(VirtualCpuExit.Kicked)));
        thread.Start();
        Assert.That(SpinWait.SpinUntil(() => Volatile.Read(ref machine.Context->MpState) == (int)MpState.Halted, Limit));
        var process = Process.GetCurrentProcess();
        // The least of several intervals: other threads of the test process are not what is measured.
        for (int i = 0; i < 5; i++)
        {
            process.Refresh();
            var before = process.TotalProcessorTime;
            halted.Wait(200);
            process.Refresh();
            var interval = process.TotalProcessorTime - before;
            used = interval < used ? interval : used;
        }
        machine.Cpu.Kick();
        Assert.That(thread.Join(Limit));
        Assert.That(used, Is.LessThan(TimeSpan.FromMilliseconds(100)), "half of a core");
    }

    [Test]
    public void AnUnknownInstructionIsLoggedOnceWithItsBytes()
    {
        var log = new ListLogger();
        using var machine = new TestMachine(logs: log);
        for (int i = 0; i < 3; i++)
        {
            // VMLAUNCH: nothing in CPUID offers it.
            machine.Memory.TryWrite(TestMachine.CodeAddress, [0x0F, 0x01, 0xC2]);
            machine.Context->Rip = TestMachine.CodeAddress;
            machine.Context->MpState = (int)MpState.Runnable;
            machine.Context->PendingVector = -1;
            // There is no IDT, so that #UD becomes a triple fault.
            Assert.That(machine.Cpu.Run(), Is.EqualTo(VirtualCpuExit.Shutdown));
        }
        Assert.That(log.Messages, Has.Count.EqualTo(1));
        Assert.That(log.Messages[0], Does.Contain("0F01C2").And.Contain("0x100000"));
    }

    private sealed class ListLogger : ILoggerFactory, ILogger
    {
        public List<string> Messages { get; } = [];

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public ILogger CreateLogger(string categoryName) => this;

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            => Messages.Add(formatter(state, exception));
    }
}
