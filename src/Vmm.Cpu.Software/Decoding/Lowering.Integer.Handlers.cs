using Iced.Intel;
using Vmm.Cpu.Software.Interpreter.Integer;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

// Operands of the integer families, and the choice of handlers by operand size.
internal static unsafe partial class Lowering
{
    private static delegate*<CpuContext*, Op*, Op*> Sized(
        int size,
        delegate*<CpuContext*, Op*, Op*> h8,
        delegate*<CpuContext*, Op*, Op*> h16,
        delegate*<CpuContext*, Op*, Op*> h32,
        delegate*<CpuContext*, Op*, Op*> h64)
    {
        if (size == 1)
            return h8;
        if (size == 2)
            return h16;
        return size == 4 ? h32 : h64;
    }

    private static delegate*<CpuContext*, Op*, Op*> LockedHandler<TOp>(int size)
        where TOp : struct, IReadModifyWrite
        => Sized(size, &ReadModifyWrite.Locked<TOp, byte>, &ReadModifyWrite.Locked<TOp, ushort>, &ReadModifyWrite.Locked<TOp, uint>,
            &ReadModifyWrite.Locked<TOp, ulong>);

    // First operand to Dst, second to Src or Imm, an immediate third to Imm.
    private static void SetRegisters(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        int count = i.OpCount;
        if (i.Op0Kind == OpKind.Register)
            l.Op->Dst = OffsetOf(i.Op0Register);
        if (count > 1 && i.Op1Kind == OpKind.Register)
            l.Op->Src = OffsetOf(i.Op1Register);
        int last = count - 1;
        if (count > 1 && i.GetOpKind(last) is not (OpKind.Register or OpKind.Memory))
            l.Op->Imm = i.GetImmediate(last);
    }

    // A read-modify-write instruction whose first operand is a register or memory.
    private static bool Modify<TOp>(ref LoweringContext l)
        where TOp : struct, IReadModifyWrite
    {
        SetRegisters(ref l);
        int size = SizeOf(ref l.Instruction, 0);
        if (l.Instruction.Op0Kind == OpKind.Register)
        {
            l.Op->Handler = Sized(size, &ReadModifyWrite.Register<TOp, byte>, &ReadModifyWrite.Register<TOp, ushort>,
                &ReadModifyWrite.Register<TOp, uint>, &ReadModifyWrite.Register<TOp, ulong>);
        }
        else
        {
            l.Op->Handler = Sized(size, &ReadModifyWrite.Memory<TOp, byte>, &ReadModifyWrite.Memory<TOp, ushort>,
                &ReadModifyWrite.Memory<TOp, uint>, &ReadModifyWrite.Memory<TOp, ulong>);
        }
        return true;
    }

    private static bool ModifyLocked<TOp>(ref LoweringContext l)
        where TOp : struct, IReadModifyWrite
    {
        SetRegisters(ref l);
        l.Op->Handler = LockedHandler<TOp>(SizeOf(ref l.Instruction, 0));
        return true;
    }

    // An instruction that reads operand `source`, a register or memory, and writes the register of operand 0, if that is another one.
    private static bool Load<TOp>(ref LoweringContext l, int source)
        where TOp : struct, ILoadOperate
    {
        ref var i = ref l.Instruction;
        if (i.Op0Kind == OpKind.Register)
            l.Op->Dst = OffsetOf(i.Op0Register);
        int size = SizeOf(ref i, source);
        if (i.GetOpKind(source) == OpKind.Register)
        {
            l.Op->Src = OffsetOf(i.GetOpRegister(source));
            l.Op->Handler = Sized(size, &LoadOperate.Register<TOp, byte>, &LoadOperate.Register<TOp, ushort>, &LoadOperate.Register<TOp, uint>,
                &LoadOperate.Register<TOp, ulong>);
        }
        else
        {
            l.Op->Handler = Sized(size, &LoadOperate.Memory<TOp, byte>, &LoadOperate.Memory<TOp, ushort>, &LoadOperate.Memory<TOp, uint>,
                &LoadOperate.Memory<TOp, ulong>);
        }
        return true;
    }

    // reg, r/m, imm.
    private static bool LoadImmediate<TOp>(ref LoweringContext l)
        where TOp : struct, ILoadOperate
    {
        l.Op->Imm = l.Instruction.GetImmediate(2);
        return Load<TOp>(ref l, 1);
    }

    // VEX forms with a second register operand: its offset goes to Extra.
    private static bool LoadExtra<TOp>(ref LoweringContext l, int extra, int source)
        where TOp : struct, ILoadOperate
    {
        l.Op->Extra = OffsetOf(l.Instruction.GetOpRegister(extra));
        return Load<TOp>(ref l, source);
    }
}
