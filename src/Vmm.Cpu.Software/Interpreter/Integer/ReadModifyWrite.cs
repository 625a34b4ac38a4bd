using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>An instruction that reads its first operand, computes and writes it back.</summary>
internal unsafe interface IReadModifyWrite
{
    /// <summary>
    /// Computes the new value and sets the flags, nothing else. It may be called again with the flags of before when the memory changed in between.
    /// </summary>
    static abstract T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged;

    /// <summary>What to add to the address of a memory operand (bit strings).</summary>
    static virtual ulong Displacement<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => 0;

    /// <summary>Register results other than the first operand; called once, when the write is certain.</summary>
    static virtual void Complete<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
    }
}

/// <summary>Where a value operand of a read-modify-write instruction comes from.</summary>
internal unsafe interface IValue
{
    /// <summary>The value; bits above the operand size are not meaningful.</summary>
    static abstract ulong Get<T>(CpuContext* c, Op* op)
        where T : unmanaged;
}

/// <summary><see cref="Op.Src"/>, zero-extended.</summary>
internal readonly unsafe struct RegisterValue : IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Get<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Operands.Zero(Operands.Get<T>(c, op->Src));
}

/// <summary><see cref="Op.Imm"/>.</summary>
internal readonly unsafe struct ImmediateValue : IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Get<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Operands.Zero(Operands.Truncate<T>(op->Imm));
}

/// <summary>CL.</summary>
internal readonly unsafe struct CountInCl : IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Get<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => (byte)c->Gpr[1];
}

/// <summary>The handlers of read-modify-write instructions: on a register, on memory, and locked on memory.</summary>
internal static unsafe class ReadModifyWrite
{
    /// <summary>Register destination.</summary>
    public static Op* Register<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        T old = Operands.Get<T>(c, op->Dst);
        T value = TOp.Apply(c, op, old);
        TOp.Complete(c, op, old);
        Operands.Set(c, op->Dst, value);
        return op + 1;
    }

    /// <summary>Memory destination without LOCK.</summary>
    public static Op* Memory<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        if (!TryLinear<TOp, T>(c, op, out ulong linear))
            return Flow.Fault(c, op);
        byte* p = GuestAccess.TryPin(c, linear, sizeof(T));
        if (p == null)
            return MemorySlow<TOp, T>(c, op, linear) ? op + 1 : Flow.Fault(c, op);
        T old = Unsafe.ReadUnaligned<T>(p);
        Unsafe.WriteUnaligned(p, TOp.Apply(c, op, old));
        TOp.Complete(c, op, old);
        return op + 1;
    }

    /// <summary>Memory destination with LOCK: atomic with respect to all other virtual CPUs.</summary>
    public static Op* Locked<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        if (!TryLinear<TOp, T>(c, op, out ulong linear))
            return Flow.Fault(c, op);
        byte* p = GuestAccess.TryPin(c, linear, sizeof(T));
        if (p == null)
            return LockedSlow<TOp, T>(c, op, linear);
        Exchange<TOp, T>(c, op, p);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryLinear<TOp, T>(CpuContext* c, Op* op, out ulong linear)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        linear = GuestAccess.Effective(c, op) + TOp.Displacement<T>(c, op);
        return op->AddressKind == AddressKind.Flat64 || SegmentedAccess.TryLinear(c, op, ref linear, sizeof(T), write: true);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Exchange<TOp, T>(CpuContext* c, Op* op, byte* p)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        ulong result = c->FlagResult;
        uint aux = c->FlagAux;
        T old = Unsafe.ReadUnaligned<T>(p);
        while (true)
        {
            T seen = Atomic.CompareExchange(p, TOp.Apply(c, op, old), old);
            if (Operands.Zero(seen) == Operands.Zero(old))
                break;
            old = seen;
            c->FlagResult = result;
            c->FlagAux = aux;
        }
        TOp.Complete(c, op, old);
    }

    private static bool MemorySlow<TOp, T>(CpuContext* c, Op* op, ulong linear)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        T old;
        return SlowAccess.TryReadForWrite(c, linear, &old, sizeof(T)) && StoreSlow<TOp, T>(c, op, linear, old);
    }

    private static bool StoreSlow<TOp, T>(CpuContext* c, Op* op, ulong linear, T old)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        ulong result = c->FlagResult;
        uint aux = c->FlagAux;
        T value = TOp.Apply(c, op, old);
        if (!SlowAccess.TryWrite(c, linear, &value, sizeof(T), Access.Write))
        {
            c->FlagResult = result;
            c->FlagAux = aux;
            return false;
        }
        TOp.Complete(c, op, old);
        return true;
    }

    // A TLB miss, MMIO, a code page or a page crossing. The walk comes first; if it leaves a translation that allows writes, the host's own
    // locked instructions do. Otherwise the engine-wide lock keeps other such accesses out.
    private static Op* LockedSlow<TOp, T>(CpuContext* c, Op* op, ulong linear)
        where TOp : struct, IReadModifyWrite
        where T : unmanaged
    {
        if (!SplitLock.TryEnter(c, out Lock gate))
            return Flow.Restart(c, op);
        try
        {
            T old;
            if (!SlowAccess.TryReadForWrite(c, linear, &old, sizeof(T)))
                return Flow.Fault(c, op);
            byte* p = GuestAccess.TryPin(c, linear, sizeof(T));
            if (p != null)
            {
                Exchange<TOp, T>(c, op, p);
                return op + 1;
            }
            return StoreSlow<TOp, T>(c, op, linear, old) ? op + 1 : Flow.Fault(c, op);
        }
        finally
        {
            gate.Exit();
        }
    }
}
