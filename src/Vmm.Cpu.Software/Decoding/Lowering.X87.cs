using Iced.Intel;
using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>x87: computations by host stubs, control instructions by handlers.</summary>
internal static unsafe partial class Lowering
{
    private static bool LowerX87(ref LoweringContext l)
    {
        if (l.Instruction.Mnemonic == Mnemonic.Wait)
        {
            l.Op->Dst = (byte)SimdGate.Wait;
            l.Op->Handler = &X87Handlers.Wait;
            return true;
        }
        if (!TryGetX87Opcode(l.Bytes, out uint opcode))
            return false;
        l.Op->Dst = (byte)SimdGate.X87;
        l.Op->Src = (byte)l.Instruction.MemorySize.GetSize();
        l.Op->Extra = 0;
        l.Op->Imm = opcode;
        return LowerX87Control(ref l) || LowerX87Stub(ref l);
    }

    private static bool LowerX87Control(ref LoweringContext l)
    {
        delegate*<State.CpuContext*, Op*, Op*> handler = l.Instruction.Mnemonic switch
        {
            Mnemonic.Fninit => &X87Control.Init,
            Mnemonic.Fnclex => &X87Control.ClearExceptions,
            Mnemonic.Fneni or Mnemonic.Fndisi or Mnemonic.Fnsetpm => &X87Control.Nothing,
            Mnemonic.Fnstcw => &X87Control.StoreControlWord,
            Mnemonic.Fnstsw when l.Instruction.Op0Kind == OpKind.Register => &X87Control.StatusWordToAx,
            Mnemonic.Fnstsw => &X87Control.StoreStatusWord,
            Mnemonic.Fldcw => &X87Control.LoadControlWord,
            Mnemonic.Fnstenv => &X87Control.StoreEnvironment,
            Mnemonic.Fldenv => &X87Control.LoadEnvironment,
            Mnemonic.Fnsave => &X87Control.Save,
            Mnemonic.Frstor => &X87Control.Restore,
            _ => null,
        };
        if (handler == null)
            return false;
        l.Op->Handler = handler;
        return true;
    }

    private static bool LowerX87Stub(ref LoweringContext l)
    {
        ref Instruction i = ref l.Instruction;
        nint stub = l.Cpu.Stubs.GetX87(i);
        if (stub == 0)
            return false;
        l.Op->LinkNotTaken = (Op*)stub;
        bool memory = i.OpCount == 1 && i.Op0Kind == OpKind.Memory;
        bool store = i.Mnemonic is Mnemonic.Fst or Mnemonic.Fstp or Mnemonic.Fist or Mnemonic.Fistp or Mnemonic.Fisttp or Mnemonic.Fbstp;
        if (memory)
            l.Op->Handler = store ? &X87Handlers.Store : &X87Handlers.Load;
        else
            l.Op->Handler = StubCache.UsesFlags(i) ? &X87Handlers.RegisterFlags : &X87Handlers.Register;
        return true;
    }

    // The 11 bits of FOP: the low bits of the escape byte and the ModRM byte.
    private static bool TryGetX87Opcode(ReadOnlySpan<byte> bytes, out uint opcode)
    {
        opcode = 0;
        for (int n = 0; n + 1 < bytes.Length; n++)
        {
            byte b = bytes[n];
            if (b is >= 0xD8 and <= 0xDF)
            {
                opcode = ((b & 7u) << 8) | bytes[n + 1];
                return true;
            }
            bool prefix = b is 0x26 or 0x2E or 0x36 or 0x3E or 0x64 or 0x65 or 0x66 or 0x67 or 0xF2 or 0xF3 or (>= 0x40 and <= 0x4F);
            if (!prefix)
                return false;
        }
        return false;
    }
}
