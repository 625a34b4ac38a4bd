using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>What a write to an XMM register does with the upper half of the YMM register.</summary>
internal unsafe interface IUpperHalf
{
    /// <summary>Acts on the register at <paramref name="destination"/>.</summary>
    static abstract void Finish(byte* destination);
}

/// <summary>Legacy SSE: it stays.</summary>
internal readonly unsafe struct KeepUpper : IUpperHalf
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish(byte* destination)
    {
    }
}

/// <summary>VEX: it becomes zero.</summary>
internal readonly unsafe struct ClearUpper : IUpperHalf
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish(byte* destination) => *(Vector128<byte>*)(destination + 16) = default;
}

/// <summary>Plain moves between vector registers, general registers and memory, without a stub.</summary>
internal static unsafe class MoveHandlers
{
    /// <summary>MOVAPS and its likes, register to register.</summary>
    public static Op* Register128<TUpper>(CpuContext* c, Op* op)
        where TUpper : IUpperHalf
    {
        if (Closed(c, op))
            return GateFault(c, op);
        byte* d = At(c, op, 0);
        *(Vector128<byte>*)d = *(Vector128<byte>*)At(c, op, 1);
        TUpper.Finish(d);
        return op + 1;
    }

    /// <summary>MOVAPS, MOVUPS and their likes from memory.</summary>
    public static Op* Load128<TUpper>(CpuContext* c, Op* op)
        where TUpper : IUpperHalf
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out Vector128<byte> value))
            return Flow.Fault(c, op);
        byte* d = At(c, op, 0);
        *(Vector128<byte>*)d = value;
        TUpper.Finish(d);
        return op + 1;
    }

    /// <summary>MOVAPS, MOVUPS and their likes to memory.</summary>
    public static Op* Store128(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return TryWrite(c, op, *(Vector128<byte>*)At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>256-bit register to register.</summary>
    public static Op* Register256(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        *(Vector256<byte>*)At(c, op, 0) = *(Vector256<byte>*)At(c, op, 1);
        return op + 1;
    }

    /// <summary>256-bit from memory.</summary>
    public static Op* Load256(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out Vector256<byte> value))
            return Flow.Fault(c, op);
        *(Vector256<byte>*)At(c, op, 0) = value;
        return op + 1;
    }

    /// <summary>256-bit to memory.</summary>
    public static Op* Store256(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return TryWrite(c, op, *(Vector256<byte>*)At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>MOVD, MOVQ, MOVSS, MOVSD from a register or memory, zero-extended to 128 bits.</summary>
    public static Op* ScalarRegister<T, TUpper>(CpuContext* c, Op* op)
        where T : unmanaged
        where TUpper : IUpperHalf
    {
        if (Closed(c, op))
            return GateFault(c, op);
        SetScalar<TUpper>(At(c, op, 0), Operands.Zero(*(T*)At(c, op, 1)));
        return op + 1;
    }

    /// <summary>As <see cref="ScalarRegister{T, TUpper}"/>, from memory.</summary>
    public static Op* ScalarLoad<T, TUpper>(CpuContext* c, Op* op)
        where T : unmanaged
        where TUpper : IUpperHalf
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out T value))
            return Flow.Fault(c, op);
        SetScalar<TUpper>(At(c, op, 0), Operands.Zero(value));
        return op + 1;
    }

    /// <summary>The low element to memory.</summary>
    public static Op* ScalarStore<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return TryWrite(c, op, *(T*)At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>The low element to a general register, zero-extended.</summary>
    public static Op* ScalarToGeneral<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (Closed(c, op))
            return GateFault(c, op);
        *(ulong*)At(c, op, 0) = Operands.Zero(*(T*)At(c, op, 1));
        return op + 1;
    }

    /// <summary>MOVLPS, MOVLPD, MOVHPS, MOVHPD from memory (legacy form); <see cref="Op.Extra"/> bits 15:8 give the byte offset, 0 or 8.</summary>
    public static Op* HalfLoad(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (!TryRead(c, op, out ulong value))
            return Flow.Fault(c, op);
        *(ulong*)(At(c, op, 0) + (op->Extra >> 8)) = value;
        return op + 1;
    }

    /// <summary>MOVHPS, MOVHPD and so on to memory.</summary>
    public static Op* HalfStore(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return TryWrite(c, op, *(ulong*)(At(c, op, 1) + (op->Extra >> 8))) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>VZEROUPPER.</summary>
    public static Op* ZeroUpper(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        Zero(c, op, keepLow: true);
        return op + 1;
    }

    /// <summary>VZEROALL.</summary>
    public static Op* ZeroAll(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        Zero(c, op, keepLow: false);
        return op + 1;
    }

    // Outside 64-bit mode only YMM0-YMM7 are touched (SDM vol. 2C, VZEROUPPER).
    private static void Zero(CpuContext* c, Op* op, bool keepLow)
    {
        int count = c->CodeBits == 64 ? 16 : 8;
        byte* v = &c->Vectors.First;
        for (int i = 0; i < count; i++, v += 32)
        {
            if (!keepLow)
                *(Vector128<byte>*)v = default;
            *(Vector128<byte>*)(v + 16) = default;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetScalar<TUpper>(byte* d, ulong value)
        where TUpper : IUpperHalf
    {
        *(Vector128<ulong>*)d = Vector128.CreateScalar(value);
        TUpper.Finish(d);
    }
}
