using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Interpreter.Operands;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Near control transfers. Op.Imm of a direct branch is its target relative to the start of the block.</summary>
[SkipLocalsInit]
internal static unsafe class Branches
{
    private const int Rsp = 4;

    /// <summary>Condition of an op: bits 3:0 of the opcode.</summary>
    private const uint ConditionMask = 15;

    /// <summary>In Op.Extra: the target is truncated to 16 bits.</summary>
    public const uint Operand16 = 0x100;

    /// <summary>The pseudo-op behind a block without a branch.</summary>
    public static Op* Continue(CpuContext* c, Op* op)
    {
        c->Retired += op->Ordinal;
        return EnterLinked(c, op->Link, &op->Link, MaskRip(c, c->BlockRip + op->RipOffset));
    }

    public static Op* Jump(CpuContext* c, Op* op) => Direct(c, op, op->Link, &op->Link, op->Imm);

    public static Op* Jcc(CpuContext* c, Op* op)
        => Flags.Test(c, (int)(op->Extra & ConditionMask))
            ? Direct(c, op, op->Link, &op->Link, op->Imm)
            : NotTaken(c, op);

    // The conditions that compilers use most have handlers of their own.
    public static Op* Jz(CpuContext* c, Op* op) => Flags.GetZf(c) ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);

    public static Op* Jnz(CpuContext* c, Op* op) => !Flags.GetZf(c) ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);

    public static Op* Jc(CpuContext* c, Op* op) => Flags.GetCf(c) ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);

    public static Op* Jnc(CpuContext* c, Op* op) => !Flags.GetCf(c) ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);

    public static Op* JumpReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Indirect(c, op, Zero(Get<T>(c, op->Src)));

    public static Op* JumpMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryRead(c, op, out T target) ? Indirect(c, op, Zero(target)) : Flow.Fault(c, op);

    public static Op* Call<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong target = Target(c, op, op->Imm);
        if (!IsLegalTarget(c, target))
            return Flow.Raise(c, op, Vector.Gp, 0);
        return Stack.TryPush(c, Truncate<T>(Flow.NextRip(c, op))) ? Direct(c, op, op->Link, &op->Link, op->Imm) : Flow.Fault(c, op);
    }

    public static Op* CallReg<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => CallIndirect(c, op, Get<T>(c, op->Src));

    public static Op* CallMem<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryRead(c, op, out T target) ? CallIndirect(c, op, target) : Flow.Fault(c, op);

    private static Op* CallIndirect<T>(CpuContext* c, Op* op, T target)
        where T : unmanaged
    {
        if (!IsLegalTarget(c, Zero(target)))
            return Flow.Raise(c, op, Vector.Gp, 0);
        return Stack.TryPush(c, Truncate<T>(Flow.NextRip(c, op))) ? Flow.Goto(c, op, Zero(target)) : Flow.Fault(c, op);
    }

    /// <summary>RET and RET imm16.</summary>
    public static Op* Return<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!Stack.TryPeek(c, 0, out T target))
            return Flow.Fault(c, op);
        if (!IsLegalTarget(c, Zero(target)))
            return Flow.Raise(c, op, Vector.Gp, 0);
        Stack.Adjust(c, sizeof(T) + (long)op->Imm);
        return Flow.Goto(c, op, Zero(target));
    }

    /// <summary>JCXZ, JECXZ, JRCXZ; T is the address size.</summary>
    public static Op* JumpIfCxZero<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Zero(Get<T>(c, OperandOffset.Rcx)) == 0 ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);

    /// <summary>LOOP (Extra 0), LOOPE (1), LOOPNE (2); T is the address size.</summary>
    public static Op* Loop<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong count = Zero(Truncate<T>(Zero(Get<T>(c, OperandOffset.Rcx)) - 1));
        bool taken = count != 0 && (op->Extra & 3) switch
        {
            1 => Flags.GetZf(c),
            2 => !Flags.GetZf(c),
            _ => true,
        };
        if (taken && !IsLegalTarget(c, Target(c, op, op->Imm)))
            return Flow.Raise(c, op, Vector.Gp, 0);
        Set(c, OperandOffset.Rcx, Truncate<T>(count));
        return taken ? Direct(c, op, op->Link, &op->Link, op->Imm) : NotTaken(c, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong MaskRip(CpuContext* c, ulong rip) => Flow.MaskRip(c, rip);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Target(CpuContext* c, Op* op, ulong relative)
    {
        ulong target = MaskRip(c, c->BlockRip + relative);
        return (op->Extra & Operand16) != 0 ? (ushort)target : target;
    }

    // A direct branch reaches at most 2 GiB, so in 64-bit mode only code next to the canonical hole can miss.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsLegalTarget(CpuContext* c, ulong target)
        => c->CodeBits == 64 ? SlowAccess.IsCanonical(target) : target <= c->Segments[SegmentIndex.Cs].Limit;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* NotTaken(CpuContext* c, Op* op)
    {
        c->Retired += op->Ordinal + 1u;
        return EnterLinked(c, op->LinkNotTaken, &op->LinkNotTaken, MaskRip(c, Flow.NextRip(c, op)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* Direct(CpuContext* c, Op* op, Op* linked, Op** link, ulong relative)
    {
        ulong target = Target(c, op, relative);
        if (linked == null && !IsLegalTarget(c, target))
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->Retired += op->Ordinal + 1u;
        return EnterLinked(c, linked, link, target);
    }

    private static Op* Indirect(CpuContext* c, Op* op, ulong target)
        => IsLegalTarget(c, target) ? Flow.Goto(c, op, target) : Flow.Raise(c, op, Vector.Gp, 0);

    // A successor in the same page stays where it is as long as this page is mapped, which it is while its code runs: it can be linked for good.
    // Outside 64-bit mode that holds with a page-aligned CS base; CS limits are the reason to link only flat code there.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* EnterLinked(CpuContext* c, Op* linked, Op** link, ulong rip)
    {
        if (linked != null && Volatile.Read(ref c->Request) == 0)
        {
            c->BlockRip = rip;
            return linked;
        }
        return EnterUnlinked(c, link, rip);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* EnterUnlinked(CpuContext* c, Op** link, ulong rip)
    {
        ulong page = c->BlockRip;
        Op* next = Flow.Enter(c, rip);
        bool linkable = ((page ^ rip) & ~0xFFFUL) == 0 && (c->CodeBits == 64 || (c->JumpCodeBase == 0 && c->JumpCodeLimit == uint.MaxValue));
        if (!linkable)
            return next;
        if (next != null)
        {
            *link = next;
        }
        else
        {
            c->LinkFrom = link;
            c->LinkRip = rip;
        }
        return next;
    }
}
