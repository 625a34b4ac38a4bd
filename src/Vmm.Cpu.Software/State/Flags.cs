using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vmm.Cpu.Software.State;

/// <summary>
/// Arithmetic flags in lazy form. An arithmetic instruction stores its result, sign-extended to 64 bits, and what the result does
/// not tell: bit 31 of the aux word is CF, bit 30 is CF xor OF, bit 3 is AF, bits 15:8 are xored with the result's low byte to give the byte whose
/// parity is PF, and bit 0 is xored with the result's sign to give SF. The upper two bits and AF are just bits of the vector of carries out of each
/// position, so one expression serves all widths.
/// </summary>
internal static unsafe class Flags
{
    public const ulong Cf = 1;
    public const ulong Pf = 4;
    public const ulong Af = 0x10;
    public const ulong Zf = 0x40;
    public const ulong Sf = 0x80;
    public const ulong Tf = 0x100;
    public const ulong If = 0x200;
    public const ulong Df = 0x400;
    public const ulong Of = 0x800;
    public const ulong Iopl = 0x3000;
    public const ulong Nt = 0x4000;
    public const ulong Rf = 0x10000;
    public const ulong Vm = 0x20000;
    public const ulong Ac = 0x40000;
    public const ulong Vif = 0x80000;
    public const ulong Vip = 0x100000;
    public const ulong Id = 0x200000;

    /// <summary>CF, PF, AF, ZF, SF, OF.</summary>
    public const ulong Arithmetic = Cf | Pf | Af | Zf | Sf | Of;

    private const uint AuxCf = 0x80000000;
    private const uint AuxPo = 0x40000000;
    private const uint AuxAf = 8;

    /// <summary>Flags of a result without carries: logic operations (CF = OF = AF = 0).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetLogic(CpuContext* c, ulong signExtendedResult)
    {
        c->FlagResult = signExtendedResult;
        c->FlagAux = 0;
    }

    /// <summary>Flags of an addition or subtraction from the vector of carries (borrows) out of each bit.</summary>
    /// <param name="c">The CPU.</param>
    /// <param name="signExtendedResult">The result, sign-extended from <paramref name="bits"/>.</param>
    /// <param name="carries">Bit i is the carry out of bit i.</param>
    /// <param name="bits">8, 16, 32 or 64: a constant, so that this folds.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetCarries(CpuContext* c, ulong signExtendedResult, ulong carries, int bits)
    {
        c->FlagResult = signExtendedResult;
        uint top = bits == 64 ? (uint)(carries >> 32) : (uint)carries << (32 - bits);
        c->FlagAux = (top & (AuxCf | AuxPo)) | ((uint)carries & AuxAf);
    }

    /// <summary>Sets result flags (ZF, SF, PF) from a result and CF, OF, AF explicitly.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set(CpuContext* c, ulong signExtendedResult, bool cf, bool of, bool af)
    {
        c->FlagResult = signExtendedResult;
        c->FlagAux = (cf ? AuxCf : 0) | (cf != of ? AuxPo : 0) | (af ? AuxAf : 0);
    }

    /// <summary>As <see cref="SetCarries"/> but CF stays as it was (INC, DEC).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetCarriesKeepCf(CpuContext* c, ulong signExtendedResult, ulong carries, int bits)
    {
        bool cf = GetCf(c);
        uint top = bits == 64 ? (uint)(carries >> 32) : (uint)carries << (32 - bits);
        bool of = (top >> 31) != ((top >> 30) & 1);
        Set(c, signExtendedResult, cf, of, (carries & AuxAf) != 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetCf(CpuContext* c) => (int)c->FlagAux < 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetOf(CpuContext* c) => ((c->FlagAux ^ (c->FlagAux << 1)) & AuxCf) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetZf(CpuContext* c) => c->FlagResult == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetSf(CpuContext* c) => ((c->FlagResult >> 63) ^ (c->FlagAux & 1)) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetAf(CpuContext* c) => (c->FlagAux & AuxAf) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetPf(CpuContext* c) => (BitOperations.PopCount((byte)(c->FlagResult ^ (c->FlagAux >> 8))) & 1) == 0;

    /// <summary>Sets CF alone.</summary>
    public static void SetCf(CpuContext* c, bool value)
    {
        // Bit 30 holds CF xor OF, so it flips with CF when OF is to stay.
        if (GetCf(c) != value)
            c->FlagAux ^= AuxCf | AuxPo;
    }

    /// <summary>Sets CF and OF; the others stay (rotates, multiplications).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetCfOf(CpuContext* c, bool cf, bool of)
        => c->FlagAux = (c->FlagAux & ~(AuxCf | AuxPo)) | (cf ? AuxCf : 0) | (cf != of ? AuxPo : 0);

    /// <summary>Sets ZF, SF and PF from a result, and AF; CF and OF stay.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetResultKeepCfOf(CpuContext* c, ulong signExtendedResult, bool af)
    {
        c->FlagResult = signExtendedResult;
        c->FlagAux = (c->FlagAux & (AuxCf | AuxPo)) | (af ? AuxAf : 0);
    }

    /// <summary>The six arithmetic flags at their places in RFLAGS.</summary>
    public static ulong GetArithmetic(CpuContext* c)
        => (GetCf(c) ? Cf : 0) | (GetPf(c) ? Pf : 0) | (GetAf(c) ? Af : 0) | (GetZf(c) ? Zf : 0) | (GetSf(c) ? Sf : 0) | (GetOf(c) ? Of : 0);

    /// <summary>Sets the six arithmetic flags from their places in RFLAGS; other bits of the argument are ignored.</summary>
    public static void SetArithmetic(CpuContext* c, ulong rflags)
    {
        bool cf = (rflags & Cf) != 0;
        bool of = (rflags & Of) != 0;
        bool zf = (rflags & Zf) != 0;
        // The result is 0 for ZF and 1 otherwise; the corrections make SF and PF come out right.
        ulong result = zf ? 0UL : 1UL;
        bool resultParityEven = zf;
        uint delta = resultParityEven != ((rflags & Pf) != 0) ? 0x100u : 0;
        uint sign = (rflags & Sf) != 0 ? 1u : 0;
        c->FlagResult = result;
        c->FlagAux = (cf ? AuxCf : 0) | (cf != of ? AuxPo : 0) | ((rflags & Af) != 0 ? AuxAf : 0) | delta | sign;
    }

    /// <summary>RFLAGS whole.</summary>
    public static ulong GetRflags(CpuContext* c) => c->Rflags | GetArithmetic(c);

    /// <summary>Sets RFLAGS whole, as is; privilege rules are the caller's. Does not recompute what depends on AC, VM or TF.</summary>
    public static void SetRflags(CpuContext* c, ulong rflags)
    {
        SetArithmetic(c, rflags);
        c->Rflags = (rflags & ~Arithmetic) | 2;
    }

    /// <summary>Evaluates a condition code (the low four bits of Jcc, SETcc, CMOVcc opcodes).</summary>
    public static bool Test(CpuContext* c, int condition)
    {
        bool result = (condition >> 1) switch
        {
            0 => GetOf(c),
            1 => GetCf(c),
            2 => GetZf(c),
            3 => GetCf(c) || GetZf(c),
            4 => GetSf(c),
            5 => GetPf(c),
            6 => GetSf(c) != GetOf(c),
            _ => GetZf(c) || GetSf(c) != GetOf(c),
        };
        return result != ((condition & 1) != 0);
    }
}
