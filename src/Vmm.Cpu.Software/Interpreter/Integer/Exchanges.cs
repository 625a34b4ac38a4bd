using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>XCHG with memory, which is locked with or without a prefix.</summary>
internal readonly unsafe struct Xchg : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => Operands.Get<T>(c, op->Src);

    public static void Complete<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => Operands.Set(c, op->Src, old);
}

/// <summary>XADD.</summary>
internal readonly unsafe struct Xadd : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), b = RegisterValue.Get<T>(c, op), r = a + b;
        Carries.SetAdd<T>(c, a, b, r);
        return Operands.Truncate<T>(r);
    }

    public static void Complete<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => Operands.Set(c, op->Src, old);
}

/// <summary>CMPXCHG with memory. It writes in any case, the old value when the comparison fails.</summary>
internal readonly unsafe struct Cmpxchg : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(Operands.Get<T>(c, OperandOffset.Rax)), b = Operands.Zero(old), r = a - b;
        Carries.SetSubtract<T>(c, a, b, r);
        return a == b ? Operands.Get<T>(c, op->Src) : old;
    }

    public static void Complete<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        if (!Flags.GetZf(c))
            Operands.Set(c, OperandOffset.Rax, old);
    }
}

/// <summary>CMPXCHG between registers, CMPXCHG8B and CMPXCHG16B.</summary>
internal static unsafe class Exchanges
{
    /// <summary>CMPXCHG reg, reg. The destination is not touched when the comparison fails, not even its upper half.</summary>
    public static Op* CmpxchgRegister<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        T old = Operands.Get<T>(c, op->Dst);
        T value = Cmpxchg.Apply(c, op, old);
        if (Flags.GetZf(c))
            Operands.Set(c, op->Dst, value);
        else
            Operands.Set(c, OperandOffset.Rax, old);
        return op + 1;
    }

    /// <summary>CMPXCHG8B, always atomic.</summary>
    public static Op* Cmpxchg8B(CpuContext* c, Op* op)
    {
        if (!GuestAccess.TryLinear(c, op, 8, write: true, out ulong linear))
            return Flow.Fault(c, op);
        ulong expected = (uint)c->Gpr[0] | (c->Gpr[2] << 32);
        ulong value = (uint)c->Gpr[3] | (c->Gpr[1] << 32);
        byte* p = GuestAccess.TryPin(c, linear, 8);
        ulong seen;
        if (p != null)
        {
            seen = Atomic.CompareExchange(p, value, expected);
        }
        else
        {
            if (!SplitLock.TryEnter(c, out Lock gate))
                return Flow.Restart(c, op);
            try
            {
                if (!TrySlow8(c, linear, value, expected, out seen))
                    return Flow.Fault(c, op);
            }
            finally
            {
                gate.Exit();
            }
        }
        if (seen != expected)
        {
            c->Gpr[0] = (uint)seen;
            c->Gpr[2] = seen >> 32;
        }
        SetZf(c, seen == expected);
        return op + 1;
    }

    /// <summary>CMPXCHG16B, always atomic; its operand must be aligned.</summary>
    public static Op* Cmpxchg16B(CpuContext* c, Op* op)
    {
        if (!GuestAccess.TryLinear(c, op, 16, write: true, out ulong linear))
            return Flow.Fault(c, op);
        if ((linear & 15) != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong* expected = stackalloc ulong[2] { c->Gpr[0], c->Gpr[2] };
        byte* p = GuestAccess.TryPin(c, linear, 16);
        bool equal;
        if (p != null)
        {
            equal = Shim.CompareExchange16(p, expected, c->Gpr[3], c->Gpr[1]) != 0;
        }
        else
        {
            if (!SplitLock.TryEnter(c, out Lock gate))
                return Flow.Restart(c, op);
            try
            {
                if (!TrySlow16(c, linear, expected, out equal))
                    return Flow.Fault(c, op);
            }
            finally
            {
                gate.Exit();
            }
        }
        if (!equal)
        {
            c->Gpr[0] = expected[0];
            c->Gpr[2] = expected[1];
        }
        SetZf(c, equal);
        return op + 1;
    }

    private static bool TrySlow8(CpuContext* c, ulong linear, ulong value, ulong expected, out ulong seen)
    {
        ulong old;
        seen = 0;
        if (!SlowAccess.TryReadForWrite(c, linear, &old, 8))
            return false;
        byte* p = GuestAccess.TryPin(c, linear, 8);
        if (p != null)
        {
            seen = Atomic.CompareExchange(p, value, expected);
            return true;
        }
        seen = old;
        if (old != expected)
            value = old;
        return SlowAccess.TryWrite(c, linear, &value, 8, Access.Write);
    }

    private static bool TrySlow16(CpuContext* c, ulong linear, ulong* expected, out bool equal)
    {
        ulong* old = stackalloc ulong[2];
        equal = false;
        if (!SlowAccess.TryReadForWrite(c, linear, old, 16))
            return false;
        byte* p = GuestAccess.TryPin(c, linear, 16);
        if (p != null)
        {
            equal = Shim.CompareExchange16(p, expected, c->Gpr[3], c->Gpr[1]) != 0;
            return true;
        }
        equal = old[0] == expected[0] && old[1] == expected[1];
        expected[0] = old[0];
        expected[1] = old[1];
        if (equal)
        {
            old[0] = c->Gpr[3];
            old[1] = c->Gpr[1];
        }
        return SlowAccess.TryWrite(c, linear, old, 16, Access.Write);
    }

    private static void SetZf(CpuContext* c, bool value)
        => Flags.SetArithmetic(c, (Flags.GetArithmetic(c) & ~Flags.Zf) | (value ? Flags.Zf : 0));
}
