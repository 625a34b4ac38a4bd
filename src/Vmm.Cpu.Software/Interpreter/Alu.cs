using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Interpreter.Operands;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>A two-operand arithmetic or logic operation that sets the flags.</summary>
internal unsafe interface IBinary
{
    /// <summary>Whether the result is written back; false for CMP and TEST.</summary>
    static abstract bool Writes { get; }

    /// <summary>Computes the result and sets the flags.</summary>
    static abstract T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged;
}

/// <summary>A one-operand operation.</summary>
internal unsafe interface IUnary
{
    /// <summary>Computes the result and sets the flags.</summary>
    static abstract T Execute<T>(CpuContext* c, T a)
        where T : unmanaged;
}

internal readonly unsafe struct AddOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong x = Zero(a), y = Zero(b), r = x + y;
        T result = Truncate<T>(r);
        Flags.SetCarries(c, Sign(result), (x & y) | ((x | y) & ~r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct AdcOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong x = Zero(a), y = Zero(b), r = x + y + (Flags.GetCf(c) ? 1UL : 0);
        T result = Truncate<T>(r);
        Flags.SetCarries(c, Sign(result), (x & y) | ((x | y) & ~r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct SubOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong x = Zero(a), y = Zero(b), r = x - y;
        T result = Truncate<T>(r);
        Flags.SetCarries(c, Sign(result), (~x & y) | (~(x ^ y) & r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct SbbOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong x = Zero(a), y = Zero(b), r = x - y - (Flags.GetCf(c) ? 1UL : 0);
        T result = Truncate<T>(r);
        Flags.SetCarries(c, Sign(result), (~x & y) | (~(x ^ y) & r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct CmpOp : IBinary
{
    public static bool Writes => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
        => SubOp.Execute(c, a, b);
}

internal readonly unsafe struct AndOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong r = Sign(a) & Sign(b);
        Flags.SetLogic(c, r);
        return Truncate<T>(r);
    }
}

internal readonly unsafe struct TestOp : IBinary
{
    public static bool Writes => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
        => AndOp.Execute(c, a, b);
}

internal readonly unsafe struct OrOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong r = Sign(a) | Sign(b);
        Flags.SetLogic(c, r);
        return Truncate<T>(r);
    }
}

internal readonly unsafe struct XorOp : IBinary
{
    public static bool Writes => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, T b)
        where T : unmanaged
    {
        ulong r = Sign(a) ^ Sign(b);
        Flags.SetLogic(c, r);
        return Truncate<T>(r);
    }
}

internal readonly unsafe struct IncOp : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a)
        where T : unmanaged
    {
        ulong x = Zero(a), r = x + 1;
        T result = Truncate<T>(r);
        Flags.SetCarriesKeepCf(c, Sign(result), (x & 1) | ((x | 1) & ~r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct DecOp : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a)
        where T : unmanaged
    {
        ulong x = Zero(a), r = x - 1;
        T result = Truncate<T>(r);
        Flags.SetCarriesKeepCf(c, Sign(result), (~x & 1) | (~(x ^ 1) & r), sizeof(T) * 8);
        return result;
    }
}

internal readonly unsafe struct NegOp : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a)
        where T : unmanaged
        => SubOp.Execute(c, default, a);
}

internal readonly unsafe struct NotOp : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a)
        where T : unmanaged
        => Truncate<T>(~Zero(a));
}

/// <summary>
/// Shifts; the count is masked to 5 or 6 bits, and a count of 0 changes no flag (SDM vol. 2, SAL/SAR/SHL/SHR). OF is defined for a count
/// of 1 only; it is computed alike for all.
/// </summary>
internal unsafe interface IShift
{
    /// <summary>Shifts by a count that is masked and not 0.</summary>
    static abstract T Execute<T>(CpuContext* c, T a, int count)
        where T : unmanaged;
}

internal readonly unsafe struct ShlOp : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, int count)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        ulong x = Zero(a);
        T result = Truncate<T>(x << count);
        bool cf = count <= bits && ((x >> (bits - count)) & 1) != 0;
        ulong r = Sign(result);
        Flags.Set(c, r, cf, of: ((r >> 63) != 0) != cf, af: true);
        return result;
    }
}

internal readonly unsafe struct ShrOp : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, int count)
        where T : unmanaged
    {
        ulong x = Zero(a);
        ulong before = x >> (count - 1);
        T result = Truncate<T>(before >> 1);
        Flags.Set(c, Sign(result), (before & 1) != 0, of: ((before >> ((sizeof(T) * 8) - 1)) & 1) != 0, af: true);
        return result;
    }
}

internal readonly unsafe struct SarOp : IShift
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Execute<T>(CpuContext* c, T a, int count)
        where T : unmanaged
    {
        long before = (long)Sign(a) >> (count - 1);
        T result = Truncate<T>((ulong)(before >> 1));
        Flags.Set(c, Sign(result), (before & 1) != 0, of: false, af: true);
        return result;
    }
}

/// <summary>Handlers of the arithmetic and logic instructions by operand form.</summary>
[SkipLocalsInit]
internal static unsafe class Alu
{
    public static Op* RegReg<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IBinary
        where T : unmanaged
    {
        T r = TOp.Execute(c, Get<T>(c, op->Dst), Get<T>(c, op->Src));
        if (TOp.Writes)
            Set(c, op->Dst, r);
        return op + 1;
    }

    public static Op* RegImm<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IBinary
        where T : unmanaged
    {
        T r = TOp.Execute(c, Get<T>(c, op->Dst), Truncate<T>(op->Imm));
        if (TOp.Writes)
            Set(c, op->Dst, r);
        return op + 1;
    }

    public static Op* RegMem<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IBinary
        where T : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out T b))
            return Flow.Fault(c, op);
        T r = TOp.Execute(c, Get<T>(c, op->Dst), b);
        if (TOp.Writes)
            Set(c, op->Dst, r);
        return op + 1;
    }

    public static Op* MemReg<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IBinary
        where T : unmanaged
        => Mem<TOp, T>(c, op, Get<T>(c, op->Src));

    public static Op* MemImm<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IBinary
        where T : unmanaged
        => Mem<TOp, T>(c, op, Truncate<T>(op->Imm));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* Mem<TOp, T>(CpuContext* c, Op* op, T b)
        where TOp : struct, IBinary
        where T : unmanaged
    {
        if (!TOp.Writes)
        {
            if (!GuestAccess.TryRead(c, op, out T a))
                return Flow.Fault(c, op);
            TOp.Execute(c, a, b);
            return op + 1;
        }
        if (!GuestAccess.TryLinear(c, op, sizeof(T), write: true, out ulong linear))
            return Flow.Fault(c, op);
        T* host = (T*)GuestAccess.TryPin(c, linear, sizeof(T));
        if (host != null)
        {
            *host = TOp.Execute(c, *host, b);
            return op + 1;
        }
        T value;
        if (!SlowAccess.TryReadForWrite(c, linear, &value, sizeof(T)))
            return Flow.Fault(c, op);
        value = TOp.Execute(c, value, b);
        SlowAccess.TryWrite(c, linear, &value, sizeof(T), Access.Write);
        return op + 1;
    }

    public static Op* Reg<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IUnary
        where T : unmanaged
    {
        Set(c, op->Dst, TOp.Execute(c, Get<T>(c, op->Dst)));
        return op + 1;
    }

    public static Op* Mem<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IUnary
        where T : unmanaged
    {
        if (!GuestAccess.TryLinear(c, op, sizeof(T), write: true, out ulong linear))
            return Flow.Fault(c, op);
        T* host = (T*)GuestAccess.TryPin(c, linear, sizeof(T));
        if (host != null)
        {
            *host = TOp.Execute(c, *host);
            return op + 1;
        }
        T value;
        if (!SlowAccess.TryReadForWrite(c, linear, &value, sizeof(T)))
            return Flow.Fault(c, op);
        value = TOp.Execute(c, value);
        SlowAccess.TryWrite(c, linear, &value, sizeof(T), Access.Write);
        return op + 1;
    }

    /// <summary>The zero idiom XOR r,r.</summary>
    public static Op* ZeroReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set<T>(c, op->Dst, default);
        Flags.SetLogic(c, 0);
        return op + 1;
    }

    public static Op* ShiftRegImm<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IShift
        where T : unmanaged
    {
        Set(c, op->Dst, TOp.Execute(c, Get<T>(c, op->Dst), (int)op->Imm));
        return op + 1;
    }

    public static Op* ShiftRegCl<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IShift
        where T : unmanaged
    {
        int count = (int)c->Gpr[1] & (sizeof(T) == 8 ? 63 : 31);
        T value = Get<T>(c, op->Dst);
        Set(c, op->Dst, count == 0 ? value : TOp.Execute(c, value, count));
        return op + 1;
    }

    public static Op* ShiftMem<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, IShift
        where T : unmanaged
    {
        int count = op->Src == OperandOffset.Rcx ? (int)c->Gpr[1] & (sizeof(T) == 8 ? 63 : 31) : (int)op->Imm;
        if (!GuestAccess.TryLinear(c, op, sizeof(T), write: true, out ulong linear))
            return Flow.Fault(c, op);
        T value;
        if (!SlowAccess.TryReadForWrite(c, linear, &value, sizeof(T)))
            return Flow.Fault(c, op);
        if (count != 0)
            value = TOp.Execute(c, value, count);
        SlowAccess.TryWrite(c, linear, &value, sizeof(T), Access.Write);
        return op + 1;
    }
}
