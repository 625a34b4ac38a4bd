using Iced.Intel;
using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerVectorMove(ref LoweringContext l)
    {
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqa or Mnemonic.Movdqu or Mnemonic.Lddqu
                or Mnemonic.Movntps or Mnemonic.Movntpd or Mnemonic.Movntdq or Mnemonic.Movntdqa:
                LowerWholeMove<KeepUpper>(ref l);
                return true;
            case Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovups or Mnemonic.Vmovupd or Mnemonic.Vmovdqa or Mnemonic.Vmovdqu or Mnemonic.Vlddqu
                or Mnemonic.Vmovntps or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq or Mnemonic.Vmovntdqa:
                LowerWholeMove<ClearUpper>(ref l);
                return true;
            case Mnemonic.Movd or Mnemonic.Movq or Mnemonic.Movss or Mnemonic.Movsd:
                return LowerScalarMove<KeepUpper>(ref l);
            case Mnemonic.Vmovd or Mnemonic.Vmovq or Mnemonic.Vmovss or Mnemonic.Vmovsd:
                return LowerScalarMove<ClearUpper>(ref l);
            case Mnemonic.Movlps or Mnemonic.Movlpd:
                LowerHalfMove(ref l, 0);
                return true;
            case Mnemonic.Movhps or Mnemonic.Movhpd:
                LowerHalfMove(ref l, 8);
                return true;
            default:
                return false;
        }
    }

    private static void LowerWholeMove<TUpper>(ref LoweringContext l)
        where TUpper : IUpperHalf
    {
        Op* op = l.Op;
        ref Instruction i = ref l.Instruction;
        bool wide = (i.Op0Kind == OpKind.Register ? i.Op0Register : i.Op1Register).IsYMM();
        if (i.Op0Kind == OpKind.Memory)
            op->Handler = wide ? &MoveHandlers.Store256 : &MoveHandlers.Store128;
        else if (i.Op1Kind == OpKind.Memory)
            op->Handler = wide ? &MoveHandlers.Load256 : &MoveHandlers.Load128<TUpper>;
        else
            op->Handler = wide ? &MoveHandlers.Register256 : &MoveHandlers.Register128<TUpper>;
    }

    private static bool LowerScalarMove<TUpper>(ref LoweringContext l)
        where TUpper : IUpperHalf
    {
        ref Instruction i = ref l.Instruction;
        Register r = i.Op0Kind == OpKind.Register ? i.Op0Register : i.Op1Register;
        if (i.OpCount != 2 || r.IsMM() || (i.Op1Kind == OpKind.Register && i.Op1Register.IsMM()))
            return false;
        Op* op = l.Op;
        if (i.Op0Kind == OpKind.Memory)
        {
            op->Handler = op->Src == 4 ? &MoveHandlers.ScalarStore<uint> : &MoveHandlers.ScalarStore<ulong>;
        }
        else if (i.Op1Kind == OpKind.Memory)
        {
            op->Handler = op->Src == 4 ? &MoveHandlers.ScalarLoad<uint, TUpper> : &MoveHandlers.ScalarLoad<ulong, TUpper>;
        }
        else
        {
            bool movesWord = i.Mnemonic is Mnemonic.Movss or Mnemonic.Movsd or Mnemonic.Vmovss or Mnemonic.Vmovsd;
            if (movesWord)
                return false;
            if (!i.Op0Register.IsXMM())
                op->Handler = i.Op0Register.IsGPR64() ? &MoveHandlers.ScalarToGeneral<ulong> : &MoveHandlers.ScalarToGeneral<uint>;
            else if (i.Op1Register.IsXMM() || i.Op1Register.IsGPR64())
                op->Handler = &MoveHandlers.ScalarRegister<ulong, TUpper>;
            else
                op->Handler = &MoveHandlers.ScalarRegister<uint, TUpper>;
        }
        return true;
    }

    private static void LowerHalfMove(ref LoweringContext l, uint offset)
    {
        l.Op->Extra |= offset << 8;
        l.Op->Handler = l.Instruction.Op0Kind == OpKind.Memory ? &MoveHandlers.HalfStore : &MoveHandlers.HalfLoad;
    }

    private static bool LowerVectorInteger(ref LoweringContext l)
    {
        ref Instruction i = ref l.Instruction;
        if (i.Mnemonic is Mnemonic.Pmovmskb or Mnemonic.Vpmovmskb && i.Op1Register.IsXMM())
        {
            l.Op->Handler = &IntegerHandlers.MoveMask;
            return true;
        }
        if (i.Op0Kind != OpKind.Register || !i.Op0Register.IsXMM())
            return false;
        return i.Mnemonic switch
        {
            Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd or Mnemonic.Vpxor or Mnemonic.Vxorps or Mnemonic.Vxorpd => Binary<PXor>(ref l),
            Mnemonic.Pand or Mnemonic.Andps or Mnemonic.Andpd or Mnemonic.Vpand or Mnemonic.Vandps or Mnemonic.Vandpd => Binary<PAnd>(ref l),
            Mnemonic.Pandn or Mnemonic.Andnps or Mnemonic.Andnpd or Mnemonic.Vpandn or Mnemonic.Vandnps or Mnemonic.Vandnpd => Binary<PAndN>(ref l),
            Mnemonic.Por or Mnemonic.Orps or Mnemonic.Orpd or Mnemonic.Vpor or Mnemonic.Vorps or Mnemonic.Vorpd => Binary<POr>(ref l),
            Mnemonic.Paddb or Mnemonic.Vpaddb => Binary<PAddB>(ref l),
            Mnemonic.Paddw or Mnemonic.Vpaddw => Binary<PAddW>(ref l),
            Mnemonic.Paddd or Mnemonic.Vpaddd => Binary<PAddD>(ref l),
            Mnemonic.Paddq or Mnemonic.Vpaddq => Binary<PAddQ>(ref l),
            Mnemonic.Psubb or Mnemonic.Vpsubb => Binary<PSubB>(ref l),
            Mnemonic.Psubd or Mnemonic.Vpsubd => Binary<PSubD>(ref l),
            Mnemonic.Psubq or Mnemonic.Vpsubq => Binary<PSubQ>(ref l),
            Mnemonic.Pcmpeqb or Mnemonic.Vpcmpeqb => Binary<PCmpEqB>(ref l),
            Mnemonic.Pcmpeqw or Mnemonic.Vpcmpeqw => Binary<PCmpEqW>(ref l),
            Mnemonic.Pcmpeqd or Mnemonic.Vpcmpeqd => Binary<PCmpEqD>(ref l),
            Mnemonic.Pminub or Mnemonic.Vpminub => Binary<PMinUB>(ref l),
            Mnemonic.Pmaxub or Mnemonic.Vpmaxub => Binary<PMaxUB>(ref l),
            Mnemonic.Punpcklbw or Mnemonic.Vpunpcklbw => Binary<PUnpckLbw>(ref l),
            Mnemonic.Punpcklwd or Mnemonic.Vpunpcklwd => Binary<PUnpckLwd>(ref l),
            Mnemonic.Punpckldq or Mnemonic.Vpunpckldq => Binary<PUnpckLdq>(ref l),
            Mnemonic.Punpcklqdq or Mnemonic.Vpunpcklqdq => Binary<PUnpckLqdq>(ref l),
            _ => false,
        };
    }

    private static bool Binary<TOp>(ref LoweringContext l)
        where TOp : IBinary128
    {
        ref Instruction i = ref l.Instruction;
        if (i.OpCount == 2)
            l.Op->Handler = i.Op1Kind == OpKind.Memory ? &IntegerHandlers.Load<TOp> : &IntegerHandlers.Register<TOp>;
        else
            l.Op->Handler = i.Op2Kind == OpKind.Memory ? &IntegerHandlers.VexLoad<TOp> : &IntegerHandlers.VexRegister<TOp>;
        return true;
    }
}
