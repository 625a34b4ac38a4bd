using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>Near branches, calls and returns.</summary>
internal static unsafe partial class Lowering
{
    private static bool LowerBranch(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.FlowControl)
        {
            case FlowControl.ConditionalBranch when i.Op0Kind is >= OpKind.NearBranch16 and <= OpKind.NearBranch64:
                LowerConditionalBranch(ref l);
                return true;
            case FlowControl.UnconditionalBranch when i.Op0Kind is >= OpKind.NearBranch16 and <= OpKind.NearBranch64:
                SetTarget(ref l);
                l.Op->Handler = &Branches.Jump;
                break;
            case FlowControl.Call when i.Op0Kind is >= OpKind.NearBranch16 and <= OpKind.NearBranch64:
                SetTarget(ref l);
                l.Op->Handler = StackSize(ref i) switch { 2 => &Branches.Call<ushort>, 4 => &Branches.Call<uint>, _ => &Branches.Call<ulong> };
                break;
            case FlowControl.IndirectBranch when i.IsJmpNearIndirect:
                LowerIndirect(ref l, call: false);
                break;
            case FlowControl.IndirectCall when i.IsCallNearIndirect:
                LowerIndirect(ref l, call: true);
                break;
            case FlowControl.Return when i.Mnemonic == Mnemonic.Ret:
                LowerReturn(ref l);
                break;
            default:
                return false;
        }
        l.EndsBlock = true;
        return true;
    }

    private static int StackSize(ref Instruction i) => Math.Abs(i.StackPointerIncrement);

    private static void LowerReturn(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        ulong extra = i.OpCount == 1 ? i.Immediate16 : 0UL;
        l.Op->Imm = extra;
        l.Op->Segment = SegmentIndex.Ss;
        l.Op->Handler = (i.StackPointerIncrement - (int)extra) switch
        {
            2 => &Branches.Return<ushort>,
            4 => &Branches.Return<uint>,
            _ => &Branches.Return<ulong>,
        };
    }

    private static void LowerIndirect(ref LoweringContext l, bool call)
    {
        ref var i = ref l.Instruction;
        bool memory = i.Op0Kind == OpKind.Memory;
        if (!memory)
            l.Op->Src = OffsetOf(i.Op0Register);
        l.Op->Handler = (SizeOf(ref i, 0), call, memory) switch
        {
            (2, false, false) => &Branches.JumpReg<ushort>,
            (2, false, true) => &Branches.JumpMem<ushort>,
            (2, true, false) => &Branches.CallReg<ushort>,
            (2, true, true) => &Branches.CallMem<ushort>,
            (4, false, false) => &Branches.JumpReg<uint>,
            (4, false, true) => &Branches.JumpMem<uint>,
            (4, true, false) => &Branches.CallReg<uint>,
            (4, true, true) => &Branches.CallMem<uint>,
            (_, false, false) => &Branches.JumpReg<ulong>,
            (_, false, true) => &Branches.JumpMem<ulong>,
            (_, true, false) => &Branches.CallReg<ulong>,
            _ => &Branches.CallMem<ulong>,
        };
    }

    private static void LowerConditionalBranch(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        SetTarget(ref l);
        l.EndsBlock = true;
        switch (i.Mnemonic)
        {
            case Mnemonic.Jcxz: op->Handler = &Branches.JumpIfCxZero<ushort>; return;
            case Mnemonic.Jecxz: op->Handler = &Branches.JumpIfCxZero<uint>; return;
            case Mnemonic.Jrcxz: op->Handler = &Branches.JumpIfCxZero<ulong>; return;
            case Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne:
                op->Extra |= i.Mnemonic == Mnemonic.Loope ? 1u : i.Mnemonic == Mnemonic.Loopne ? 2u : 0;
                op->Handler = LoopCounterSize(i.Code) switch
                {
                    2 => &Branches.Loop<ushort>,
                    4 => &Branches.Loop<uint>,
                    _ => &Branches.Loop<ulong>,
                };
                return;
            case Mnemonic.Je: op->Handler = &Branches.Jz; break;
            case Mnemonic.Jne: op->Handler = &Branches.Jnz; break;
            case Mnemonic.Jb: op->Handler = &Branches.Jc; break;
            case Mnemonic.Jae: op->Handler = &Branches.Jnc; break;
            default: op->Handler = &Branches.Jcc; break;
        }
        op->Extra |= OpcodeCondition(i.ConditionCode);
    }

    private static int LoopCounterSize(Code code) => code switch
    {
        Code.Loopne_rel8_16_CX or Code.Loopne_rel8_32_CX or Code.Loope_rel8_16_CX or Code.Loope_rel8_32_CX
            or Code.Loop_rel8_16_CX or Code.Loop_rel8_32_CX => 2,
        Code.Loopne_rel8_16_ECX or Code.Loopne_rel8_32_ECX or Code.Loopne_rel8_64_ECX or Code.Loope_rel8_16_ECX or Code.Loope_rel8_32_ECX
            or Code.Loope_rel8_64_ECX or Code.Loop_rel8_16_ECX or Code.Loop_rel8_32_ECX or Code.Loop_rel8_64_ECX => 4,
        _ => 8,
    };

    // Targets are relative to the start of the block, since the decoder's IP is the offset from it.
    private static void SetTarget(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Op0Kind)
        {
            case OpKind.NearBranch16:
                l.Op->Imm = i.NearBranch16;
                l.Op->Extra = Branches.Operand16;
                break;
            case OpKind.NearBranch32:
                l.Op->Imm = (ulong)(int)i.NearBranch32;
                break;
            default:
                l.Op->Imm = i.NearBranch64;
                break;
        }
    }
}
