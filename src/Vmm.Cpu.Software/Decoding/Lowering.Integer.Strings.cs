using Iced.Intel;
using Vmm.Cpu.Software.Interpreter.Integer;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerString(ref LoweringContext l)
    {
        delegate*<CpuContext*, Op*, Op*> handler = StringHandler(l.Instruction.Code);
        if (handler == null)
            return false;
        ref var i = ref l.Instruction;
        l.Op->Handler = handler;
        l.Op->Extra = i.HasRepPrefix ? Repeat.WhileEqual : i.HasRepnePrefix ? Repeat.WhileNotEqual : Repeat.None;
        l.Op->Imm = ulong.MaxValue;
        for (int n = 0; n < i.OpCount; n++)
        {
            OpKind kind = i.GetOpKind(n);
            if (kind is OpKind.MemorySegSI or OpKind.MemoryESDI)
                l.Op->Imm = ushort.MaxValue;
            else if (kind is OpKind.MemorySegESI or OpKind.MemoryESEDI)
                l.Op->Imm = uint.MaxValue;
        }
        l.Op->AddressKind = l.CodeBits == 64 ? AddressKind.Flat64 : AddressKind.Legacy32;
        return true;
    }

    private static delegate*<CpuContext*, Op*, Op*> StringHandler(Code code)
    {
        switch (code)
        {
            case Code.Movsb_m8_m8: return &StringMoves.Movs<byte>;
            case Code.Movsw_m16_m16: return &StringMoves.Movs<ushort>;
            case Code.Movsd_m32_m32: return &StringMoves.Movs<uint>;
            case Code.Movsq_m64_m64: return &StringMoves.Movs<ulong>;
            case Code.Stosb_m8_AL: return &StringMoves.Stos<byte>;
            case Code.Stosw_m16_AX: return &StringMoves.Stos<ushort>;
            case Code.Stosd_m32_EAX: return &StringMoves.Stos<uint>;
            case Code.Stosq_m64_RAX: return &StringMoves.Stos<ulong>;
            case Code.Lodsb_AL_m8: return &StringMoves.Lods<byte>;
            case Code.Lodsw_AX_m16: return &StringMoves.Lods<ushort>;
            case Code.Lodsd_EAX_m32: return &StringMoves.Lods<uint>;
            case Code.Lodsq_RAX_m64: return &StringMoves.Lods<ulong>;
            case Code.Cmpsb_m8_m8: return &StringScans.Cmps<byte>;
            case Code.Cmpsw_m16_m16: return &StringScans.Cmps<ushort>;
            case Code.Cmpsd_m32_m32: return &StringScans.Cmps<uint>;
            case Code.Cmpsq_m64_m64: return &StringScans.Cmps<ulong>;
            case Code.Scasb_AL_m8: return &StringScans.Scas<byte>;
            case Code.Scasw_AX_m16: return &StringScans.Scas<ushort>;
            case Code.Scasd_EAX_m32: return &StringScans.Scas<uint>;
            case Code.Scasq_RAX_m64: return &StringScans.Scas<ulong>;
            case Code.Insb_m8_DX: return &PortAccess.Ins<byte>;
            case Code.Insw_m16_DX: return &PortAccess.Ins<ushort>;
            case Code.Insd_m32_DX: return &PortAccess.Ins<uint>;
            case Code.Outsb_DX_m8: return &PortAccess.Outs<byte>;
            case Code.Outsw_DX_m16: return &PortAccess.Outs<ushort>;
            case Code.Outsd_DX_m32: return &PortAccess.Outs<uint>;
            default: return null;
        }
    }

    private static bool LowerPort(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        if (i.Mnemonic == Mnemonic.In)
        {
            int size = i.Op0Register.GetSize();
            bool dx = i.Op1Kind == OpKind.Register;
            if (!dx)
                l.Op->Imm = i.Immediate8;
            l.Op->Handler = dx
                ? Sized(size, &PortAccess.InDx<byte>, &PortAccess.InDx<ushort>, &PortAccess.InDx<uint>, null)
                : Sized(size, &PortAccess.InImmediate<byte>, &PortAccess.InImmediate<ushort>, &PortAccess.InImmediate<uint>, null);
            return true;
        }
        if (i.Mnemonic == Mnemonic.Out)
        {
            int size = i.Op1Register.GetSize();
            bool dx = i.Op0Kind == OpKind.Register;
            if (!dx)
                l.Op->Imm = i.Immediate8;
            l.Op->Handler = dx
                ? Sized(size, &PortAccess.OutDx<byte>, &PortAccess.OutDx<ushort>, &PortAccess.OutDx<uint>, null)
                : Sized(size, &PortAccess.OutImmediate<byte>, &PortAccess.OutImmediate<ushort>, &PortAccess.OutImmediate<uint>, null);
            return true;
        }
        return false;
    }
}
