using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>What an access to linear memory is for, and on whose behalf.</summary>
[Flags]
internal enum Access
{
    /// <summary>A data read at the current privilege.</summary>
    Read = 0,

    /// <summary>A data write, or the read of a read-modify-write.</summary>
    Write = 1,

    /// <summary>An instruction fetch.</summary>
    Fetch = 2,

    /// <summary>An implicit supervisor access (descriptor tables, TSS, stack of an inner level), whatever the CPL is.</summary>
    Supervisor = 4,
}

/// <summary>
/// The guest-memory accesses of the interpreter's handlers. Each returns false when the access faults; then the exception is pending in
/// the context and the handler returns <c>Flow.Fault(c, op)</c>. The fast path is one TLB probe with one compare for miss and page crossing.
/// </summary>
internal static unsafe class GuestAccess
{
    /// <summary>Linear address of an op's memory operand for an access of <paramref name="size"/> bytes.</summary>
    /// <returns>False when a segment check fails (#GP or #SS pending).</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryLinear(CpuContext* c, Op* op, int size, bool write, out ulong linear)
    {
        linear = Effective(c, op);
        if (op->AddressKind == AddressKind.Flat64)
            return true;
        // Through the context, so that the local's address is not taken and it can stay in a register.
        c->AccessLinear = linear;
        bool done = SegmentedAccess.TryLinear(c, op, size, write);
        linear = c->AccessLinear;
        return done;
    }

    /// <summary>Base + scaled index + displacement, not truncated: what LEA wants in 64-bit mode.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Effective(CpuContext* c, Op* op)
        => *(ulong*)((byte*)c + op->Base) + (*(ulong*)((byte*)c + op->Index) << op->Scale) + (ulong)op->Disp;

    /// <summary>Reads an op's memory operand.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryRead<T>(CpuContext* c, Op* op, out T value)
        where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        return TryLinear(c, op, sizeof(T), write: false, out ulong linear) && TryReadLinear(c, linear, out value);
    }

    /// <summary>Writes an op's memory operand.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryWrite<T>(CpuContext* c, Op* op, T value)
        where T : unmanaged
        => TryLinear(c, op, sizeof(T), write: true, out ulong linear) && TryWriteLinear(c, linear, value);

    /// <summary>Reads linear memory at the current privilege.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryReadLinear<T>(CpuContext* c, ulong linear, out T value)
        where T : unmanaged
    {
        TlbEntry* e = Tlb.Find(c->DataTlb, linear);
        if ((e->TagRead ^ linear) <= (ulong)(4096 - sizeof(T)))
        {
            value = Unsafe.ReadUnaligned<T>((byte*)linear + e->Addend);
            return true;
        }
        bool done = SlowAccess.TryRead(c, linear, &c->AccessValue, sizeof(T), Access.Read);
        value = *(T*)&c->AccessValue;
        return done;
    }

    /// <summary>Writes linear memory at the current privilege.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryWriteLinear<T>(CpuContext* c, ulong linear, T value)
        where T : unmanaged
    {
        TlbEntry* e = Tlb.Find(c->DataTlb, linear);
        if ((e->TagWrite ^ linear) <= (ulong)(4096 - sizeof(T)))
        {
            Unsafe.WriteUnaligned((byte*)linear + e->Addend, value);
            return true;
        }
        *(T*)&c->AccessValue = value;
        return SlowAccess.TryWrite(c, linear, &c->AccessValue, sizeof(T), Access.Write);
    }

    /// <summary>
    /// Gives the host address of memory that can be written in place: the fast path of read-modify-write and locked
    /// instructions. When it gives null, use <see cref="SlowAccess.TryReadForWrite"/> and then <see cref="SlowAccess.TryWrite"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* TryPin(CpuContext* c, ulong linear, int size)
    {
        TlbEntry* e = Tlb.Find(c->DataTlb, linear);
        return (e->TagWrite ^ linear) <= (ulong)(4096 - size) ? (byte*)linear + e->Addend : null;
    }

    /// <summary>Reads linear memory with given rights, e.g. <see cref="Access.Supervisor"/> for descriptor tables.</summary>
    public static bool TryReadLinear<T>(CpuContext* c, ulong linear, out T value, Access access)
        where T : unmanaged
    {
        fixed (T* p = &value)
            return SlowAccess.TryRead(c, linear, p, sizeof(T), access);
    }

    /// <summary>Writes linear memory with given rights.</summary>
    public static bool TryWriteLinear<T>(CpuContext* c, ulong linear, T value, Access access)
        where T : unmanaged
        => SlowAccess.TryWrite(c, linear, &value, sizeof(T), access | Access.Write);
}
