using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>CMPS and SCAS.</summary>
internal static unsafe class StringScans
{
    public static Op* Cmps<T>(CpuContext* c, Op* op)
        where T : unmanaged, IEquatable<T>
    {
        if (op->Extra == Repeat.None)
            return TryCompareOne<T>(c, op) ? op + 1 : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            ulong done = ComparePiece<T>(c, op, StringAddressing.Limit(c, count));
            if (done == 0)
            {
                if (!TryCompareOne<T>(c, op))
                    return Flow.Fault(c, op);
                done = 1;
            }
            if (IsOver(c, op, count, done))
                return op + 1;
            if (Volatile.Read(ref c->Request) != 0)
                return Flow.Restart(c, op);
        }
    }

    public static Op* Scas<T>(CpuContext* c, Op* op)
        where T : unmanaged, IEquatable<T>
    {
        if (op->Extra == Repeat.None)
            return TryScanOne<T>(c, op) ? op + 1 : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            ulong done = ScanPiece<T>(c, op, StringAddressing.Limit(c, count));
            if (done == 0)
            {
                if (!TryScanOne<T>(c, op))
                    return Flow.Fault(c, op);
                done = 1;
            }
            if (IsOver(c, op, count, done))
                return op + 1;
            if (Volatile.Read(ref c->Request) != 0)
                return Flow.Restart(c, op);
        }
    }

    private static bool IsOver(CpuContext* c, Op* op, ulong count, ulong done)
    {
        count -= done;
        StringAddressing.Set(c, op, StringAddressing.Rcx, count);
        return count == 0 || Flags.GetZf(c) != (op->Extra == Repeat.WhileEqual);
    }

    private static void SetFlags<T>(CpuContext* c, T left, T right)
        where T : unmanaged
    {
        ulong a = Operands.Zero(left), b = Operands.Zero(right);
        Carries.SetSubtract<T>(c, a, b, a - b);
    }

    private static bool TryCompareOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm, destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        if (!StringAddressing.TryLinear(c, op, op->Segment, source, sizeof(T), write: false, out ulong first)
            || !StringAddressing.TryLinear(c, op, SegmentIndex.Es, destination, sizeof(T), write: false, out ulong second)
            || !GuestAccess.TryReadLinear(c, first, out T left)
            || !GuestAccess.TryReadLinear(c, second, out T right))
        {
            return false;
        }
        StringAddressing.Advance(c, op, StringAddressing.Rsi, (ulong)sizeof(T));
        StringAddressing.Advance(c, op, StringAddressing.Rdi, (ulong)sizeof(T));
        SetFlags(c, left, right);
        return true;
    }

    private static bool TryScanOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        if (!StringAddressing.TryLinear(c, op, SegmentIndex.Es, destination, sizeof(T), write: false, out ulong linear)
            || !GuestAccess.TryReadLinear(c, linear, out T right))
        {
            return false;
        }
        StringAddressing.Advance(c, op, StringAddressing.Rdi, (ulong)sizeof(T));
        SetFlags(c, Operands.Get<T>(c, OperandOffset.Rax), right);
        return true;
    }

    // REPE CMPS upwards; the other directions and conditions are rare.
    private static ulong ComparePiece<T>(CpuContext* c, Op* op, ulong count)
        where T : unmanaged, IEquatable<T>
    {
        if (op->Extra != Repeat.WhileEqual || StringAddressing.IsDown(c))
            return 0;
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm, destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        count = StringAddressing.Contiguous(c, op, op->Segment, source, sizeof(T), count);
        count = StringAddressing.Contiguous(c, op, SegmentIndex.Es, destination, sizeof(T), count);
        if (count == 0)
            return 0;
        byte* left = StringAddressing.TryPin(c, op, op->Segment, source, sizeof(T), count, write: false);
        byte* right = left == null ? null : StringAddressing.TryPin(c, op, SegmentIndex.Es, destination, sizeof(T), count, write: false);
        if (right == null)
            return 0;
        var first = new ReadOnlySpan<T>(left, (int)count);
        var second = new ReadOnlySpan<T>(right, (int)count);
        int last = Math.Min(first.CommonPrefixLength(second), (int)count - 1);
        // Other processors may write meanwhile: what is compared once more decides.
        SetFlags(c, first[last], second[last]);
        ulong done = (ulong)last + 1;
        StringAddressing.Advance(c, op, StringAddressing.Rsi, done * (ulong)sizeof(T));
        StringAddressing.Advance(c, op, StringAddressing.Rdi, done * (ulong)sizeof(T));
        return done;
    }

    private static ulong ScanPiece<T>(CpuContext* c, Op* op, ulong count)
        where T : unmanaged, IEquatable<T>
    {
        if (StringAddressing.IsDown(c))
            return 0;
        ulong destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        count = StringAddressing.Contiguous(c, op, SegmentIndex.Es, destination, sizeof(T), count);
        if (count == 0)
            return 0;
        byte* p = StringAddressing.TryPin(c, op, SegmentIndex.Es, destination, sizeof(T), count, write: false);
        if (p == null)
            return 0;
        T value = Operands.Get<T>(c, OperandOffset.Rax);
        var span = new ReadOnlySpan<T>(p, (int)count);
        int last = op->Extra == Repeat.WhileEqual ? span.IndexOfAnyExcept(value) : span.IndexOf(value);
        if (last < 0)
            last = (int)count - 1;
        SetFlags(c, value, span[last]);
        ulong done = (ulong)last + 1;
        StringAddressing.Advance(c, op, StringAddressing.Rdi, done * (ulong)sizeof(T));
        return done;
    }
}
