using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// The arithmetic instructions in their locked forms; the unlocked ones have handlers of their own with less indirection.

internal readonly unsafe struct Add<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), b = TValue.Get<T>(c, op), r = a + b;
        Carries.SetAdd<T>(c, a, b, r);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Adc<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), b = TValue.Get<T>(c, op), r = a + b + (Flags.GetCf(c) ? 1UL : 0);
        Carries.SetAdd<T>(c, a, b, r);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Sub<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), b = TValue.Get<T>(c, op), r = a - b;
        Carries.SetSubtract<T>(c, a, b, r);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Sbb<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), b = TValue.Get<T>(c, op), r = a - b - (Flags.GetCf(c) ? 1UL : 0);
        Carries.SetSubtract<T>(c, a, b, r);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct And<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        T r = Operands.Truncate<T>(Operands.Zero(old) & TValue.Get<T>(c, op));
        Flags.SetLogic(c, Operands.Sign(r));
        return r;
    }
}

internal readonly unsafe struct Or<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        T r = Operands.Truncate<T>(Operands.Zero(old) | TValue.Get<T>(c, op));
        Flags.SetLogic(c, Operands.Sign(r));
        return r;
    }
}

internal readonly unsafe struct Xor<TValue> : IReadModifyWrite
    where TValue : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        T r = Operands.Truncate<T>(Operands.Zero(old) ^ TValue.Get<T>(c, op));
        Flags.SetLogic(c, Operands.Sign(r));
        return r;
    }
}

internal readonly unsafe struct Inc : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), r = a + 1;
        Flags.SetCarriesKeepCf(c, Operands.Sign(Operands.Truncate<T>(r)), (a & 1) | ((a | 1) & ~r), sizeof(T) * 8);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Dec : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), r = a - 1;
        Flags.SetCarriesKeepCf(c, Operands.Sign(Operands.Truncate<T>(r)), (~a & 1) | ((~a | 1) & r), sizeof(T) * 8);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Neg : IReadModifyWrite
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong b = Operands.Zero(old), r = 0 - b;
        Carries.SetSubtract<T>(c, 0, b, r);
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Not : IReadModifyWrite
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => Operands.Truncate<T>(~Operands.Zero(old));
}
