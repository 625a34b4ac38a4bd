using Iced.Intel;
using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>MMX, SSE and AVX: most instructions run through a host stub; plain moves and common integer operations have handlers of their own.</summary>
internal static unsafe partial class Lowering
{
    private static bool LowerVector(ref LoweringContext l)
    {
        if (LowerVectorState(ref l))
            return true;
        if (l.Instruction.OpCount == 0)
            return LowerVectorWithoutOperands(ref l);
        VectorForm? form = l.Cpu.Stubs.FindForm(l.Instruction.Code);
        if (form is null)
            return false;
        Op* op = l.Op;
        op->Imm = VectorOperands.Pack(l.Instruction);
        op->Dst = (byte)(form.Mmx ? SimdGate.Mmx : form.Vex ? SimdGate.Avx : SimdGate.Sse);
        op->Src = (byte)l.Instruction.MemorySize.GetSize();
        op->Extra = (byte)form.AlignmentMask;
        op->LinkNotTaken = null;
        return LowerVectorMove(ref l) || LowerVectorInteger(ref l) || LowerMasked(ref l) || LowerStub(ref l, form);
    }

    private static bool LowerVectorWithoutOperands(ref LoweringContext l)
    {
        Op* op = l.Op;
        switch (l.Instruction.Mnemonic)
        {
            case Mnemonic.Vzeroupper when HostFeatures.Avx:
                op->Dst = (byte)SimdGate.Avx;
                op->Handler = &MoveHandlers.ZeroUpper;
                return true;
            case Mnemonic.Vzeroall when HostFeatures.Avx:
                op->Dst = (byte)SimdGate.Avx;
                op->Handler = &MoveHandlers.ZeroAll;
                return true;
            default:
                return false;
        }
    }

    private static bool LowerStub(ref LoweringContext l, VectorForm form)
    {
        Op* op = l.Op;
        ref Instruction i = ref l.Instruction;
        bool memory = false;
        bool store = false;
        for (int n = 0; n < i.OpCount; n++)
        {
            if (i.GetOpKind(n) == OpKind.Memory)
                (memory, store) = (true, n == 0 && !form.WritesFlags);
            else if (i.GetOpKind(n) is not (OpKind.Register or OpKind.Immediate8))
                return false;
        }
        // With a memory source these two do not touch the MMX state (SDM vol. 2, CVTPI2PD; AMD processors treat CVTPI2PS alike).
        bool mmx = form.Mmx && !(memory && i.Mnemonic is Mnemonic.Cvtpi2pd or Mnemonic.Cvtpi2ps);
        if (form.Mmx && form.Xmm)
            op->Dst = (byte)(mmx ? SimdGate.Mmx | SimdGate.Sse : SimdGate.Sse);
        if (mmx && store)
        {
            op->Extra |= (uint)(i.Op1Register - Register.MM0) << 8;
            op->Handler = &StubHandlers.MmxStore;
            return true;
        }
        nint stub = l.Cpu.Stubs.GetVector(i, form);
        if (stub == 0)
            return false;
        op->LinkNotTaken = (Op*)stub;
        if (mmx)
            op->Handler = memory ? &StubHandlers.MmxLoad : &StubHandlers.Mmx;
        else if (form.WritesFlags)
            op->Handler = memory ? &StubHandlers.LoadFlags : &StubHandlers.RegisterFlags;
        else if (store)
            op->Handler = &StubHandlers.Store;
        else if (form.Mxcsr)
            op->Handler = memory ? &StubHandlers.LoadFloat : &StubHandlers.RegisterFloat;
        else
            op->Handler = memory ? &StubHandlers.Load : &StubHandlers.Register;
        return true;
    }
}
