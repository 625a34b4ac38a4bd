using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>A binary operation on 128 bits: the integer instructions that string functions and kernels use most, without a stub.</summary>
internal interface IBinary128
{
    /// <summary>The result for first and second source.</summary>
    static abstract Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b);
}

/// <summary>Handlers of <see cref="IBinary128"/>: legacy form (destination is the first source) and VEX.128 form.</summary>
internal static unsafe class IntegerHandlers
{
    /// <summary>op xmm1, xmm2.</summary>
    public static Op* Register<TOp>(CpuContext* c, Op* op)
        where TOp : IBinary128
    {
        if (Closed(c, op))
            return GateFault(c, op);
        var d = (Vector128<byte>*)At(c, op, 0);
        *d = TOp.Apply(*d, *(Vector128<byte>*)At(c, op, 1));
        return op + 1;
    }

    /// <summary>op xmm, m128.</summary>
    public static Op* Load<TOp>(CpuContext* c, Op* op)
        where TOp : IBinary128
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out Vector128<byte> b))
            return Flow.Fault(c, op);
        var d = (Vector128<byte>*)At(c, op, 0);
        *d = TOp.Apply(*d, b);
        return op + 1;
    }

    /// <summary>vop xmm1, xmm2, xmm3.</summary>
    public static Op* VexRegister<TOp>(CpuContext* c, Op* op)
        where TOp : IBinary128
    {
        if (Closed(c, op))
            return GateFault(c, op);
        var d = (Vector128<byte>*)At(c, op, 0);
        *d = TOp.Apply(*(Vector128<byte>*)At(c, op, 1), *(Vector128<byte>*)At(c, op, 2));
        d[1] = default;
        return op + 1;
    }

    /// <summary>vop xmm1, xmm2, m128.</summary>
    public static Op* VexLoad<TOp>(CpuContext* c, Op* op)
        where TOp : IBinary128
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out Vector128<byte> b))
            return Flow.Fault(c, op);
        var d = (Vector128<byte>*)At(c, op, 0);
        *d = TOp.Apply(*(Vector128<byte>*)At(c, op, 1), b);
        d[1] = default;
        return op + 1;
    }

    /// <summary>PMOVMSKB r, xmm.</summary>
    public static Op* MoveMask(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        *(ulong*)At(c, op, 0) = Vector128.ExtractMostSignificantBits(*(Vector128<byte>*)At(c, op, 1));
        return op + 1;
    }
}

internal readonly struct PXor : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a ^ b;
}

internal readonly struct PAnd : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a & b;
}

internal readonly struct PAndN : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => ~a & b;
}

internal readonly struct POr : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a | b;
}

internal readonly struct PAddB : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a + b;
}

internal readonly struct PAddW : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.AsUInt16() + b.AsUInt16()).AsByte();
}

internal readonly struct PAddD : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.AsUInt32() + b.AsUInt32()).AsByte();
}

internal readonly struct PAddQ : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.AsUInt64() + b.AsUInt64()).AsByte();
}

internal readonly struct PSubB : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a - b;
}

internal readonly struct PSubD : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.AsUInt32() - b.AsUInt32()).AsByte();
}

internal readonly struct PSubQ : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.AsUInt64() - b.AsUInt64()).AsByte();
}

internal readonly struct PCmpEqB : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Equals(a, b);
}

internal readonly struct PCmpEqW : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Equals(a.AsUInt16(), b.AsUInt16()).AsByte();
}

internal readonly struct PCmpEqD : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Equals(a.AsUInt32(), b.AsUInt32()).AsByte();
}

internal readonly struct PMinUB : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.Min(a, b);
}

internal readonly struct PMaxUB : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.Max(a, b);
}

internal readonly struct PUnpckLbw : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.UnpackLow(a, b);
}

internal readonly struct PUnpckLwd : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.UnpackLow(a.AsUInt16(), b.AsUInt16()).AsByte();
}

internal readonly struct PUnpckLdq : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.UnpackLow(a.AsUInt32(), b.AsUInt32()).AsByte();
}

internal readonly struct PUnpckLqdq : IBinary128
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Sse2.UnpackLow(a.AsUInt64(), b.AsUInt64()).AsByte();
}
