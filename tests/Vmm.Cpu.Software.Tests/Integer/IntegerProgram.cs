using Iced.Intel;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Runs short pieces of assembled code on a <see cref="TestMachine"/> to their end.</summary>
internal static unsafe class IntegerProgram
{
    /// <summary>Runs code that ends by itself: a stop is appended.</summary>
    public static CpuContext* Run(TestMachine machine, Action<Assembler> write)
    {
        machine.Load(a =>
        {
            write(a);
            TestMachine.Stop(a);
            // The stop is seen at the end of the block.
            var end = a.CreateLabel();
            a.Label(ref end);
            a.jmp(end);
        });
        Assert.That(machine.Cpu.Run(), Is.EqualTo(VirtualCpuExit.Kicked));
        return machine.Context;
    }

    /// <summary>The arithmetic flags after a run.</summary>
    public static ulong Arithmetic(TestMachine machine) => Flags.GetArithmetic(machine.Context);

    /// <summary>Bytes of guest memory.</summary>
    public static byte[] Read(TestMachine machine, ulong address, int length)
    {
        byte[] bytes = new byte[length];
        Assert.That(machine.Memory.TryRead(address, bytes));
        return bytes;
    }
}
