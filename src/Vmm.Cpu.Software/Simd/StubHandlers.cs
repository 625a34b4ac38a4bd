using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>Handlers that run one vector instruction through its host stub.</summary>
internal static unsafe class StubHandlers
{
    private const ulong SimdException = ulong.MaxValue;

    /// <summary>Registers only.</summary>
    public static Op* Register(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        Call(c, op, null);
        return op + 1;
    }

    /// <summary>Registers only, under MXCSR.</summary>
    public static Op* RegisterFloat(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return Call(c, op, null) == SimdException ? FloatFault(c, op) : op + 1;
    }

    /// <summary>Registers only; sets flags.</summary>
    public static Op* RegisterFlags(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return TakeFlags(c, op, Call(c, op, null));
    }

    /// <summary>A memory source.</summary>
    public static Op* Load(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        void* memory = TryLoad(c, op);
        if (memory == null)
            return Flow.Fault(c, op);
        Call(c, op, memory);
        return op + 1;
    }

    /// <summary>A memory source, under MXCSR.</summary>
    public static Op* LoadFloat(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        void* memory = TryLoad(c, op);
        if (memory == null)
            return Flow.Fault(c, op);
        return Call(c, op, memory) == SimdException ? FloatFault(c, op) : op + 1;
    }

    /// <summary>A memory source; sets flags.</summary>
    public static Op* LoadFlags(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        void* memory = TryLoad(c, op);
        if (memory == null)
            return Flow.Fault(c, op);
        return TakeFlags(c, op, Call(c, op, memory));
    }

    /// <summary>A memory destination: the stub writes to the scratch area, and that is written to memory.</summary>
    public static Op* Store(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryLinear(c, op, write: true, out ulong linear))
            return Flow.Fault(c, op);
        byte* pinned = GuestAccess.TryPin(c, linear, op->Src);
        if (pinned != null)
            return Call(c, op, pinned) == SimdException ? FloatFault(c, op) : op + 1;
        // A page fault comes before a SIMD exception (VCVTPS2PH), and then leaves no flags behind.
        uint mxcsr = c->Mxcsr;
        bool exception = Call(c, op, &c->Scratch) == SimdException;
        bool accessible = exception
            ? SlowAccess.TryReadForWrite(c, linear, &c->Scratch, op->Src)
            : SlowAccess.TryWrite(c, linear, &c->Scratch, op->Src, Access.Write);
        if (accessible)
            return exception ? FloatFault(c, op) : op + 1;
        c->Mxcsr = mxcsr;
        return Flow.Fault(c, op);
    }

    /// <summary>MMX registers (and XMM or general ones).</summary>
    public static Op* Mmx(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        X87State.EnterMmx(c);
        return Call(c, op, null) == SimdException ? FloatFault(c, op) : op + 1;
    }

    /// <summary>MMX registers and a memory source.</summary>
    public static Op* MmxLoad(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        void* memory = TryLoad(c, op);
        if (memory == null)
            return Flow.Fault(c, op);
        X87State.EnterMmx(c);
        return Call(c, op, memory) == SimdException ? FloatFault(c, op) : op + 1;
    }

    /// <summary>MMX registers and a memory destination of 4 or 8 bytes.</summary>
    public static Op* MmxStore(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        ulong value = *(ulong*)X87State.PhysicalRegister(c, (int)op->Extra >> 8);
        bool written = op->Src == 4 ? TryWrite(c, op, (uint)value) : TryWrite(c, op, value);
        if (!written)
            return Flow.Fault(c, op);
        X87State.EnterMmx(c);
        return op + 1;
    }

    /// <summary>Raises #XM, or #UD when the system does not handle it (SDM vol. 1, 11.5.3.2).</summary>
    public static Op* FloatFault(CpuContext* c, Op* op)
        => Flow.Raise(c, op, (c->Cr4 & Mode.Cr4Osxmmexcpt) != 0 ? Interpreter.Vector.Xm : Interpreter.Vector.Ud);

    private static Op* TakeFlags(CpuContext* c, Op* op, ulong result)
    {
        if (result == SimdException)
            return FloatFault(c, op);
        Flags.SetArithmetic(c, result);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Call(CpuContext* c, Op* op, void* memory)
        => ((delegate* unmanaged[SuppressGCTransition]<CpuContext*, void*, byte*, byte*, byte*, byte*, ulong>)op->LinkNotTaken)(
            c, memory, At(c, op, 0), At(c, op, 1), At(c, op, 2), At(c, op, 3));
}
