using Iced.Intel;
using Vmm.Cpu.Software.Interpreter.Integer;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerBits(ref LoweringContext l) => l.Instruction.Mnemonic switch
    {
        Mnemonic.Bt => LowerBt(ref l),
        Mnemonic.Bts => LowerBitChange<SetBit>(ref l),
        Mnemonic.Btr => LowerBitChange<ResetBit>(ref l),
        Mnemonic.Btc => LowerBitChange<ComplementBit>(ref l),
        Mnemonic.Bsf => Load<Bsf>(ref l, 1),
        Mnemonic.Bsr => Load<Bsr>(ref l, 1),
        Mnemonic.Tzcnt => Load<Tzcnt>(ref l, 1),
        Mnemonic.Lzcnt => Load<Lzcnt>(ref l, 1),
        Mnemonic.Popcnt => Load<Popcnt>(ref l, 1),
        Mnemonic.Bswap => Modify<Bswap>(ref l),
        Mnemonic.Movbe => LowerMovbe(ref l),
        Mnemonic.Crc32 => Load<Crc32>(ref l, 1),
        Mnemonic.Adcx => Load<Adcx>(ref l, 1),
        Mnemonic.Adox => Load<Adox>(ref l, 1),
        _ => false,
    };

    private static bool LowerBmi(ref LoweringContext l) => l.Instruction.Mnemonic switch
    {
        Mnemonic.Andn => LoadExtra<Andn>(ref l, 1, 2),
        Mnemonic.Bextr when l.Instruction.Op2Kind == OpKind.Register => LoadExtra<Bextr>(ref l, 2, 1),
        Mnemonic.Blsi => Load<Blsi>(ref l, 1),
        Mnemonic.Blsmsk => Load<Blsmsk>(ref l, 1),
        Mnemonic.Blsr => Load<Blsr>(ref l, 1),
        Mnemonic.Bzhi => LoadExtra<Bzhi>(ref l, 2, 1),
        Mnemonic.Mulx => LoadExtra<Mulx>(ref l, 1, 2),
        Mnemonic.Pdep => LoadExtra<Pdep>(ref l, 1, 2),
        Mnemonic.Pext => LoadExtra<Pext>(ref l, 1, 2),
        Mnemonic.Rorx => LoadImmediate<Rorx>(ref l),
        Mnemonic.Sarx => LoadExtra<Sarx>(ref l, 2, 1),
        Mnemonic.Shlx => LoadExtra<Shlx>(ref l, 2, 1),
        Mnemonic.Shrx => LoadExtra<Shrx>(ref l, 2, 1),
        _ => false,
    };

    private static bool LowerBt(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        SetRegisters(ref l);
        int size = SizeOf(ref i, 0);
        bool indexed = i.Op1Kind == OpKind.Register;
        if (i.Op0Kind == OpKind.Register && indexed)
        {
            l.Op->Handler = Sized(size, &Miscellaneous.Ud, &BitString.TestRegister<RegisterValue, ushort>,
                &BitString.TestRegister<RegisterValue, uint>, &BitString.TestRegister<RegisterValue, ulong>);
        }
        else if (i.Op0Kind == OpKind.Register)
        {
            l.Op->Handler = Sized(size, &Miscellaneous.Ud, &BitString.TestRegister<ImmediateValue, ushort>,
                &BitString.TestRegister<ImmediateValue, uint>, &BitString.TestRegister<ImmediateValue, ulong>);
        }
        else if (indexed)
        {
            l.Op->Handler = Sized(size, &Miscellaneous.Ud, &BitString.TestString<ushort>, &BitString.TestString<uint>, &BitString.TestString<ulong>);
        }
        else
        {
            l.Op->Handler = Sized(size, &Miscellaneous.Ud, &BitString.TestMemory<ushort>, &BitString.TestMemory<uint>, &BitString.TestMemory<ulong>);
        }
        return true;
    }

    private static bool LowerBitChange<TChange>(ref LoweringContext l)
        where TChange : struct, IBitChange
    {
        if (l.Instruction.Op1Kind != OpKind.Register)
            return Modify<BitTest<ImmediateValue, TChange>>(ref l);
        return l.Instruction.Op0Kind == OpKind.Register ? Modify<BitTest<RegisterValue, TChange>>(ref l) : Modify<BitStringTest<TChange>>(ref l);
    }

    private static bool LowerMovbe(ref LoweringContext l)
    {
        if (l.Instruction.Op0Kind == OpKind.Register)
            return Load<MovbeLoad>(ref l, 1);
        SetRegisters(ref l);
        l.Op->Handler = Sized(SizeOf(ref l.Instruction, 1), &Miscellaneous.Ud, &ByteOrder.MovbeStore<ushort>, &ByteOrder.MovbeStore<uint>,
            &ByteOrder.MovbeStore<ulong>);
        return true;
    }
}
