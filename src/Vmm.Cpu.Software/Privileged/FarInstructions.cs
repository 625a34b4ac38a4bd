using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Operands of far JMP and CALL: Extra is the operand size; an immediate pointer has its offset in the low half of Imm and the selector above.</summary>
internal static unsafe class FarInstructions
{
    /// <summary>JMP ptr16:16 and ptr16:32.</summary>
    public static Op* JumpImmediate(CpuContext* c, Op* op) => FarTransfer.Jump(c, op, (ushort)(op->Imm >> 32), (uint)op->Imm);

    /// <summary>CALL ptr16:16 and ptr16:32.</summary>
    public static Op* CallImmediate(CpuContext* c, Op* op) => FarTransfer.Call(c, op, (ushort)(op->Imm >> 32), (uint)op->Imm, (int)op->Extra);

    /// <summary>JMP m16:16, m16:32 and m16:64.</summary>
    public static Op* JumpMemory(CpuContext* c, Op* op)
        => SegmentInstructions.TryReadFarPointer(c, op, out ushort selector, out ulong offset)
            ? FarTransfer.Jump(c, op, selector, offset)
            : Flow.Fault(c, op);

    /// <summary>CALL m16:16, m16:32 and m16:64.</summary>
    public static Op* CallMemory(CpuContext* c, Op* op)
        => SegmentInstructions.TryReadFarPointer(c, op, out ushort selector, out ulong offset)
            ? FarTransfer.Call(c, op, selector, offset, (int)op->Extra)
            : Flow.Fault(c, op);
}
