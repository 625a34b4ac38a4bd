using Iced.Intel;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerMasked(ref LoweringContext l)
    {
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Vmaskmovps or Mnemonic.Vpmaskmovd:
                LowerMaskedMove(ref l, 4);
                return true;
            case Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovq:
                LowerMaskedMove(ref l, 8);
                return true;
            case Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu:
                LowerRdiOperand(ref l);
                l.Op->Extra = (1 << 8) | (16 << 16);
                l.Op->Handler = &MaskedHandlers.StoreBytes;
                return true;
            case Mnemonic.Maskmovq:
                LowerRdiOperand(ref l);
                l.Op->Imm = (uint)(l.Instruction.Op1Register - Register.MM0) | ((uint)(l.Instruction.Op2Register - Register.MM0) << 8);
                l.Op->Extra = (1 << 8) | (8 << 16);
                l.Op->Handler = &MaskedHandlers.StoreMmxBytes;
                return true;
            case Mnemonic.Vgatherdps or Mnemonic.Vpgatherdd:
                LowerGather(ref l, 4, 4);
                return true;
            case Mnemonic.Vgatherdpd or Mnemonic.Vpgatherdq:
                LowerGather(ref l, 8, 4);
                return true;
            case Mnemonic.Vgatherqps or Mnemonic.Vpgatherqd:
                LowerGather(ref l, 4, 8);
                return true;
            case Mnemonic.Vgatherqpd or Mnemonic.Vpgatherqq:
                LowerGather(ref l, 8, 8);
                return true;
            default:
                return false;
        }
    }

    private static void LowerMaskedMove(ref LoweringContext l, uint element)
    {
        uint size = l.Instruction.Op1Register.IsYMM() ? 32u : 16;
        l.Op->Extra = (element << 8) | (size << 16);
        l.Op->Handler = l.Instruction.Op0Kind == OpKind.Memory ? &MaskedHandlers.Store : &MaskedHandlers.Load;
    }

    // The vector of the larger element, index or data, fills the register; the other may take half of it.
    private static void LowerGather(ref LoweringContext l, uint element, uint index)
    {
        ref Instruction i = ref l.Instruction;
        Register vsib = i.MemoryIndex;
        uint indexBytes = vsib.IsYMM() ? 32u : 16;
        uint dataBytes = i.Op0Register.IsYMM() ? 32u : 16;
        uint count = Math.Min(indexBytes / index, dataBytes / element);
        l.Op->Extra = (element << 8) | (count * element << 16) | (index << 24);
        l.Op->Imm |= (ulong)VectorOperands.OffsetOf(vsib) << 16;
        l.Op->Index = OperandOffset.Zero;
        l.Op->Handler = &MaskedHandlers.Gather;
    }

    // The operand that MASKMOVDQU and MASKMOVQ do not name: DS:[rDI], the segment overridable.
    private static void LowerRdiOperand(ref LoweringContext l)
    {
        Op* op = l.Op;
        op->Base = OperandOffset.Rdi;
        op->Index = OperandOffset.Zero;
        op->Disp = 0;
        op->AddressKind = l.Instruction.Op0Kind switch
        {
            OpKind.MemorySegRDI => op->Segment >= SegmentIndex.Fs ? AddressKind.Based64 : AddressKind.Flat64,
            OpKind.MemorySegEDI => l.CodeBits == 64 ? AddressKind.Address32In64 : AddressKind.Legacy32,
            _ => AddressKind.Legacy16,
        };
    }
}
