using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>Flags of additions and subtractions on operands widened to 64 bits.</summary>
internal static unsafe class Carries
{
    /// <summary>Flags of r = a + b + carry in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetAdd<T>(CpuContext* c, ulong a, ulong b, ulong r)
        where T : unmanaged
        => Flags.SetCarries(c, Operands.Sign(Operands.Truncate<T>(r)), (a & b) | ((a | b) & ~r), sizeof(T) * 8);

    /// <summary>Flags of r = a - b - borrow in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetSubtract<T>(CpuContext* c, ulong a, ulong b, ulong r)
        where T : unmanaged
        => Flags.SetCarries(c, Operands.Sign(Operands.Truncate<T>(r)), (~a & b) | ((~a | b) & r), sizeof(T) * 8);
}
