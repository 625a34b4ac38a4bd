using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Interpreter.Operands;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Data movement between registers and memory.</summary>
[SkipLocalsInit]
internal static unsafe class Moves
{
    public static Op* RegReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set(c, op->Dst, Get<T>(c, op->Src));
        return op + 1;
    }

    public static Op* RegImm<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set(c, op->Dst, Truncate<T>(op->Imm));
        return op + 1;
    }

    public static Op* RegMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out T value))
            return Flow.Fault(c, op);
        Set(c, op->Dst, value);
        return op + 1;
    }

    public static Op* MemReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, Get<T>(c, op->Src)) ? op + 1 : Flow.Fault(c, op);

    public static Op* MemImm<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, Truncate<T>(op->Imm)) ? op + 1 : Flow.Fault(c, op);

    public static Op* ZeroExtendReg<TTo, TFrom>(CpuContext* c, Op* op)
        where TTo : unmanaged
        where TFrom : unmanaged
    {
        Set(c, op->Dst, Truncate<TTo>(Zero(Get<TFrom>(c, op->Src))));
        return op + 1;
    }

    public static Op* ZeroExtendMem<TTo, TFrom>(CpuContext* c, Op* op)
        where TTo : unmanaged
        where TFrom : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out TFrom value))
            return Flow.Fault(c, op);
        Set(c, op->Dst, Truncate<TTo>(Zero(value)));
        return op + 1;
    }

    public static Op* SignExtendReg<TTo, TFrom>(CpuContext* c, Op* op)
        where TTo : unmanaged
        where TFrom : unmanaged
    {
        Set(c, op->Dst, Truncate<TTo>(Sign(Get<TFrom>(c, op->Src))));
        return op + 1;
    }

    public static Op* SignExtendMem<TTo, TFrom>(CpuContext* c, Op* op)
        where TTo : unmanaged
        where TFrom : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out TFrom value))
            return Flow.Fault(c, op);
        Set(c, op->Dst, Truncate<TTo>(Sign(value)));
        return op + 1;
    }

    /// <summary>LEA with a 64-bit address size.</summary>
    public static Op* Lea<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set(c, op->Dst, Truncate<T>(GuestAccess.Effective(c, op)));
        return op + 1;
    }

    /// <summary>LEA with a 16- or 32-bit address size.</summary>
    public static Op* LeaTruncated<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong address = GuestAccess.Effective(c, op);
        Set(c, op->Dst, Truncate<T>(op->AddressKind == AddressKind.Legacy16 ? (ushort)address : (uint)address));
        return op + 1;
    }

    public static Op* Exchange<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        T a = Get<T>(c, op->Dst);
        Set(c, op->Dst, Get<T>(c, op->Src));
        Set(c, op->Src, a);
        return op + 1;
    }

    public static Op* Nop(CpuContext* c, Op* op) => op + 1;

    /// <summary>CBW, CWDE, CDQE: sign-extends the lower half of rAX into all of it.</summary>
    public static Op* ExtendAccumulator<TTo, TFrom>(CpuContext* c, Op* op)
        where TTo : unmanaged
        where TFrom : unmanaged
    {
        Set(c, OperandOffset.Rax, Truncate<TTo>(Sign(Get<TFrom>(c, OperandOffset.Rax))));
        return op + 1;
    }

    /// <summary>CWD, CDQ, CQO: fills rDX with the sign of rAX.</summary>
    public static Op* ExtendIntoDx<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set(c, OperandOffset.Rdx, Truncate<T>((ulong)((long)Sign(Get<T>(c, OperandOffset.Rax)) >> 63)));
        return op + 1;
    }

    public static Op* SetReg(CpuContext* c, Op* op)
    {
        Set(c, op->Dst, (byte)(Flags.Test(c, (int)op->Extra) ? 1 : 0));
        return op + 1;
    }

    public static Op* SetMem(CpuContext* c, Op* op)
        => GuestAccess.TryWrite(c, op, (byte)(Flags.Test(c, (int)op->Extra) ? 1 : 0)) ? op + 1 : Flow.Fault(c, op);

    /// <summary>CMOVcc: a 32-bit destination is zero-extended even when the condition is false.</summary>
    public static Op* ConditionalReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        Set(c, op->Dst, Get<T>(c, Flags.Test(c, (int)op->Extra) ? op->Src : op->Dst));
        return op + 1;
    }

    /// <summary>CMOVcc from memory: the load is made, and may fault, whatever the condition is.</summary>
    public static Op* ConditionalMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out T value))
            return Flow.Fault(c, op);
        Set(c, op->Dst, Flags.Test(c, (int)op->Extra) ? value : Get<T>(c, op->Dst));
        return op + 1;
    }
}
