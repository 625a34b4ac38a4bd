using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>Decimal adjustments (SDM vol. 2: AAA, AAD, AAM, AAS, DAA, DAS). Flags that the manual leaves undefined are
/// those of the addition or subtraction within, as on AMD's processors.</summary>
internal static unsafe class Decimal
{
    public static Op* Daa(CpuContext* c, Op* op)
    {
        byte old = (byte)c->Gpr[0];
        bool oldCf = Flags.GetCf(c), af = (old & 0xF) > 9 || Flags.GetAf(c), cf = old > 0x99 || oldCf;
        byte al = (byte)(old + (af ? 6 : 0) + (cf ? 0x60 : 0));
        SetAl(c, al, cf, of: old < 0x80 && al >= 0x80, af);
        return op + 1;
    }

    public static Op* Das(CpuContext* c, Op* op)
    {
        byte old = (byte)c->Gpr[0];
        bool oldCf = Flags.GetCf(c), af = (old & 0xF) > 9 || Flags.GetAf(c), high = old > 0x99 || oldCf;
        byte al = (byte)(old - (af ? 6 : 0) - (high ? 0x60 : 0));
        SetAl(c, al, high || (af && old < 6), of: old >= 0x80 && al < 0x80, af);
        return op + 1;
    }

    public static Op* Aaa(CpuContext* c, Op* op)
    {
        ushort ax = (ushort)c->Gpr[0];
        bool adjust = (ax & 0xF) > 9 || Flags.GetAf(c);
        ushort sum = (ushort)(ax + (adjust ? 0x106 : 0));
        SetAx(c, sum, adjust, of: (short)ax >= 0 && (short)sum < 0);
        return op + 1;
    }

    public static Op* Aas(CpuContext* c, Op* op)
    {
        ushort ax = (ushort)c->Gpr[0];
        bool adjust = (ax & 0xF) > 9 || Flags.GetAf(c);
        ushort difference = (ushort)(ax - (adjust ? 0x106 : 0));
        SetAx(c, difference, adjust, of: (short)ax < 0 && (short)difference >= 0);
        return op + 1;
    }

    public static Op* Aam(CpuContext* c, Op* op)
    {
        byte al = (byte)c->Gpr[0], divisor = (byte)op->Imm;
        if (divisor == 0)
            return Flow.Raise(c, op, Vector.De);
        *(ushort*)c->Gpr = (ushort)((al / divisor << 8) | (al % divisor));
        Flags.SetLogic(c, (ulong)(sbyte)c->Gpr[0]);
        return op + 1;
    }

    public static Op* Aad(CpuContext* c, Op* op)
    {
        ushort ax = (ushort)c->Gpr[0];
        byte product = (byte)((ax >> 8) * (byte)op->Imm);
        byte al = (byte)(ax + product);
        *(ushort*)c->Gpr = al;
        Carries.SetAdd<byte>(c, (byte)ax, product, al);
        return op + 1;
    }

    private static void SetAl(CpuContext* c, byte al, bool cf, bool of, bool af)
    {
        *(byte*)c->Gpr = al;
        Flags.Set(c, (ulong)(sbyte)al, cf, of, af);
    }

    private static void SetAx(CpuContext* c, ushort ax, bool adjusted, bool of)
    {
        *(ushort*)c->Gpr = (ushort)(ax & 0xFF0F);
        Flags.Set(c, (ulong)(short)ax, adjusted, of, adjusted);
    }
}
