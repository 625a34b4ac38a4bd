using Iced.Intel;
using Vmm.Cpu.Software.Interpreter.Integer;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerInteger(ref LoweringContext l)
    {
        if (l.Instruction.HasLockPrefix)
            return LowerLocked(ref l);
        return LowerArithmetic(ref l) || LowerBits(ref l) || LowerBmi(ref l) || LowerString(ref l) || LowerPort(ref l) || LowerMiscellaneous(ref l);
    }

    private static bool LowerArithmetic(ref LoweringContext l)
    {
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Mul:
                return Load<Mul>(ref l, 0);
            case Mnemonic.Imul:
                return l.Instruction.OpCount switch
                {
                    1 => Load<Imul1>(ref l, 0),
                    2 => Load<Imul2>(ref l, 1),
                    _ => LoadImmediate<Imul3>(ref l),
                };
            case Mnemonic.Div:
                return Load<Div>(ref l, 0);
            case Mnemonic.Idiv:
                return Load<Idiv>(ref l, 0);
            case Mnemonic.Rol:
                return IsCountInCl(ref l) ? Modify<Rol<CountInCl>>(ref l) : Modify<Rol<ImmediateValue>>(ref l);
            case Mnemonic.Ror:
                return IsCountInCl(ref l) ? Modify<Ror<CountInCl>>(ref l) : Modify<Ror<ImmediateValue>>(ref l);
            case Mnemonic.Rcl:
                return IsCountInCl(ref l) ? Modify<Rcl<CountInCl>>(ref l) : Modify<Rcl<ImmediateValue>>(ref l);
            case Mnemonic.Rcr:
                return IsCountInCl(ref l) ? Modify<Rcr<CountInCl>>(ref l) : Modify<Rcr<ImmediateValue>>(ref l);
            case Mnemonic.Shld:
                return l.Instruction.Op2Kind == OpKind.Register ? Modify<Shld<CountInCl>>(ref l) : Modify<Shld<ImmediateValue>>(ref l);
            case Mnemonic.Shrd:
                return l.Instruction.Op2Kind == OpKind.Register ? Modify<Shrd<CountInCl>>(ref l) : Modify<Shrd<ImmediateValue>>(ref l);
            case Mnemonic.Xadd:
                return Modify<Xadd>(ref l);
            case Mnemonic.Xchg when l.Instruction.Op0Kind == OpKind.Memory:
                return ModifyLocked<Xchg>(ref l);
            case Mnemonic.Xchg when l.Instruction.Op1Kind == OpKind.Memory:
                l.Op->Src = OffsetOf(l.Instruction.Op0Register);
                l.Op->Handler = LockedHandler<Xchg>(SizeOf(ref l.Instruction, 0));
                return true;
            case Mnemonic.Cmpxchg:
                return LowerCmpxchg(ref l);
            case Mnemonic.Cmpxchg8b:
                l.Op->Handler = &Exchanges.Cmpxchg8B;
                return true;
            case Mnemonic.Cmpxchg16b:
                l.Op->Handler = &Exchanges.Cmpxchg16B;
                return true;
            default:
                return false;
        }
    }

    private static bool LowerCmpxchg(ref LoweringContext l)
    {
        if (l.Instruction.Op0Kind == OpKind.Memory)
            return Modify<Cmpxchg>(ref l);
        SetRegisters(ref l);
        l.Op->Handler = Sized(SizeOf(ref l.Instruction, 0), &Exchanges.CmpxchgRegister<byte>, &Exchanges.CmpxchgRegister<ushort>,
            &Exchanges.CmpxchgRegister<uint>, &Exchanges.CmpxchgRegister<ulong>);
        return true;
    }

    // The forms that allow LOCK; anything else with the prefix is undefined.
    private static bool LowerLocked(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.Op0Kind != OpKind.Memory && i.Mnemonic != Mnemonic.Xchg)
            return SetUndefined(ref l);
        bool register = i.OpCount > 1 && i.Op1Kind == OpKind.Register;
        return i.Mnemonic switch
        {
            Mnemonic.Add => register ? ModifyLocked<Add<RegisterValue>>(ref l) : ModifyLocked<Add<ImmediateValue>>(ref l),
            Mnemonic.Adc => register ? ModifyLocked<Adc<RegisterValue>>(ref l) : ModifyLocked<Adc<ImmediateValue>>(ref l),
            Mnemonic.Sub => register ? ModifyLocked<Sub<RegisterValue>>(ref l) : ModifyLocked<Sub<ImmediateValue>>(ref l),
            Mnemonic.Sbb => register ? ModifyLocked<Sbb<RegisterValue>>(ref l) : ModifyLocked<Sbb<ImmediateValue>>(ref l),
            Mnemonic.And => register ? ModifyLocked<And<RegisterValue>>(ref l) : ModifyLocked<And<ImmediateValue>>(ref l),
            Mnemonic.Or => register ? ModifyLocked<Or<RegisterValue>>(ref l) : ModifyLocked<Or<ImmediateValue>>(ref l),
            Mnemonic.Xor => register ? ModifyLocked<Xor<RegisterValue>>(ref l) : ModifyLocked<Xor<ImmediateValue>>(ref l),
            Mnemonic.Inc => ModifyLocked<Inc>(ref l),
            Mnemonic.Dec => ModifyLocked<Dec>(ref l),
            Mnemonic.Neg => ModifyLocked<Neg>(ref l),
            Mnemonic.Not => ModifyLocked<Not>(ref l),
            Mnemonic.Bts => register ? ModifyLocked<BitStringTest<SetBit>>(ref l) : ModifyLocked<BitTest<ImmediateValue, SetBit>>(ref l),
            Mnemonic.Btr => register ? ModifyLocked<BitStringTest<ResetBit>>(ref l) : ModifyLocked<BitTest<ImmediateValue, ResetBit>>(ref l),
            Mnemonic.Btc => register
                ? ModifyLocked<BitStringTest<ComplementBit>>(ref l)
                : ModifyLocked<BitTest<ImmediateValue, ComplementBit>>(ref l),
            Mnemonic.Xadd => ModifyLocked<Xadd>(ref l),
            Mnemonic.Cmpxchg => ModifyLocked<Cmpxchg>(ref l),
            Mnemonic.Xchg or Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b => LowerArithmetic(ref l) || SetUndefined(ref l),
            _ => SetUndefined(ref l),
        };
    }

    private static bool SetUndefined(ref LoweringContext l)
    {
        l.Op->Handler = &Miscellaneous.Ud;
        l.EndsBlock = true;
        return true;
    }

    private static bool IsCountInCl(ref LoweringContext l) => l.Instruction.Op1Kind == OpKind.Register;
}
