using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// Divisions leave all flags undefined; these do what AMD's processors do: CF and OF stay, AF is set, the others cleared.

/// <summary>DIV.</summary>
internal readonly unsafe struct Div : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong b = Operands.Zero(source);
        ulong quotient, remainder;
        if (sizeof(T) == 1)
        {
            ulong a = (ushort)c->Gpr[0];
            if (b == 0 || (a >> 8) >= b)
                return false;
            *(ushort*)c->Gpr = (ushort)((a / b) | ((a % b) << 8));
            Division.SetFlags(c);
            return true;
        }
        ulong low = Operands.Zero(Operands.Get<T>(c, OperandOffset.Rax));
        ulong high = Operands.Zero(Operands.Get<T>(c, OperandOffset.Rdx));
        if (high >= b)
            return false;
        if (sizeof(T) == 8)
            (quotient, remainder) = Division.Divide(high, low, b);
        else
            (quotient, remainder) = Math.DivRem((high << (sizeof(T) * 8)) | low, b);
        Operands.Set(c, OperandOffset.Rax, Operands.Truncate<T>(quotient));
        Operands.Set(c, OperandOffset.Rdx, Operands.Truncate<T>(remainder));
        Division.SetFlags(c);
        return true;
    }
}

/// <summary>IDIV.</summary>
internal readonly unsafe struct Idiv : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong divisor = Operands.Sign(source);
        ulong low, high;
        if (sizeof(T) == 1)
        {
            low = (ulong)(short)c->Gpr[0];
            high = (ulong)((long)low >> 63);
        }
        else if (sizeof(T) == 8)
        {
            low = c->Gpr[0];
            high = c->Gpr[2];
        }
        else
        {
            low = Operands.Zero(Operands.Get<T>(c, OperandOffset.Rax)) | (Operands.Sign(Operands.Get<T>(c, OperandOffset.Rdx)) << (sizeof(T) * 8));
            high = (ulong)((long)low >> 63);
        }
        bool negative = (long)high < 0;
        bool opposite = negative != ((long)divisor < 0);
        if (negative)
        {
            high = ~high + (low == 0 ? 1UL : 0);
            low = 0 - low;
        }
        ulong magnitude = (long)divisor < 0 ? 0 - divisor : divisor;
        if (high >= magnitude)
            return false;
        var (quotient, remainder) = Division.Divide(high, low, magnitude);
        // The quotient's magnitude may be 2^(n-1) only when it is negative.
        ulong limit = 1UL << ((sizeof(T) * 8) - 1);
        if (quotient > limit || (quotient == limit && !opposite))
            return false;
        quotient = opposite ? 0 - quotient : quotient;
        remainder = negative ? 0 - remainder : remainder;
        if (sizeof(T) == 1)
        {
            *(ushort*)c->Gpr = (ushort)((byte)quotient | (remainder << 8));
        }
        else
        {
            Operands.Set(c, OperandOffset.Rax, Operands.Truncate<T>(quotient));
            Operands.Set(c, OperandOffset.Rdx, Operands.Truncate<T>(remainder));
        }
        Division.SetFlags(c);
        return true;
    }
}

internal static unsafe class Division
{
    /// <summary>Divides 128 bits by 64. The high word must be below the divisor, so that the quotient fits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static (ulong Quotient, ulong Remainder) Divide(ulong high, ulong low, ulong divisor)
        => high == 0 ? Math.DivRem(low, divisor) : DivideWide(high, low, divisor);

    public static void SetFlags(CpuContext* c) => Flags.SetResultKeepCfOf(c, 1, af: true);

    private static (ulong Quotient, ulong Remainder) DivideWide(ulong high, ulong low, ulong divisor)
    {
        UInt128 dividend = new(high, low);
        ulong quotient = (ulong)(dividend / divisor);
        return (quotient, low - (quotient * divisor));
    }
}
