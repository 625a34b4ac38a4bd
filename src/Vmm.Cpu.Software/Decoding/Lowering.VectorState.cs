using Iced.Intel;
using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerVectorState(ref LoweringContext l)
    {
        Op* op = l.Op;
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr:
                return LowerMxcsr(ref l, SimdGate.Sse);
            case Mnemonic.Vldmxcsr or Mnemonic.Vstmxcsr when HostFeatures.Avx:
                return LowerMxcsr(ref l, SimdGate.Avx);
            case Mnemonic.Emms:
                op->Dst = (byte)SimdGate.Mmx;
                op->Handler = &ControlHandlers.Emms;
                return true;
            case Mnemonic.Xgetbv:
                op->Handler = &ControlHandlers.GetXcr;
                return true;
            case Mnemonic.Xsetbv:
                op->Handler = &ControlHandlers.SetXcr;
                return true;
            case Mnemonic.Fxsave or Mnemonic.Fxsave64:
                return LowerArea(ref l, SimdGate.X87, l.Instruction.Mnemonic == Mnemonic.Fxsave64 ? XsaveHandlers.Wide : 0, &XsaveHandlers.FxSave);
            case Mnemonic.Fxrstor or Mnemonic.Fxrstor64:
                return LowerArea(ref l, SimdGate.X87, l.Instruction.Mnemonic == Mnemonic.Fxrstor64 ? XsaveHandlers.Wide : 0, &XsaveHandlers.FxRestore);
            case Mnemonic.Xsave:
                return LowerArea(ref l, SimdGate.Xsave, 0, &XsaveHandlers.Save);
            case Mnemonic.Xsave64:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Wide, &XsaveHandlers.Save);
            case Mnemonic.Xsaveopt:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Optimized, &XsaveHandlers.Save);
            case Mnemonic.Xsaveopt64:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Optimized | XsaveHandlers.Wide, &XsaveHandlers.Save);
            case Mnemonic.Xsavec:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Compacted, &XsaveHandlers.Save);
            case Mnemonic.Xsavec64:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Compacted | XsaveHandlers.Wide, &XsaveHandlers.Save);
            case Mnemonic.Xrstor:
                return LowerArea(ref l, SimdGate.Xsave, 0, &XsaveHandlers.Restore);
            case Mnemonic.Xrstor64:
                return LowerArea(ref l, SimdGate.Xsave, XsaveHandlers.Wide, &XsaveHandlers.Restore);
            default:
                return LowerHint(ref l);
        }
    }

    private static bool LowerHint(ref LoweringContext l)
    {
        Op* op = l.Op;
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Movnti:
                op->Imm = VectorOperands.Pack(l.Instruction);
                op->Handler = l.Instruction.Op1Register.IsGPR64() ? &HintHandlers.StoreGeneral<ulong> : &HintHandlers.StoreGeneral<uint>;
                return true;
            default:
                bool reserved = l.Instruction.Code is >= Code.Prefetchreserved3_m8 and <= Code.Prefetchreserved7_m8;
                if (reserved)
                    op->Handler = &HintHandlers.Nothing;
                return reserved;
        }
    }

    private static bool LowerMxcsr(ref LoweringContext l, uint gate)
    {
        l.Op->Dst = (byte)gate;
        l.Op->Handler = l.Instruction.Mnemonic is Mnemonic.Ldmxcsr or Mnemonic.Vldmxcsr ? &ControlHandlers.LoadMxcsr : &ControlHandlers.StoreMxcsr;
        return true;
    }

    private static bool LowerArea(ref LoweringContext l, uint gate, uint form, delegate*<State.CpuContext*, Op*, Op*> handler)
    {
        l.Op->Dst = (byte)gate;
        l.Op->Extra = form;
        l.Op->Handler = handler;
        return true;
    }
}
