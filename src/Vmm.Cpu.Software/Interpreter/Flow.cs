using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Exception vectors.</summary>
internal static class Vector
{
    public const int De = 0;
    public const int Db = 1;
    public const int Nmi = 2;
    public const int Bp = 3;
    public const int Of = 4;
    public const int Br = 5;
    public const int Ud = 6;
    public const int Nm = 7;
    public const int Df = 8;
    public const int Ts = 10;
    public const int Np = 11;
    public const int Ss = 12;
    public const int Gp = 13;
    public const int Pf = 14;
    public const int Mf = 16;
    public const int Ac = 17;
    public const int Mc = 18;
    public const int Xm = 19;
}

/// <summary>How handlers end: with a fault, at the end of a block, or back in the run loop. See the remarks on <see cref="Op"/>.</summary>
internal static unsafe class Flow
{
    /// <summary>Makes an exception pending without an error code. The caller then returns <see cref="Fault"/>.</summary>
    public static void SetPending(CpuContext* c, int vector)
    {
        c->PendingVector = vector;
        c->PendingHasErrorCode = 0;
        c->PendingErrorCode = 0;
        c->PendingKind = PendingEventKind.Exception;
    }

    /// <summary>Makes an exception with an error code pending.</summary>
    public static void SetPending(CpuContext* c, int vector, uint errorCode)
    {
        c->PendingVector = vector;
        c->PendingHasErrorCode = 1;
        c->PendingErrorCode = errorCode;
        c->PendingKind = PendingEventKind.Exception;
    }

    /// <summary>Leaves the block at an instruction that faulted: RIP stays on it, and it does not count as retired.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Fault(CpuContext* c, Op* op)
    {
        c->Rip = MaskRip(c, c->BlockRip + op->RipOffset);
        c->Retired += op->Ordinal;
        if (c->PendingNonCanonical != 0)
        {
            c->PendingNonCanonical = 0;
            if (op->Segment == SegmentIndex.Ss && c->PendingVector == Vector.Gp)
                c->PendingVector = Vector.Ss;
        }
        return null;
    }

    /// <summary>
    /// Goes to the run loop with RIP on this instruction and nothing pending, so that it looks at requests and then runs the instruction again:
    /// a repeated string instruction between two pieces, or a lock that another processor holds.
    /// </summary>
    public static Op* Restart(CpuContext* c, Op* op) => Fault(c, op);

    /// <summary>Raises an exception without an error code at this instruction.</summary>
    public static Op* Raise(CpuContext* c, Op* op, int vector)
    {
        SetPending(c, vector);
        return Fault(c, op);
    }

    /// <summary>Raises an exception with an error code at this instruction.</summary>
    public static Op* Raise(CpuContext* c, Op* op, int vector, uint errorCode)
    {
        SetPending(c, vector, errorCode);
        return Fault(c, op);
    }

    /// <summary>RIP of the instruction behind this one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong NextRip(CpuContext* c, Op* op) => c->BlockRip + op->RipOffset + op->Length;

    /// <summary>
    /// Ends a block behind this instruction and goes to the run loop: for instructions that change what the loop has to look at (IF, mode,
    /// privilege, paging, debug state), and those that trap.
    /// </summary>
    public static Op* Leave(CpuContext* c, Op* op) => LeaveTo(c, op, MaskRip(c, NextRip(c, op)));

    /// <summary>Ends a block and goes to the run loop, which goes on at <paramref name="rip"/>.</summary>
    public static Op* LeaveTo(CpuContext* c, Op* op, ulong rip)
    {
        c->Rip = rip;
        c->Retired += op->Ordinal + 1u;
        return null;
    }

    /// <summary>
    /// Ends a block with a jump within the same code segment: to the block at <paramref name="rip"/> if the jump cache has it, else to the run
    /// loop. The caller has checked the target (canonical, within the limit).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Goto(CpuContext* c, Op* op, ulong rip)
    {
        c->Retired += op->Ordinal + 1u;
        return Enter(c, rip);
    }

    /// <summary>Finds the block at a RIP in the jump cache, or sets RIP and goes to the run loop.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Enter(CpuContext* c, ulong rip)
    {
        JumpEntry* e = BlockCache.FindJump(c, rip);
        if (e->Rip == rip && e->Key == c->JumpKey && Volatile.Read(ref c->Request) == 0)
        {
            c->BlockRip = rip;
            return e->Ops;
        }
        c->Rip = rip;
        return null;
    }

    /// <summary>Truncates an instruction pointer to the current code size (EIP outside 64-bit mode).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong MaskRip(CpuContext* c, ulong rip) => c->CodeBits == 64 ? rip : (uint)rip;
}
