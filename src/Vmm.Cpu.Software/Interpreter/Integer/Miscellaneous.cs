using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>Flag instructions, XLAT, RDRAND, fences, cache hints.</summary>
internal static unsafe class Miscellaneous
{
    private const ulong AhFlags = Flags.Sf | Flags.Zf | Flags.Af | Flags.Pf | Flags.Cf;

    public static Op* Lahf(CpuContext* c, Op* op)
    {
        ((byte*)c->Gpr)[1] = (byte)((Flags.GetArithmetic(c) & AhFlags) | 2);
        return op + 1;
    }

    public static Op* Sahf(CpuContext* c, Op* op)
    {
        Flags.SetArithmetic(c, (((byte*)c->Gpr)[1] & AhFlags) | (Flags.GetOf(c) ? Flags.Of : 0));
        return op + 1;
    }

    public static Op* Clc(CpuContext* c, Op* op)
    {
        Flags.SetCf(c, false);
        return op + 1;
    }

    public static Op* Stc(CpuContext* c, Op* op)
    {
        Flags.SetCf(c, true);
        return op + 1;
    }

    public static Op* Cmc(CpuContext* c, Op* op)
    {
        Flags.SetCf(c, !Flags.GetCf(c));
        return op + 1;
    }

    public static Op* Cld(CpuContext* c, Op* op)
    {
        c->Rflags &= ~Flags.Df;
        return op + 1;
    }

    public static Op* Std(CpuContext* c, Op* op)
    {
        c->Rflags |= Flags.Df;
        return op + 1;
    }

    /// <summary>SALC: AL = CF ? 0xFF : 0.</summary>
    public static Op* Salc(CpuContext* c, Op* op)
    {
        *(byte*)c->Gpr = Flags.GetCf(c) ? (byte)0xFF : (byte)0;
        return op + 1;
    }

    /// <summary>XLAT; the base is RBX, AL is added here.</summary>
    public static Op* Xlat(CpuContext* c, Op* op)
    {
        ulong linear = GuestAccess.Effective(c, op) + (byte)c->Gpr[0];
        if (op->AddressKind != AddressKind.Flat64 && !SegmentedAccess.TryLinear(c, op, ref linear, 1, write: false))
            return Flow.Fault(c, op);
        if (!GuestAccess.TryReadLinear(c, linear, out byte value))
            return Flow.Fault(c, op);
        *(byte*)c->Gpr = value;
        return op + 1;
    }

    /// <summary>RDRAND and RDSEED: CF tells that there is a number, the other flags are cleared; without one the destination is 0.</summary>
    public static Op* Random<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        bool valid = SoftwareCpu.From(c).TryGetRandom(out ulong value);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(value));
        Flags.SetArithmetic(c, valid ? Flags.Cf : 0);
        return op + 1;
    }

    /// <summary>What has no effect here: hints, and fences that the host's memory model makes superfluous.</summary>
    public static Op* Nothing(CpuContext* c, Op* op) => op + 1;

    /// <summary>MFENCE.</summary>
    public static Op* Mfence(CpuContext* c, Op* op)
    {
        Interlocked.MemoryBarrier();
        return op + 1;
    }

    /// <summary>PAUSE.</summary>
    public static Op* Pause(CpuContext* c, Op* op)
    {
        SoftwareCpu.From(c).Relax();
        return op + 1;
    }

    /// <summary>CLFLUSH, CLFLUSHOPT, CLWB, CLDEMOTE: memory is coherent anyway, but the access is checked like a load of one byte.</summary>
    public static Op* CacheLine(CpuContext* c, Op* op)
        => GuestAccess.TryRead(c, op, out byte _) ? op + 1 : Flow.Fault(c, op);

    /// <summary>UD0, UD1, UD2, and LOCK where it is not allowed.</summary>
    public static Op* Ud(CpuContext* c, Op* op) => Flow.Raise(c, op, Vector.Ud);
}
