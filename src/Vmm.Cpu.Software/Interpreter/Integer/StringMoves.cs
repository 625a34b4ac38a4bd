using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>
/// MOVS, STOS, LODS. Repeated ones work in pieces that lie within a page on either side; RSI, RDI and RCX are committed after each piece, so that
/// faults and interrupts find the instruction restartable.
/// </summary>
internal static unsafe class StringMoves
{
    public static Op* Movs<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (op->Extra == Repeat.None)
            return TryMoveOne<T>(c, op) ? op + 1 : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            ulong done = MovePiece<T>(c, op, StringAddressing.Limit(c, count));
            if (done == 0)
            {
                if (!TryMoveOne<T>(c, op))
                    return Flow.Fault(c, op);
                done = 1;
            }
            StringAddressing.Set(c, op, StringAddressing.Rcx, count - done);
            if (count != done && Volatile.Read(ref c->Request) != 0)
                return Flow.Restart(c, op);
        }
    }

    public static Op* Stos<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (op->Extra == Repeat.None)
            return TryStoreOne<T>(c, op) ? op + 1 : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            ulong done = StorePiece<T>(c, op, StringAddressing.Limit(c, count));
            if (done == 0)
            {
                if (!TryStoreOne<T>(c, op))
                    return Flow.Fault(c, op);
                done = 1;
            }
            StringAddressing.Set(c, op, StringAddressing.Rcx, count - done);
            if (count != done && Volatile.Read(ref c->Request) != 0)
                return Flow.Restart(c, op);
        }
    }

    public static Op* Lods<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (op->Extra == Repeat.None)
            return TryLoadOne<T>(c, op) ? op + 1 : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            if (!TryLoadOne<T>(c, op))
                return Flow.Fault(c, op);
            StringAddressing.Set(c, op, StringAddressing.Rcx, --count);
            if (count != 0 && Volatile.Read(ref c->Request) != 0)
                return Flow.Restart(c, op);
        }
    }

    private static bool TryMoveOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm, destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        if (!StringAddressing.TryLinear(c, op, op->Segment, source, sizeof(T), write: false, out ulong from)
            || !StringAddressing.TryLinear(c, op, SegmentIndex.Es, destination, sizeof(T), write: true, out ulong to)
            || !GuestAccess.TryReadLinear(c, from, out T value)
            || !GuestAccess.TryWriteLinear(c, to, value))
        {
            return false;
        }
        StringAddressing.Advance(c, op, StringAddressing.Rsi, (ulong)sizeof(T));
        StringAddressing.Advance(c, op, StringAddressing.Rdi, (ulong)sizeof(T));
        return true;
    }

    private static bool TryStoreOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        if (!StringAddressing.TryLinear(c, op, SegmentIndex.Es, destination, sizeof(T), write: true, out ulong to)
            || !GuestAccess.TryWriteLinear(c, to, Operands.Get<T>(c, OperandOffset.Rax)))
        {
            return false;
        }
        StringAddressing.Advance(c, op, StringAddressing.Rdi, (ulong)sizeof(T));
        return true;
    }

    private static bool TryLoadOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm;
        if (!StringAddressing.TryLinear(c, op, op->Segment, source, sizeof(T), write: false, out ulong from)
            || !GuestAccess.TryReadLinear(c, from, out T value))
        {
            return false;
        }
        Operands.Set(c, OperandOffset.Rax, value);
        StringAddressing.Advance(c, op, StringAddressing.Rsi, (ulong)sizeof(T));
        return true;
    }

    private static ulong MovePiece<T>(CpuContext* c, Op* op, ulong count)
        where T : unmanaged
    {
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm, destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        count = StringAddressing.Contiguous(c, op, op->Segment, source, sizeof(T), count);
        count = StringAddressing.Contiguous(c, op, SegmentIndex.Es, destination, sizeof(T), count);
        if (count == 0)
            return 0;
        byte* from = StringAddressing.TryPin(c, op, op->Segment, source, sizeof(T), count, write: false);
        if (from == null)
            return 0;
        byte* to = StringAddressing.TryPin(c, op, SegmentIndex.Es, destination, sizeof(T), count, write: true);
        if (to == null)
            return 0;
        ulong bytes = count * (ulong)sizeof(T);
        if (StringAddressing.IsDown(c))
            CopyDown<T>(from, to, bytes);
        else
            CopyUp<T>(from, to, bytes);
        StringAddressing.Advance(c, op, StringAddressing.Rsi, bytes);
        StringAddressing.Advance(c, op, StringAddressing.Rdi, bytes);
        return count;
    }

    // Element by element where an element that was written is read again later; the host addresses decide, so that aliases count too.
    private static void CopyUp<T>(byte* from, byte* to, ulong bytes)
        where T : unmanaged
    {
        if (to <= from || to >= from + bytes)
        {
            Buffer.MemoryCopy(from, to, bytes, bytes);
            return;
        }
        for (ulong i = 0; i < bytes; i += (ulong)sizeof(T))
            Unsafe.WriteUnaligned(to + i, Unsafe.ReadUnaligned<T>(from + i));
    }

    private static void CopyDown<T>(byte* from, byte* to, ulong bytes)
        where T : unmanaged
    {
        if (to >= from || to + bytes <= from)
        {
            Buffer.MemoryCopy(from, to, bytes, bytes);
            return;
        }
        for (ulong i = bytes; i != 0; i -= (ulong)sizeof(T))
            Unsafe.WriteUnaligned(to + i - sizeof(T), Unsafe.ReadUnaligned<T>(from + i - sizeof(T)));
    }

    private static ulong StorePiece<T>(CpuContext* c, Op* op, ulong count)
        where T : unmanaged
    {
        ulong destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        count = StringAddressing.Contiguous(c, op, SegmentIndex.Es, destination, sizeof(T), count);
        if (count == 0)
            return 0;
        byte* to = StringAddressing.TryPin(c, op, SegmentIndex.Es, destination, sizeof(T), count, write: true);
        if (to == null)
            return 0;
        new Span<T>(to, (int)count).Fill(Operands.Get<T>(c, OperandOffset.Rax));
        StringAddressing.Advance(c, op, StringAddressing.Rdi, count * (ulong)sizeof(T));
        return count;
    }
}
