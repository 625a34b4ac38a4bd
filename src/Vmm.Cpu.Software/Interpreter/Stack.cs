using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Interpreter.Operands;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>The stack: pushes and pops at the current stack size, and their instructions.</summary>
[SkipLocalsInit]
internal static unsafe class Stack
{
    private const int Rsp = 4;

    /// <summary>Pushes a value. RSP changes only when the write was done; a failed one leaves #SS or #PF pending.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryPush<T>(CpuContext* c, T value)
        where T : unmanaged
    {
        if (c->CodeBits == 64)
        {
            ulong sp = c->Gpr[Rsp] - (ulong)sizeof(T);
            if (!GuestAccess.TryWriteLinear(c, sp, value))
                return StackFault(c);
            c->Gpr[Rsp] = sp;
            return true;
        }
        return TryPushLegacy(c, value);
    }

    /// <summary>Reads the top of the stack, or above it; RSP stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryPeek<T>(CpuContext* c, int above, out T value)
        where T : unmanaged
    {
        if (c->CodeBits == 64)
            return GuestAccess.TryReadLinear(c, c->Gpr[Rsp] + (ulong)above, out value) || StackFault(c);
        return TryPeekLegacy(c, above, out value);
    }

    /// <summary>Adds to the stack pointer at its current size.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Adjust(CpuContext* c, long delta)
    {
        ulong mask = c->StackMask;
        c->Gpr[Rsp] = (c->Gpr[Rsp] & ~mask) | ((c->Gpr[Rsp] + (ulong)delta) & mask);
    }

    /// <summary>Turns the pending #GP of a non-canonical stack address into #SS.</summary>
    public static bool StackFault(CpuContext* c)
    {
        if (c->PendingNonCanonical != 0)
        {
            c->PendingNonCanonical = 0;
            c->PendingVector = Vector.Ss;
        }
        return false;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryPushLegacy<T>(CpuContext* c, T value)
        where T : unmanaged
    {
        ulong sp = (c->Gpr[Rsp] - (ulong)sizeof(T)) & c->StackMask;
        ulong linear = sp;
        if (!SegmentedAccess.TryLinear(c, SegmentIndex.Ss, ref linear, sizeof(T), write: true) || !GuestAccess.TryWriteLinear(c, linear, value))
            return false;
        c->Gpr[Rsp] = (c->Gpr[Rsp] & ~c->StackMask) | sp;
        return true;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryPeekLegacy<T>(CpuContext* c, int above, out T value)
        where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        ulong linear = (c->Gpr[Rsp] + (ulong)above) & c->StackMask;
        return SegmentedAccess.TryLinear(c, SegmentIndex.Ss, ref linear, sizeof(T), write: false) && GuestAccess.TryReadLinear(c, linear, out value);
    }

    public static Op* PushReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => TryPush(c, Get<T>(c, op->Src)) ? op + 1 : Flow.Fault(c, op);

    public static Op* PushImm<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => TryPush(c, Truncate<T>(op->Imm)) ? op + 1 : Flow.Fault(c, op);

    public static Op* PushMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryRead(c, op, out T value) && TryPush(c, value) ? op + 1 : Flow.Fault(c, op);

    public static Op* PopReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!TryPeek(c, 0, out T value))
            return Flow.Fault(c, op);
        Adjust(c, sizeof(T));
        Set(c, op->Dst, value);
        return op + 1;
    }

    /// <summary>POP to memory: an RSP-based address is computed after the increment (SDM vol. 2, POP).</summary>
    public static Op* PopMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!TryPeek(c, 0, out T value))
            return Flow.Fault(c, op);
        ulong before = c->Gpr[Rsp];
        Adjust(c, sizeof(T));
        if (GuestAccess.TryWrite(c, op, value))
            return op + 1;
        c->Gpr[Rsp] = before;
        return Flow.Fault(c, op);
    }
}
