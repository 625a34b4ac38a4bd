using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// Rotates (SDM vol. 2, RCL/RCR/ROL/ROR). The count is masked to 5 bits, 6 for 64-bit operands; a masked count of 0 changes no flag. OF, undefined
// for counts other than 1, follows the same expression for all counts, as on AMD's processors.

internal readonly unsafe struct Rol<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old);
        int n = count & (bits - 1);
        ulong r = n == 0 ? a : (a << n) | (a >> (bits - n));
        bool cf = (r & 1) != 0;
        Flags.SetCfOf(c, cf, cf ^ (((r >> (bits - 1)) & 1) != 0));
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Ror<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old);
        int n = count & (bits - 1);
        ulong r = n == 0 ? a : (a >> n) | (a << (bits - n));
        bool cf = ((r >> (bits - 1)) & 1) != 0;
        Flags.SetCfOf(c, cf, cf ^ (((r >> (bits - 2)) & 1) != 0));
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Rcl<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old);
        bool cf = Flags.GetCf(c);
        int n = count % (bits + 1);
        ulong r = a;
        if (n != 0)
        {
            r = (a << n) | ((cf ? 1UL : 0) << (n - 1)) | (n > 1 ? a >> (bits + 1 - n) : 0);
            cf = ((a >> (bits - n)) & 1) != 0;
        }
        Flags.SetCfOf(c, cf, cf ^ (((r >> (bits - 1)) & 1) != 0));
        return Operands.Truncate<T>(r);
    }
}

internal readonly unsafe struct Rcr<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old);
        bool cf = Flags.GetCf(c);
        int n = count % (bits + 1);
        ulong r = a;
        if (n != 0)
        {
            r = (a >> n) | ((cf ? 1UL : 0) << (bits - n)) | (n > 1 ? a << (bits + 1 - n) : 0);
            cf = ((a >> (n - 1)) & 1) != 0;
        }
        bool top = ((r >> (bits - 1)) & 1) != 0;
        Flags.SetCfOf(c, cf, top ^ (((r >> (bits - 2)) & 1) != 0));
        return Operands.Truncate<T>(r);
    }
}
