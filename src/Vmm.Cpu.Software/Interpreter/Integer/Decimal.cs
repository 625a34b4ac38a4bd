using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>Decimal adjustments (SDM vol. 2: AAA, AAD, AAM, AAS, DAA, DAS). Flags that the manual leaves undefined are cleared.</summary>
internal static unsafe class Decimal
{
    public static Op* Daa(CpuContext* c, Op* op)
    {
        byte old = (byte)c->Gpr[0];
        bool oldCf = Flags.GetCf(c), af = (old & 0xF) > 9 || Flags.GetAf(c), cf = old > 0x99 || oldCf;
        SetAl(c, (byte)(old + (af ? 6 : 0) + (cf ? 0x60 : 0)), cf, af);
        return op + 1;
    }

    public static Op* Das(CpuContext* c, Op* op)
    {
        byte old = (byte)c->Gpr[0];
        bool oldCf = Flags.GetCf(c), af = (old & 0xF) > 9 || Flags.GetAf(c), high = old > 0x99 || oldCf;
        SetAl(c, (byte)(old - (af ? 6 : 0) - (high ? 0x60 : 0)), high || (af && old < 6), af);
        return op + 1;
    }

    public static Op* Aaa(CpuContext* c, Op* op)
    {
        ushort ax = (ushort)c->Gpr[0];
        bool adjust = (ax & 0xF) > 9 || Flags.GetAf(c);
        if (adjust)
            ax += 0x106;
        SetAx(c, (ushort)(ax & 0xFF0F), adjust);
        return op + 1;
    }

    public static Op* Aas(CpuContext* c, Op* op)
    {
        ushort ax = (ushort)c->Gpr[0];
        bool adjust = (ax & 0xF) > 9 || Flags.GetAf(c);
        if (adjust)
            ax -= 0x106;
        SetAx(c, (ushort)(ax & 0xFF0F), adjust);
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
        byte al = (byte)(ax + ((ax >> 8) * (byte)op->Imm));
        *(ushort*)c->Gpr = al;
        Flags.SetLogic(c, (ulong)(sbyte)al);
        return op + 1;
    }

    private static void SetAl(CpuContext* c, byte al, bool cf, bool af)
    {
        *(byte*)c->Gpr = al;
        Flags.Set(c, (ulong)(sbyte)al, cf, of: false, af);
    }

    private static void SetAx(CpuContext* c, ushort ax, bool adjusted)
    {
        *(ushort*)c->Gpr = ax;
        Flags.Set(c, (ulong)(sbyte)ax, adjusted, of: false, adjusted);
    }
}
