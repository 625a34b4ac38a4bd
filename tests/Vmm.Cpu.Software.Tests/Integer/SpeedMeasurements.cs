using System.Diagnostics;
using Iced.Intel;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Nanoseconds for each instruction of the hot families. Measurements, not checks.</summary>
public sealed unsafe class SpeedMeasurements
{
    private static void Measure(string name, int count, Action<Assembler> body)
    {
        using var machine = new TestMachine();
        for (int pass = 0; pass < 3; pass++)
        {
            var watch = Stopwatch.StartNew();
            IntegerProgram.Run(machine, a =>
            {
                var loop = a.CreateLabel();
                a.mov(esi, (uint)TestMachine.DataAddress);
                a.mov(r15d, count);
                a.mov(ebp, 7);
                a.Label(ref loop);
                for (int n = 0; n < 8; n++)
                    body(a);
                a.dec(r15d);
                a.jnz(loop);
            });
            if (pass == 2)
                TestContext.Out.WriteLine($"{name,-24} {watch.Elapsed.TotalNanoseconds / count / 8,10:F2} ns");
        }
    }

    [Test, Explicit("A measurement, not a check.")]
    public void Speeds()
    {
        const int N = 500000;
        Measure("mov reg, imm", N, a => a.mov(eax, 5));
        Measure("imul reg, reg", N, a => a.imul(rax, rbp));
        Measure("mul reg", N, a => a.mul(rbp));
        Measure("div r64, RDX = 0", N, a => { a.xor(edx, edx); a.div(rbp); });
        Measure("bsf", N, a => a.bsf(rax, rbp));
        Measure("tzcnt", N, a => a.tzcnt(rax, rbp));
        Measure("rol reg, imm", N, a => a.rol(rax, 7));
        Measure("bswap", N, a => a.bswap(rax));
        Measure("bt mem, reg", N, a => a.bt(__qword_ptr[rsi], rbp));
        Measure("lock inc", N, a => a.@lock.inc(__dword_ptr[rsi]));
        Measure("lock cmpxchg", N, a => a.@lock.cmpxchg(__dword_ptr[rsi], ebp));
        Measure("lock cmpxchg16b", N, a => a.@lock.cmpxchg16b(__xmmword_ptr[rsi]));
        Measure("xchg", N, a => a.xchg(__dword_ptr[rsi], eax));
        Measure("leave", N, a => { a.mov(rbp, rsi); a.mov(rdi, rsp); a.leave(); a.mov(rsp, rdi); });
        Measure("movsb", N, a => { a.mov(rdi, rsi); a.movsb(); a.dec(rsi); });
        Measure("rep movsb 16", N / 4, a => { a.mov(ecx, 16); a.lea(rdi, __[rsi + 4096]); a.rep.movsb(); a.sub(rsi, 16); });
        Measure("rep movsb 4096", N / 20, a => { a.mov(ecx, 4096); a.lea(rdi, __[rsi + 4096]); a.rep.movsb(); a.sub(rsi, 4096); });
        Measure("rep stosq 512", N / 20, a => { a.mov(ecx, 512); a.mov(rdi, rsi); a.rep.stosq(); });
        Measure("rdrand", N / 20, a => a.rdrand(rax));
    }
}
