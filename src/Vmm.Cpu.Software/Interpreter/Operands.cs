using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Register operands by byte offset, and conversions between the four operand types.</summary>
internal static unsafe class Operands
{
    /// <summary>Reads a register operand.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Get<T>(CpuContext* c, byte offset)
        where T : unmanaged
        => *(T*)((byte*)c + offset);

    /// <summary>Writes a register operand; a 32-bit write clears the upper half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set<T>(CpuContext* c, byte offset, T value)
        where T : unmanaged
    {
        if (sizeof(T) == 4)
            *(ulong*)((byte*)c + offset) = Unsafe.BitCast<T, uint>(value);
        else
            *(T*)((byte*)c + offset) = value;
    }

    /// <summary>Zero-extends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Zero<T>(T value)
        where T : unmanaged
    {
        if (sizeof(T) == 1)
            return Unsafe.BitCast<T, byte>(value);
        if (sizeof(T) == 2)
            return Unsafe.BitCast<T, ushort>(value);
        if (sizeof(T) == 4)
            return Unsafe.BitCast<T, uint>(value);
        return Unsafe.BitCast<T, ulong>(value);
    }

    /// <summary>Sign-extends.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Sign<T>(T value)
        where T : unmanaged
    {
        if (sizeof(T) == 1)
            return (ulong)Unsafe.BitCast<T, sbyte>(value);
        if (sizeof(T) == 2)
            return (ulong)Unsafe.BitCast<T, short>(value);
        if (sizeof(T) == 4)
            return (ulong)Unsafe.BitCast<T, int>(value);
        return Unsafe.BitCast<T, ulong>(value);
    }

    /// <summary>Truncates.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Truncate<T>(ulong value)
        where T : unmanaged
    {
        if (sizeof(T) == 1)
            return Unsafe.BitCast<byte, T>((byte)value);
        if (sizeof(T) == 2)
            return Unsafe.BitCast<ushort, T>((ushort)value);
        if (sizeof(T) == 4)
            return Unsafe.BitCast<uint, T>((uint)value);
        return Unsafe.BitCast<ulong, T>(value);
    }
}
