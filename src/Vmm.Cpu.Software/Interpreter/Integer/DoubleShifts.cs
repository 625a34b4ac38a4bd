using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// SHLD and SHRD. For 16-bit operands and counts above 16, where the manual leaves the result open, the source follows itself and CF is cleared,
// as on AMD's processors.

internal readonly unsafe struct Shld<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old), s = RegisterValue.Get<T>(c, op), r;
        bool cf;
        if (sizeof(T) == 2)
        {
            ulong whole = (a << 32) | (s << 16) | s;
            r = (whole << count) >> 32;
            cf = count <= 16 && ((whole >> (48 - count)) & 1) != 0;
        }
        else
        {
            r = (a << count) | (s >> (bits - count));
            cf = ((a >> (bits - count)) & 1) != 0;
        }
        T value = Operands.Truncate<T>(r);
        ulong sign = Operands.Sign(value);
        bool of = sizeof(T) == 2 && count >= 16 ? cf : cf != ((sign >> 63) != 0);
        Flags.Set(c, sign, cf, of, af: true);
        return value;
    }
}

internal readonly unsafe struct Shrd<TCount> : IReadModifyWrite
    where TCount : struct, IValue
{
    public static T Apply<T>(CpuContext* c, Op* op, T old)
        where T : unmanaged
    {
        int bits = sizeof(T) * 8;
        int count = (int)TCount.Get<byte>(c, op) & (sizeof(T) == 8 ? 63 : 31);
        if (count == 0)
            return old;
        ulong a = Operands.Zero(old), s = RegisterValue.Get<T>(c, op), r;
        bool cf;
        if (sizeof(T) == 2)
        {
            ulong whole = (s << 32) | (s << 16) | a;
            r = whole >> count;
            cf = count <= 16 && ((whole >> (count - 1)) & 1) != 0;
        }
        else
        {
            r = (a >> count) | (s << (bits - count));
            cf = ((a >> (count - 1)) & 1) != 0;
        }
        T value = Operands.Truncate<T>(r);
        ulong sign = Operands.Sign(value);
        bool second = ((r >> (bits - 2)) & 1) != 0;
        Flags.Set(c, sign, cf, second != ((sign >> 63) != 0), af: true);
        return value;
    }
}
