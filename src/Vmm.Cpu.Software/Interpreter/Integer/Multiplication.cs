using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// Multiplications set CF and OF; the other flags, which the manual leaves undefined, stay as on AMD's processors.

/// <summary>MUL: accumulator times the operand.</summary>
internal readonly unsafe struct Mul : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong b = Operands.Zero(source);
        bool wide;
        if (sizeof(T) == 1)
        {
            ulong r = (byte)c->Gpr[0] * b;
            *(ushort*)c->Gpr = (ushort)r;
            wide = r > 0xFF;
        }
        else if (sizeof(T) == 8)
        {
            ulong high = Math.BigMul(c->Gpr[0], b, out ulong low);
            c->Gpr[0] = low;
            c->Gpr[2] = high;
            wide = high != 0;
        }
        else
        {
            ulong r = Operands.Zero(Operands.Get<T>(c, OperandOffset.Rax)) * b;
            ulong high = r >> (sizeof(T) * 8);
            Operands.Set(c, OperandOffset.Rax, Operands.Truncate<T>(r));
            Operands.Set(c, OperandOffset.Rdx, Operands.Truncate<T>(high));
            wide = high != 0;
        }
        Flags.SetCfOf(c, wide, wide);
        return true;
    }
}

/// <summary>IMUL with one operand.</summary>
internal readonly unsafe struct Imul1 : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        long b = (long)Operands.Sign(source);
        bool wide;
        if (sizeof(T) == 1)
        {
            long r = (sbyte)c->Gpr[0] * b;
            *(ushort*)c->Gpr = (ushort)r;
            wide = r != (sbyte)r;
        }
        else if (sizeof(T) == 8)
        {
            long high = Math.BigMul((long)c->Gpr[0], b, out long low);
            c->Gpr[0] = (ulong)low;
            c->Gpr[2] = (ulong)high;
            wide = high != low >> 63;
        }
        else
        {
            long r = (long)Operands.Sign(Operands.Get<T>(c, OperandOffset.Rax)) * b;
            T low = Operands.Truncate<T>((ulong)r);
            Operands.Set(c, OperandOffset.Rax, low);
            Operands.Set(c, OperandOffset.Rdx, Operands.Truncate<T>((ulong)(r >> (sizeof(T) * 8))));
            wide = r != (long)Operands.Sign(low);
        }
        Flags.SetCfOf(c, wide, wide);
        return true;
    }
}

/// <summary>IMUL reg, r/m.</summary>
internal readonly unsafe struct Imul2 : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        Multiplication.Truncating<T>(c, op, (long)Operands.Sign(Operands.Get<T>(c, op->Dst)), (long)Operands.Sign(source));
        return true;
    }
}

/// <summary>IMUL reg, r/m, imm.</summary>
internal readonly unsafe struct Imul3 : ILoadOperate
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        Multiplication.Truncating<T>(c, op, (long)Operands.Sign(Operands.Truncate<T>(op->Imm)), (long)Operands.Sign(source));
        return true;
    }
}

/// <summary>MULX: no flags.</summary>
internal readonly unsafe struct Mulx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong high, low;
        if (sizeof(T) == 8)
        {
            high = Math.BigMul(c->Gpr[2], Operands.Zero(source), out low);
        }
        else
        {
            low = (uint)c->Gpr[2] * Operands.Zero(source);
            high = low >> 32;
        }
        // The high half last: it stays when both destinations are the same.
        Operands.Set(c, (byte)op->Extra, Operands.Truncate<T>(low));
        Operands.Set(c, op->Dst, Operands.Truncate<T>(high));
        return true;
    }
}

internal static unsafe class Multiplication
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Truncating<T>(CpuContext* c, Op* op, long a, long b)
        where T : unmanaged
    {
        bool wide;
        T result;
        if (sizeof(T) == 8)
        {
            long high = Math.BigMul(a, b, out long low);
            wide = high != low >> 63;
            result = Operands.Truncate<T>((ulong)low);
        }
        else
        {
            long r = a * b;
            result = Operands.Truncate<T>((ulong)r);
            wide = r != (long)Operands.Sign(result);
        }
        Operands.Set(c, op->Dst, result);
        Flags.SetCfOf(c, wide, wide);
    }
}
