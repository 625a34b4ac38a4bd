using System.Numerics;
using System.Runtime.Intrinsics.X86;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

// BMI1, BMI2, ADX and CRC32. VEX-coded: Dst is the destination, Extra the byte offset of the other register operand.

/// <summary>ANDN: Extra is the inverted first source.</summary>
internal readonly unsafe struct Andn : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        T r = Operands.Truncate<T>(~Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)) & Operands.Zero(source));
        Operands.Set(c, op->Dst, r);
        Flags.SetLogic(c, Operands.Sign(r));
        return true;
    }
}

/// <summary>BEXTR: Extra holds start and length.</summary>
internal readonly unsafe struct Bextr : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong control = Operands.Zero(Operands.Get<T>(c, (byte)op->Extra));
        int start = (int)(control & 0xFF), length = (int)((control >> 8) & 0xFF);
        ulong a = start < 64 ? Operands.Zero(source) >> start : 0;
        if (length < 64)
            a &= (1UL << length) - 1;
        T r = Operands.Truncate<T>(a);
        Operands.Set(c, op->Dst, r);
        // SF and AF are undefined: clear and set as on AMD's processors.
        ulong sign = Operands.Sign(r);
        Flags.Set(c, sign, cf: false, of: false, af: true);
        c->FlagAux |= (uint)(sign >> 63);
        return true;
    }
}

/// <summary>BLSI: isolates the lowest set bit.</summary>
internal readonly unsafe struct Blsi : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        T r = Operands.Truncate<T>(a & (0 - a));
        Operands.Set(c, op->Dst, r);
        Flags.Set(c, Operands.Sign(r), cf: a != 0, of: false, af: false);
        return true;
    }
}

/// <summary>BLSMSK: mask up to the lowest set bit.</summary>
internal readonly unsafe struct Blsmsk : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        T r = Operands.Truncate<T>(a ^ (a - 1));
        Operands.Set(c, op->Dst, r);
        Flags.Set(c, Operands.Sign(r), cf: a == 0, of: false, af: false);
        return true;
    }
}

/// <summary>BLSR: clears the lowest set bit.</summary>
internal readonly unsafe struct Blsr : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        T r = Operands.Truncate<T>(a & (a - 1));
        Operands.Set(c, op->Dst, r);
        Flags.Set(c, Operands.Sign(r), cf: a == 0, of: false, af: false);
        return true;
    }
}

/// <summary>BZHI: Extra holds the index from which bits are cleared.</summary>
internal readonly unsafe struct Bzhi : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        int n = (byte)Operands.Zero(Operands.Get<T>(c, (byte)op->Extra));
        bool beyond = n > (sizeof(T) * 8) - 1;
        ulong a = Operands.Zero(source);
        T r = Operands.Truncate<T>(beyond ? a : a & ((1UL << n) - 1));
        Operands.Set(c, op->Dst, r);
        Flags.Set(c, Operands.Sign(r), cf: beyond, of: false, af: false);
        return true;
    }
}

/// <summary>PDEP: Extra is the source, the operand the mask.</summary>
internal readonly unsafe struct Pdep : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong value = Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)), mask = Operands.Zero(source);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitDeposit(value, mask) : Deposit(value, mask)));
        return true;
    }

    internal static ulong Deposit(ulong value, ulong mask)
    {
        ulong result = 0;
        for (; mask != 0; mask &= mask - 1, value >>= 1)
        {
            if ((value & 1) != 0)
                result |= mask & (0 - mask);
        }
        return result;
    }
}

/// <summary>PEXT: Extra is the source, the operand the mask.</summary>
internal readonly unsafe struct Pext : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong value = Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)), mask = Operands.Zero(source);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(Bmi2.X64.IsSupported ? Bmi2.X64.ParallelBitExtract(value, mask) : Extract(value, mask)));
        return true;
    }

    internal static ulong Extract(ulong value, ulong mask)
    {
        ulong result = 0;
        for (int i = 0; mask != 0; mask &= mask - 1, i++)
        {
            if ((value & mask & (0 - mask)) != 0)
                result |= 1UL << i;
        }
        return result;
    }
}

/// <summary>RORX: rotates right by an immediate, no flags.</summary>
internal readonly unsafe struct Rorx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        ulong a = Operands.Zero(source);
        ulong r = sizeof(T) == 8 ? BitOperations.RotateRight(a, (int)op->Imm) : BitOperations.RotateRight((uint)a, (int)op->Imm);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(r));
        return true;
    }
}

/// <summary>SHLX: Extra holds the count.</summary>
internal readonly unsafe struct Shlx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        int n = (int)Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)) & ((sizeof(T) * 8) - 1);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(Operands.Zero(source) << n));
        return true;
    }
}

/// <summary>SHRX.</summary>
internal readonly unsafe struct Shrx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        int n = (int)Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)) & ((sizeof(T) * 8) - 1);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(Operands.Zero(source) >> n));
        return true;
    }
}

/// <summary>SARX.</summary>
internal readonly unsafe struct Sarx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        int n = (int)Operands.Zero(Operands.Get<T>(c, (byte)op->Extra)) & ((sizeof(T) * 8) - 1);
        Operands.Set(c, op->Dst, Operands.Truncate<T>((ulong)((long)Operands.Sign(source) >> n)));
        return true;
    }
}

/// <summary>ADCX: adds with CF, changes CF alone.</summary>
internal readonly unsafe struct Adcx : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        bool carry = CarryChain.Add(c, op, source, Flags.GetCf(c));
        Flags.SetCf(c, carry);
        return true;
    }
}

/// <summary>ADOX: adds with OF, changes OF alone.</summary>
internal readonly unsafe struct Adox : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        bool carry = CarryChain.Add(c, op, source, Flags.GetOf(c));
        Flags.SetCfOf(c, Flags.GetCf(c), carry);
        return true;
    }
}

internal static unsafe class CarryChain
{
    public static bool Add<T>(CpuContext* c, Op* op, T source, bool carryIn)
        where T : unmanaged
    {
        ulong a = Operands.Zero(Operands.Get<T>(c, op->Dst)), b = Operands.Zero(source), r = a + b + (carryIn ? 1UL : 0);
        Operands.Set(c, op->Dst, Operands.Truncate<T>(r));
        return ((((a & b) | ((a | b) & ~r)) >> ((sizeof(T) * 8) - 1)) & 1) != 0;
    }
}

/// <summary>CRC32 (Castagnoli). The destination is cleared above bit 31.</summary>
internal readonly unsafe struct Crc32 : ILoadOperate
{
    public static bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged
    {
        uint crc = Operands.Get<uint>(c, op->Dst);
        ulong data = Operands.Zero(source);
        Operands.Set(c, op->Dst, sizeof(T) switch
        {
            1 => BitOperations.Crc32C(crc, (byte)data),
            2 => BitOperations.Crc32C(crc, (ushort)data),
            4 => BitOperations.Crc32C(crc, (uint)data),
            _ => BitOperations.Crc32C(crc, data),
        });
        return true;
    }
}
