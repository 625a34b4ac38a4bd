using Iced.Intel;
using Vmm.Cpu.Software.Interpreter.Integer;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerMiscellaneous(ref LoweringContext l)
    {
        delegate*<CpuContext*, Op*, Op*> handler = SimpleHandler(l.Instruction.Mnemonic);
        if (handler != null)
        {
            l.Op->Handler = handler;
            if (l.Instruction.OpCount > 0 && l.Instruction.GetOpKind(l.Instruction.OpCount - 1) == OpKind.Immediate8)
                l.Op->Imm = l.Instruction.Immediate8;
            return true;
        }
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2:
                return SetUndefined(ref l);
            case Mnemonic.Rdrand or Mnemonic.Rdseed:
                l.Op->Dst = OffsetOf(l.Instruction.Op0Register);
                l.Op->Handler = Sized(SizeOf(ref l.Instruction, 0), &Miscellaneous.Ud, &Miscellaneous.Random<ushort>, &Miscellaneous.Random<uint>,
                    &Miscellaneous.Random<ulong>);
                return true;
            case Mnemonic.Movnti:
                SetRegisters(ref l);
                l.Op->Handler = l.Instruction.Op1Register.GetSize() == 4 ? &ByteOrder.Movnti<uint> : &ByteOrder.Movnti<ulong>;
                return true;
            case Mnemonic.Xlatb:
                // AL, the index, is added by the handler: the context holds no zero-extended AL.
                l.Op->Index = OperandOffset.Zero;
                l.Op->Handler = &Miscellaneous.Xlat;
                return true;
            default:
                return LowerFrame(ref l);
        }
    }

    private static bool LowerFrame(ref LoweringContext l)
    {
        switch (l.Instruction.Code)
        {
            case Code.Leavew:
                l.Op->Handler = &StackFrames.Leave<ushort>;
                return true;
            case Code.Leaved:
                l.Op->Handler = &StackFrames.Leave<uint>;
                return true;
            case Code.Leaveq:
                l.Op->Handler = &StackFrames.Leave<ulong>;
                return true;
            case Code.Enterw_imm16_imm8 or Code.Enterd_imm16_imm8 or Code.Enterq_imm16_imm8:
                l.Op->Imm = l.Instruction.Immediate16;
                l.Op->Extra = l.Instruction.Immediate8_2nd & 31u;
                l.Op->Handler = l.Instruction.Code switch
                {
                    Code.Enterw_imm16_imm8 => &StackFrames.Enter<ushort>,
                    Code.Enterd_imm16_imm8 => &StackFrames.Enter<uint>,
                    _ => &StackFrames.Enter<ulong>,
                };
                return true;
            case Code.Pushaw:
                l.Op->Handler = &StackFrames.Pusha<ushort>;
                return true;
            case Code.Pushad:
                l.Op->Handler = &StackFrames.Pusha<uint>;
                return true;
            case Code.Popaw:
                l.Op->Handler = &StackFrames.Popa<ushort>;
                return true;
            case Code.Popad:
                l.Op->Handler = &StackFrames.Popa<uint>;
                return true;
            case Code.Bound_r16_m1616:
                SetRegisters(ref l);
                l.Op->Handler = &StackFrames.Bound<ushort>;
                return true;
            case Code.Bound_r32_m3232:
                SetRegisters(ref l);
                l.Op->Handler = &StackFrames.Bound<uint>;
                return true;
            default:
                return false;
        }
    }

    private static delegate*<CpuContext*, Op*, Op*> SimpleHandler(Mnemonic mnemonic)
    {
        switch (mnemonic)
        {
            case Mnemonic.Lahf: return &Miscellaneous.Lahf;
            case Mnemonic.Sahf: return &Miscellaneous.Sahf;
            case Mnemonic.Clc: return &Miscellaneous.Clc;
            case Mnemonic.Stc: return &Miscellaneous.Stc;
            case Mnemonic.Cmc: return &Miscellaneous.Cmc;
            case Mnemonic.Cld: return &Miscellaneous.Cld;
            case Mnemonic.Std: return &Miscellaneous.Std;
            case Mnemonic.Salc: return &Miscellaneous.Salc;
            case Mnemonic.Daa: return &Interpreter.Integer.Decimal.Daa;
            case Mnemonic.Das: return &Interpreter.Integer.Decimal.Das;
            case Mnemonic.Aaa: return &Interpreter.Integer.Decimal.Aaa;
            case Mnemonic.Aas: return &Interpreter.Integer.Decimal.Aas;
            case Mnemonic.Aam: return &Interpreter.Integer.Decimal.Aam;
            case Mnemonic.Aad: return &Interpreter.Integer.Decimal.Aad;
            case Mnemonic.Mfence: return &Miscellaneous.Mfence;
            case Mnemonic.Pause: return &Miscellaneous.Pause;
            case Mnemonic.Clflush or Mnemonic.Clflushopt or Mnemonic.Clwb: return &Miscellaneous.CacheLine;
            case Mnemonic.Sfence or Mnemonic.Lfence:
            case Mnemonic.Prefetch or Mnemonic.Prefetchw or Mnemonic.Prefetchwt1:
            case Mnemonic.Prefetchnta or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2:
            case Mnemonic.Prefetchit0 or Mnemonic.Prefetchit1:
            case Mnemonic.Endbr32 or Mnemonic.Endbr64 or Mnemonic.Reservednop or Mnemonic.Nop or Mnemonic.Cldemote:
            case Mnemonic.Rdsspd or Mnemonic.Rdsspq:
            case Mnemonic.Bndmk or Mnemonic.Bndcl or Mnemonic.Bndcu or Mnemonic.Bndcn or Mnemonic.Bndmov or Mnemonic.Bndldx or Mnemonic.Bndstx:
                return &Miscellaneous.Nothing;
            default: return null;
        }
    }
}
