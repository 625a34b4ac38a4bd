using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>MOV and its kin, arithmetic and logic, shifts, the stack, near branches.</summary>
internal static unsafe partial class Lowering
{
    private static bool LowerCore(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.HasLockPrefix)
            return false;
        switch (i.Mnemonic)
        {
            case Mnemonic.Mov: return LowerMov(ref l);
            case Mnemonic.Add: return LowerBinary<AddOp>(ref l);
            case Mnemonic.Or: return LowerBinary<OrOp>(ref l);
            case Mnemonic.Adc: return LowerBinary<AdcOp>(ref l);
            case Mnemonic.Sbb: return LowerBinary<SbbOp>(ref l);
            case Mnemonic.And: return LowerBinary<AndOp>(ref l);
            case Mnemonic.Sub: return LowerBinary<SubOp>(ref l);
            case Mnemonic.Xor: return LowerXor(ref l);
            case Mnemonic.Cmp: return LowerBinary<CmpOp>(ref l);
            case Mnemonic.Test: return LowerBinary<TestOp>(ref l);
            case Mnemonic.Inc: return LowerUnary<IncOp>(ref l);
            case Mnemonic.Dec: return LowerUnary<DecOp>(ref l);
            case Mnemonic.Neg: return LowerUnary<NegOp>(ref l);
            case Mnemonic.Not: return LowerUnary<NotOp>(ref l);
            case Mnemonic.Shl or Mnemonic.Sal: return LowerShift<ShlOp>(ref l);
            case Mnemonic.Shr: return LowerShift<ShrOp>(ref l);
            case Mnemonic.Sar: return LowerShift<SarOp>(ref l);
            case Mnemonic.Lea: return LowerLea(ref l);
            case Mnemonic.Movzx: return LowerExtend(ref l, signed: false);
            case Mnemonic.Movsx or Mnemonic.Movsxd: return LowerExtend(ref l, signed: true);
            case Mnemonic.Push: return LowerPush(ref l);
            case Mnemonic.Pop: return LowerPop(ref l);
            case Mnemonic.Xchg: return LowerExchange(ref l);
            case Mnemonic.Nop: l.Op->Handler = &Moves.Nop; return true;
            case Mnemonic.Cbw: l.Op->Handler = &Moves.ExtendAccumulator<ushort, byte>; return true;
            case Mnemonic.Cwde: l.Op->Handler = &Moves.ExtendAccumulator<uint, ushort>; return true;
            case Mnemonic.Cdqe: l.Op->Handler = &Moves.ExtendAccumulator<ulong, uint>; return true;
            case Mnemonic.Cwd: l.Op->Handler = &Moves.ExtendIntoDx<ushort>; return true;
            case Mnemonic.Cdq: l.Op->Handler = &Moves.ExtendIntoDx<uint>; return true;
            case Mnemonic.Cqo: l.Op->Handler = &Moves.ExtendIntoDx<ulong>; return true;
            default: return LowerConditional(ref l) || LowerBranch(ref l);
        }
    }

    /// <summary>Bytes of an operand: 1, 2, 4 or 8; 0 for anything else.</summary>
    private static int SizeOf(ref Instruction i, int operand)
    {
        switch (i.GetOpKind(operand))
        {
            case OpKind.Register:
                Register r = i.GetOpRegister(operand);
                return r.IsGPR() ? r.GetSize() : 0;
            case OpKind.Memory:
                int size = i.MemorySize.GetSize();
                return size is 1 or 2 or 4 or 8 ? size : 0;
            default:
                return 0;
        }
    }

    private static bool IsImmediate(OpKind kind) => kind is >= OpKind.Immediate8 and <= OpKind.Immediate32to64;

    private static bool LowerMov(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        int size = SizeOf(ref i, 0);
        if (size == 0)
            return false;
        OpKind to = i.Op0Kind, from = i.Op1Kind;
        if (IsImmediate(from))
        {
            op->Imm = i.GetImmediate(1);
            if (to == OpKind.Register)
            {
                op->Dst = OffsetOf(i.Op0Register);
                op->Handler = size switch { 1 => &Moves.RegImm<byte>, 2 => &Moves.RegImm<ushort>, 4 => &Moves.RegImm<uint>, _ => &Moves.RegImm<ulong> };
            }
            else
            {
                op->Handler = size switch { 1 => &Moves.MemImm<byte>, 2 => &Moves.MemImm<ushort>, 4 => &Moves.MemImm<uint>, _ => &Moves.MemImm<ulong> };
            }
            return true;
        }
        if (SizeOf(ref i, 1) == 0)
            return false;
        if (to == OpKind.Register && from == OpKind.Register)
        {
            op->Dst = OffsetOf(i.Op0Register);
            op->Src = OffsetOf(i.Op1Register);
            op->Handler = size switch { 1 => &Moves.RegReg<byte>, 2 => &Moves.RegReg<ushort>, 4 => &Moves.RegReg<uint>, _ => &Moves.RegReg<ulong> };
        }
        else if (to == OpKind.Register)
        {
            op->Dst = OffsetOf(i.Op0Register);
            op->Handler = size switch { 1 => &Moves.RegMem<byte>, 2 => &Moves.RegMem<ushort>, 4 => &Moves.RegMem<uint>, _ => &Moves.RegMem<ulong> };
        }
        else
        {
            op->Src = OffsetOf(i.Op1Register);
            op->Handler = size switch { 1 => &Moves.MemReg<byte>, 2 => &Moves.MemReg<ushort>, 4 => &Moves.MemReg<uint>, _ => &Moves.MemReg<ulong> };
        }
        return true;
    }

    private static bool LowerXor(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.Op0Kind != OpKind.Register || i.Op1Kind != OpKind.Register || i.Op0Register != i.Op1Register)
            return LowerBinary<XorOp>(ref l);
        l.Op->Dst = OffsetOf(i.Op0Register);
        l.Op->Handler = SizeOf(ref i, 0) switch
        {
            1 => &Alu.ZeroReg<byte>,
            2 => &Alu.ZeroReg<ushort>,
            4 => &Alu.ZeroReg<uint>,
            _ => &Alu.ZeroReg<ulong>,
        };
        return true;
    }

    private static bool LowerBinary<TOp>(ref LoweringContext l)
        where TOp : struct, IBinary
    {
        switch (SizeOf(ref l.Instruction, 0))
        {
            case 1: LowerBinary<TOp, byte>(ref l); return true;
            case 2: LowerBinary<TOp, ushort>(ref l); return true;
            case 4: LowerBinary<TOp, uint>(ref l); return true;
            case 8: LowerBinary<TOp, ulong>(ref l); return true;
            default: return false;
        }
    }

    private static void LowerBinary<TOp, T>(ref LoweringContext l)
        where TOp : struct, IBinary
        where T : unmanaged
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        bool toRegister = i.Op0Kind == OpKind.Register;
        if (toRegister)
            op->Dst = OffsetOf(i.Op0Register);
        if (IsImmediate(i.Op1Kind))
        {
            op->Imm = i.GetImmediate(1);
            op->Handler = toRegister ? &Alu.RegImm<TOp, T> : &Alu.MemImm<TOp, T>;
        }
        else if (i.Op1Kind == OpKind.Register)
        {
            op->Src = OffsetOf(i.Op1Register);
            op->Handler = toRegister ? &Alu.RegReg<TOp, T> : &Alu.MemReg<TOp, T>;
        }
        else
        {
            op->Handler = &Alu.RegMem<TOp, T>;
        }
    }

    private static bool LowerUnary<TOp>(ref LoweringContext l)
        where TOp : struct, IUnary
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        int size = SizeOf(ref i, 0);
        if (i.Op0Kind == OpKind.Register)
        {
            op->Dst = OffsetOf(i.Op0Register);
            op->Handler = size switch { 1 => &Alu.Reg<TOp, byte>, 2 => &Alu.Reg<TOp, ushort>, 4 => &Alu.Reg<TOp, uint>, _ => &Alu.Reg<TOp, ulong> };
        }
        else
        {
            op->Handler = size switch { 1 => &Alu.Mem<TOp, byte>, 2 => &Alu.Mem<TOp, ushort>, 4 => &Alu.Mem<TOp, uint>, _ => &Alu.Mem<TOp, ulong> };
        }
        return true;
    }

    private static bool LowerShift<TOp>(ref LoweringContext l)
        where TOp : struct, IShift
    {
        switch (SizeOf(ref l.Instruction, 0))
        {
            case 1: LowerShift<TOp, byte>(ref l); return true;
            case 2: LowerShift<TOp, ushort>(ref l); return true;
            case 4: LowerShift<TOp, uint>(ref l); return true;
            default: LowerShift<TOp, ulong>(ref l); return true;
        }
    }

    private static void LowerShift<TOp, T>(ref LoweringContext l)
        where TOp : struct, IShift
        where T : unmanaged
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        bool byCl = i.Op1Kind == OpKind.Register;
        op->Src = byCl ? OperandOffset.Rcx : OperandOffset.Zero;
        if (!byCl)
            op->Imm = i.GetImmediate(1) & (sizeof(T) == 8 ? 63UL : 31UL);
        if (i.Op0Kind == OpKind.Memory)
        {
            op->Handler = &Alu.ShiftMem<TOp, T>;
            return;
        }
        op->Dst = OffsetOf(i.Op0Register);
        if (byCl)
        {
            op->Handler = &Alu.ShiftRegCl<TOp, T>;
        }
        else if (op->Imm == 0)
        {
            // No flag changes, but a 32-bit destination is still zero-extended.
            op->Src = op->Dst;
            op->Handler = &Moves.RegReg<T>;
        }
        else
        {
            op->Handler = &Alu.ShiftRegImm<TOp, T>;
        }
    }

    private static bool LowerLea(ref LoweringContext l)
    {
        Op* op = l.Op;
        op->Dst = OffsetOf(l.Instruction.Op0Register);
        bool full = op->AddressKind is AddressKind.Flat64 or AddressKind.Based64;
        op->Handler = l.Instruction.Op0Register.GetSize() switch
        {
            2 => full ? &Moves.Lea<ushort> : &Moves.LeaTruncated<ushort>,
            4 => full ? &Moves.Lea<uint> : &Moves.LeaTruncated<uint>,
            _ => full ? &Moves.Lea<ulong> : &Moves.LeaTruncated<ulong>,
        };
        return true;
    }

    private static bool LowerExtend(ref LoweringContext l, bool signed)
    {
        switch (l.Instruction.Op0Register.GetSize())
        {
            case 2: LowerExtend<ushort>(ref l, signed); return true;
            case 4: LowerExtend<uint>(ref l, signed); return true;
            default: LowerExtend<ulong>(ref l, signed); return true;
        }
    }

    private static void LowerExtend<T>(ref LoweringContext l, bool signed)
        where T : unmanaged
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        op->Dst = OffsetOf(i.Op0Register);
        bool memory = i.Op1Kind == OpKind.Memory;
        if (!memory)
            op->Src = OffsetOf(i.Op1Register);
        op->Handler = (SizeOf(ref i, 1), signed, memory) switch
        {
            (1, false, false) => &Moves.ZeroExtendReg<T, byte>,
            (1, false, true) => &Moves.ZeroExtendMem<T, byte>,
            (1, true, false) => &Moves.SignExtendReg<T, byte>,
            (1, true, true) => &Moves.SignExtendMem<T, byte>,
            (2, false, false) => &Moves.ZeroExtendReg<T, ushort>,
            (2, false, true) => &Moves.ZeroExtendMem<T, ushort>,
            (2, true, false) => &Moves.SignExtendReg<T, ushort>,
            (2, true, true) => &Moves.SignExtendMem<T, ushort>,
            (_, _, false) => &Moves.SignExtendReg<T, uint>,
            _ => &Moves.SignExtendMem<T, uint>,
        };
    }

    private static bool LowerPush(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        if (i.Op0Kind == OpKind.Register && !i.Op0Register.IsGPR())
            return false;
        int size = -i.StackPointerIncrement;
        if (IsImmediate(i.Op0Kind))
        {
            op->Imm = i.GetImmediate(0);
            op->Handler = size switch { 2 => &Stack.PushImm<ushort>, 4 => &Stack.PushImm<uint>, _ => &Stack.PushImm<ulong> };
        }
        else if (i.Op0Kind == OpKind.Register)
        {
            op->Src = OffsetOf(i.Op0Register);
            op->Handler = size switch { 2 => &Stack.PushReg<ushort>, 4 => &Stack.PushReg<uint>, _ => &Stack.PushReg<ulong> };
        }
        else
        {
            op->Handler = size switch { 2 => &Stack.PushMem<ushort>, 4 => &Stack.PushMem<uint>, _ => &Stack.PushMem<ulong> };
        }
        return true;
    }

    private static bool LowerPop(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        if (i.Op0Kind == OpKind.Register && !i.Op0Register.IsGPR())
            return false;
        int size = i.StackPointerIncrement;
        if (i.Op0Kind == OpKind.Register)
        {
            op->Dst = OffsetOf(i.Op0Register);
            op->Handler = size switch { 2 => &Stack.PopReg<ushort>, 4 => &Stack.PopReg<uint>, _ => &Stack.PopReg<ulong> };
        }
        else
        {
            op->Handler = size switch { 2 => &Stack.PopMem<ushort>, 4 => &Stack.PopMem<uint>, _ => &Stack.PopMem<ulong> };
        }
        return true;
    }

    // XCHG with memory is implicitly locked: the integer family has it.
    private static bool LowerExchange(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.Op0Kind != OpKind.Register || i.Op1Kind != OpKind.Register)
            return false;
        l.Op->Dst = OffsetOf(i.Op0Register);
        l.Op->Src = OffsetOf(i.Op1Register);
        l.Op->Handler = SizeOf(ref i, 0) switch
        {
            1 => &Moves.Exchange<byte>,
            2 => &Moves.Exchange<ushort>,
            4 => &Moves.Exchange<uint>,
            _ => &Moves.Exchange<ulong>,
        };
        return true;
    }

    // SETcc and CMOVcc.
    private static bool LowerConditional(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.ConditionCode == ConditionCode.None || i.FlowControl != FlowControl.Next || !i.IsSetccOrCmovcc())
            return false;
        Op* op = l.Op;
        op->Extra = OpcodeCondition(i.ConditionCode);
        bool memoryTo = i.Op0Kind == OpKind.Memory;
        if (!memoryTo)
            op->Dst = OffsetOf(i.Op0Register);
        if (i.OpCount == 1)
        {
            op->Handler = memoryTo ? &Moves.SetMem : &Moves.SetReg;
            return true;
        }
        bool memoryFrom = i.Op1Kind == OpKind.Memory;
        if (!memoryFrom)
            op->Src = OffsetOf(i.Op1Register);
        op->Handler = i.Op0Register.GetSize() switch
        {
            2 => memoryFrom ? &Moves.ConditionalMem<ushort> : &Moves.ConditionalReg<ushort>,
            4 => memoryFrom ? &Moves.ConditionalMem<uint> : &Moves.ConditionalReg<uint>,
            _ => memoryFrom ? &Moves.ConditionalMem<ulong> : &Moves.ConditionalReg<ulong>,
        };
        return true;
    }

    private static bool IsSetccOrCmovcc(this ref Instruction i)
        => i.OpCount == 1 ? i.Code is >= Code.Seto_rm8 and <= Code.Setg_rm8 : i.Code is >= Code.Cmovo_r16_rm16 and <= Code.Cmovg_r64_rm64;

    // The low four bits of the opcodes, which Flags.Test takes.
    private static uint OpcodeCondition(ConditionCode condition) => condition switch
    {
        ConditionCode.o => 0,
        ConditionCode.no => 1,
        ConditionCode.b => 2,
        ConditionCode.ae => 3,
        ConditionCode.e => 4,
        ConditionCode.ne => 5,
        ConditionCode.be => 6,
        ConditionCode.a => 7,
        ConditionCode.s => 8,
        ConditionCode.ns => 9,
        ConditionCode.p => 10,
        ConditionCode.np => 11,
        ConditionCode.l => 12,
        ConditionCode.ge => 13,
        ConditionCode.le => 14,
        _ => 15,
    };
}
