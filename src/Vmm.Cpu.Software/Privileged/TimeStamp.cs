using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>The time-stamp counter: VM time in nanoseconds, thus 1 GHz, plus IA32_TSC_ADJUST (SDM vol. 3, 18.17).</summary>
internal static unsafe class TimeStamp
{
    /// <summary>Frequency, Hz.</summary>
    public const uint Frequency = 1_000_000_000;

    /// <summary>The counter now.</summary>
    public static ulong Read(CpuContext* c) => (ulong)SoftwareCpu.From(c).Machine.Clock.Now + c->TscAdjust;

    /// <summary>RDTSC.</summary>
    public static Op* Rdtsc(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Tsd) != 0 && c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong value = Read(c);
        c->Gpr[0] = (uint)value;
        c->Gpr[2] = value >> 32;
        return op + 1;
    }

    /// <summary>RDTSCP.</summary>
    public static Op* Rdtscp(CpuContext* c, Op* op)
    {
        if ((c->Cr4 & Mode.Cr4Tsd) != 0 && c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong value = Read(c);
        c->Gpr[0] = (uint)value;
        c->Gpr[2] = value >> 32;
        c->Gpr[1] = (uint)c->TscAux;
        return op + 1;
    }

    /// <summary>RDPID.</summary>
    public static Op* Rdpid(CpuContext* c, Op* op)
    {
        Operands.Set(c, op->Dst, (ulong)(uint)c->TscAux);
        return op + 1;
    }

    /// <summary>RDPMC: the four counters of the K7 scheme, which never count.</summary>
    public static Op* Rdpmc(CpuContext* c, Op* op)
    {
        bool permitted = c->Cpl == 0 || (c->Cr4 & Mode.Cr4Pce) != 0;
        if (!permitted || (uint)c->Gpr[1] > 3)
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->Gpr[0] = 0;
        c->Gpr[2] = 0;
        return op + 1;
    }
}
