using System.Numerics;
using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>How a bit instruction addresses its bit: with memory, a register index reaches beyond the operand (a bit string).</summary>
internal static unsafe class BitString
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Displacement<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => (ulong)(((long)Operands.Sign(Operands.Get<T>(c, op->Src)) >> BitOperations.Log2((uint)sizeof(T) * 8)) * sizeof(T));

    /// <summary>BT reg, reg or imm.</summary>
    public static Op* TestRegister<TIndex, T>(CpuContext* c, Op* op)
        where TIndex : struct, IValue
        where T : unmanaged
    {
        SetCf<TIndex, T>(c, op, Operands.Get<T>(c, op->Dst));
        return op + 1;
    }

    /// <summary>BT mem, reg.</summary>
    public static Op* TestString<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong linear = GuestAccess.Effective(c, op) + Displacement<T>(c, op);
        if (op->AddressKind != AddressKind.Flat64 && !SegmentedAccess.TryLinear(c, op, ref linear, sizeof(T), write: false))
            return Flow.Fault(c, op);
        if (!GuestAccess.TryReadLinear(c, linear, out T value))
            return Flow.Fault(c, op);
        SetCf<RegisterValue, T>(c, op, value);
        return op + 1;
    }

    /// <summary>BT mem, imm.</summary>
    public static Op* TestMemory<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out T value))
            return Flow.Fault(c, op);
        SetCf<ImmediateValue, T>(c, op, value);
        return op + 1;
    }

    /// <summary>The addressed bit in place.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mask<TIndex, T>(CpuContext* c, Op* op)
        where TIndex : struct, IValue
        where T : unmanaged
        => 1UL << ((int)TIndex.Get<T>(c, op) & ((sizeof(T) * 8) - 1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetCf<TIndex, T>(CpuContext* c, Op* op, T value)
        where TIndex : struct, IValue
        where T : unmanaged
        => Flags.SetCf(c, (Operands.Zero(value) & Mask<TIndex, T>(c, op)) != 0);
}

/// <summary>What a bit instruction does with its bit.</summary>
internal interface IBitChange
{
    static abstract ulong Change(ulong value, ulong mask);
}

internal readonly struct SetBit : IBitChange
{
    public static ulong Change(ulong value, ulong mask) => value | mask;
}

internal readonly struct ResetBit : IBitChange
{
    public static ulong Change(ulong value, ulong mask) => value & ~mask;
}

internal readonly struct ComplementBit : IBitChange
{
    public static ulong Change(ulong value, ulong mask) => value ^ mask;
}

/// <summary>BTS, BTR, BTC with an immediate index, or a register index on a register.</summary>
internal readonly unsafe struct BitTest<TIndex, TChange> : IReadModifyWrite
    where TIndex : struct, IValue
    where TChange : struct, IBitChange
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        ulong a = Operands.Zero(old), mask = BitString.Mask<TIndex, T>(c, op);
        Flags.SetCf(c, (a & mask) != 0);
        return Operands.Truncate<T>(TChange.Change(a, mask));
    }
}

/// <summary>BTS, BTR, BTC on memory with a register index.</summary>
internal readonly unsafe struct BitStringTest<TChange> : IReadModifyWrite
    where TChange : struct, IBitChange
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => BitTest<RegisterValue, TChange>.Apply(c, op, old);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Displacement<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => BitString.Displacement<T>(c, op);
}

/// <summary>BSF. With a zero source the destination stays whole, upper half included.</summary>
internal readonly unsafe struct Bsf : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        if (a != 0)
        {
            int index = BitOperations.TrailingZeroCount(a);
            Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)index));
            BitCounts.SetFound(c, index);
            return true;
        }
        Flags.SetLogic(c, 0);
        return true;
    }
}

/// <summary>BSR.</summary>
internal readonly unsafe struct Bsr : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        if (a != 0)
        {
            int index = BitOperations.Log2(a);
            Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)index));
            BitCounts.SetFound(c, index);
            return true;
        }
        Flags.SetLogic(c, 0);
        return true;
    }
}

/// <summary>TZCNT.</summary>
internal readonly unsafe struct Tzcnt : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        int n = a == 0 ? sizeof(T) * 8 : BitOperations.TrailingZeroCount(a);
        Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)n));
        Flags.Set(c, n == 0 ? 0 : 1UL, a == 0, Flags.GetOf(c), af: false);
        BitCounts.ClearPf(c, n == 0);
        return true;
    }
}

/// <summary>LZCNT.</summary>
internal readonly unsafe struct Lzcnt : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        int n = BitOperations.LeadingZeroCount(a) - (64 - (sizeof(T) * 8));
        Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)n));
        Flags.Set(c, n == 0 ? 0 : 1UL, a == 0, Flags.GetOf(c), af: false);
        BitCounts.ClearPf(c, n == 0);
        return true;
    }
}

/// <summary>POPCNT.</summary>
internal readonly unsafe struct Popcnt : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)BitOperations.PopCount(a)));
        Flags.SetArithmetic(c, a == 0 ? Flags.Zf : 0);
        return true;
    }
}

internal static unsafe class BitCounts
{
    /// <summary>Flags of BSF and BSR that found a bit: ZF is clear; PF, undefined by the manual, is the index's as on AMD's processors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetFound(CpuContext* c, int index)
    {
        c->FlagResult = 1;
        c->FlagAux = (uint)(1 ^ index) << 8;
    }

    /// <summary>Clears PF, which a zero result would set.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ClearPf(CpuContext* c, bool zeroResult)
    {
        if (zeroResult)
            c->FlagAux |= 0x100;
    }
}

/// <summary>BSWAP; with a 16-bit operand, undefined by the manual, the result is 0 as on AMD's processors.</summary>
internal readonly unsafe struct Bswap : IReadModifyWrite
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
        => sizeof(T) == 2 ? default : ByteOrder.Reverse(old);
}

/// <summary>MOVBE reg, mem.</summary>
internal readonly unsafe struct MovbeLoad : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        Operands.Set(c, op->Dst, ByteOrder.Reverse(source));
        return true;
    }
}

internal static unsafe class ByteOrder
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Reverse<T>(T value)
        where T : unmanaged
        => Operands.Truncate<T>(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(Operands.Zero(value)) >> (64 - (sizeof(T) * 8)));

    /// <summary>MOVBE mem, reg.</summary>
    public static Op* MovbeStore<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, Reverse(Operands.Get<T>(c, op->Src))) ? op + 1 : Flow.Fault(c, op);

    /// <summary>MOVNTI.</summary>
    public static Op* Movnti<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, Operands.Get<T>(c, op->Src)) ? op + 1 : Flow.Fault(c, op);
}
