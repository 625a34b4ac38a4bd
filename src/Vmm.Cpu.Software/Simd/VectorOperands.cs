using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Iced.Intel;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// How ops of vector instructions are laid out: <see cref="Op.Imm"/> holds the context offsets of up to four register operands, 16 bits each;
/// <see cref="Op.Dst"/> the gate; <see cref="Op.Src"/> the size of the memory operand; <see cref="Op.Extra"/> the alignment mask in its low byte;
/// <see cref="Op.LinkNotTaken"/> the stub.
/// </summary>
internal static unsafe class VectorOperands
{
    private static readonly int VectorsOffset = (int)Marshal.OffsetOf<CpuContext>(nameof(CpuContext.Vectors));
    private static readonly int FxOffset = (int)Marshal.OffsetOf<CpuContext>(nameof(CpuContext.Fx));

    /// <summary>Context offset of a register.</summary>
    public static int OffsetOf(Register r)
    {
        if (r.IsXMM())
            return VectorsOffset + ((r - Register.XMM0) * 32);
        if (r.IsYMM())
            return VectorsOffset + ((r - Register.YMM0) * 32);
        if (r.IsMM())
            return FxOffset + 32 + ((r - Register.MM0) * 16);
        return Lowering.OffsetOf(r);
    }

    /// <summary>Packs the register operands of an instruction for <see cref="Op.Imm"/>.</summary>
    public static ulong Pack(in Instruction i)
    {
        ulong packed = 0;
        for (int n = 0; n < i.OpCount; n++)
        {
            if (i.GetOpKind(n) == OpKind.Register)
                packed |= (ulong)OffsetOf(i.GetOpRegister(n)) << (n * 16);
        }
        return packed;
    }

    /// <summary>Address of register operand <paramref name="n"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* At(CpuContext* c, Op* op, int n) => (byte*)c + (ushort)(op->Imm >> (n * 16));

    /// <summary>Whether the gate of this op is closed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Closed(CpuContext* c, Op* op) => (c->SimdGate & op->Dst) != 0;

    /// <summary>Raises what the closed gate raises.</summary>
    public static Op* GateFault(CpuContext* c, Op* op) => SimdGate.Fault(c, op, op->Dst);

    /// <summary>Linear address of the memory operand after segment and alignment checks.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryLinear(CpuContext* c, Op* op, bool write, out ulong linear)
    {
        if (!GuestAccess.TryLinear(c, op, op->Src, write, out linear))
            return false;
        if ((linear & (byte)op->Extra) == 0)
            return true;
        Flow.SetPending(c, Interpreter.Vector.Gp, 0);
        return false;
    }

    /// <summary>The memory operand for reading: in guest memory if the TLB has it, else copied to the scratch area. Null when it faults.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* TryLoad(CpuContext* c, Op* op)
    {
        if (!TryLinear(c, op, write: false, out ulong linear))
            return null;
        TlbEntry* e = Tlb.Find(c->DataTlb, linear);
        if ((e->TagRead ^ linear) <= 4096UL - op->Src)
            return (byte*)linear + e->Addend;
        return SlowAccess.TryRead(c, linear, &c->Scratch, op->Src, Access.Read) ? &c->Scratch : null;
    }

    /// <summary>Reads a memory operand of a constant size.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryRead<T>(CpuContext* c, Op* op, out T value)
        where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        return TryLinear(c, op, write: false, out ulong linear) && GuestAccess.TryReadLinear(c, linear, out value);
    }

    /// <summary>Writes a memory operand of a constant size.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryWrite<T>(CpuContext* c, Op* op, T value)
        where T : unmanaged
        => TryLinear(c, op, write: true, out ulong linear) && GuestAccess.TryWriteLinear(c, linear, value);
}
