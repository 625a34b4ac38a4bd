using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// x87 computations, each through a host stub on the image in the context. <see cref="Op.Imm"/> holds the opcode for FOP, <see cref="Op.Src"/> the size of the
/// memory operand. With CR0.NE = 0 a pending exception is reported as #MF too: the external way through FERR# and IRQ 13 is not modelled.
/// </summary>
internal static unsafe class X87Handlers
{
    // IE, DE, ZE, OE, UE: unmasked, they suppress a store; PE does not (SDM vol. 1, 8.5).
    private const int StoreSuppressing = 0x1F;

    /// <summary>Registers only.</summary>
    public static Op* Register(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        Call(c, op, null);
        Remember(c, op);
        return op + 1;
    }

    /// <summary>FCMOVcc, FCOMI and so on: the flags go in and out.</summary>
    public static Op* RegisterFlags(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        ulong flags = Call(c, op, (void*)(Flags.GetArithmetic(c) | 2));
        Flags.SetArithmetic(c, flags);
        Remember(c, op);
        return op + 1;
    }

    /// <summary>A memory source.</summary>
    public static Op* Load(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        void* memory = TryLoad(c, op);
        if (memory == null)
            return Flow.Fault(c, op);
        Call(c, op, memory);
        Remember(c, op);
        X87State.LastData(c) = Offset(c, op);
        return op + 1;
    }

    /// <summary>A memory destination. Off the fast path the registers are put back when the write faults.</summary>
    public static Op* Store(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        if (!TryLinear(c, op, write: true, out ulong linear))
            return Flow.Fault(c, op);
        ulong offset = Offset(c, op);
        byte* pinned = GuestAccess.TryPin(c, linear, op->Src);
        if (pinned != null)
        {
            Call(c, op, pinned);
        }
        else
        {
            FxImage before = c->Fx;
            Call(c, op, &c->Scratch);
            // A store that an exception suppresses still faults when its page does.
            bool suppressed = (X87State.StatusWord(c) & ~X87State.ControlWord(c) & StoreSuppressing) != 0;
            bool accessible = suppressed
                ? SlowAccess.TryReadForWrite(c, linear, &c->Scratch, op->Src)
                : SlowAccess.TryWrite(c, linear, &c->Scratch, op->Src, Access.Write);
            if (!accessible)
            {
                c->Fx = before;
                return Flow.Fault(c, op);
            }
        }
        Remember(c, op);
        X87State.LastData(c) = offset;
        return op + 1;
    }

    /// <summary>WAIT.</summary>
    public static Op* Wait(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return X87State.IsExceptionPending(c) ? Flow.Raise(c, op, Interpreter.Vector.Mf) : op + 1;
    }

    // FIP and FOP of the guest's instruction, in place of the stub's (FCS and FDS are deprecated: always 0).
    private static void Remember(CpuContext* c, Op* op)
    {
        X87State.LastOpcode(c) = (ushort)op->Imm;
        X87State.LastInstruction(c) = Flow.MaskRip(c, c->BlockRip + op->RipOffset);
    }

    private static ulong Offset(CpuContext* c, Op* op)
    {
        ulong offset = GuestAccess.Effective(c, op);
        return op->AddressKind switch
        {
            AddressKind.Flat64 or AddressKind.Based64 => offset,
            AddressKind.Legacy16 => (ushort)offset,
            _ => (uint)offset,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Call(CpuContext* c, Op* op, void* memory)
    {
        ulong data = X87State.LastData(c);
        ulong result = ((delegate* unmanaged[SuppressGCTransition]<CpuContext*, void*, ulong>)op->LinkNotTaken)(c, memory);
        X87State.LastData(c) = data;
        return result;
    }
}
