using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// Masked moves and gathers: element by element, since elements that the mask leaves out must not fault (SDM vol. 2, VMASKMOV, VPGATHER). In
/// <see cref="Op.Extra"/>: bits 15:8 size of an element, 23:16 size of the vector, 31:24 size of a gather's index.
/// </summary>
internal static unsafe class MaskedHandlers
{
    /// <summary>VMASKMOVPS/PD, VPMASKMOVD/Q from memory.</summary>
    public static Op* Load(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        int element = (byte)(op->Extra >> 8);
        int size = (byte)(op->Extra >> 16);
        byte* mask = At(c, op, 1);
        byte* result = stackalloc byte[32];
        new Span<byte>(result, 32).Clear();
        if (!AnySelected(mask, element, size))
            return Finish(c, op, result);
        for (int i = 0; i < size; i += element)
        {
            if (!IsSelected(mask, i, element))
                continue;
            if (!TryLinear(c, op, i, element, write: false, out ulong linear) || !TryReadElement(c, linear, result + i, element))
                return Flow.Fault(c, op);
        }
        return Finish(c, op, result);
    }

    /// <summary>VMASKMOVPS/PD, VPMASKMOVD/Q to memory.</summary>
    public static Op* Store(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return StoreSelected(c, op, At(c, op, 1), At(c, op, 2)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>MASKMOVDQU and VMASKMOVDQU.</summary>
    public static Op* StoreBytes(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return StoreSelected(c, op, At(c, op, 2), At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>MASKMOVQ.</summary>
    public static Op* StoreMmxBytes(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        // Processors enter the MMX state before the store can fault.
        X87State.EnterMmx(c);
        byte* data = X87State.PhysicalRegister(c, (byte)op->Imm);
        byte* mask = X87State.PhysicalRegister(c, (byte)(op->Imm >> 8));
        return StoreSelected(c, op, mask, data) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>VGATHERxxx and VPGATHERxx: elements in order, each clears its mask; a fault keeps what is done.</summary>
    public static Op* Gather(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        int element = (byte)(op->Extra >> 8);
        int size = (byte)(op->Extra >> 16);
        int indexSize = (byte)(op->Extra >> 24);
        byte* destination = At(c, op, 0);
        byte* index = At(c, op, 1);
        byte* mask = At(c, op, 2);
        ulong start = *(ulong*)((byte*)c + op->Base) + (ulong)op->Disp;
        for (int i = 0, n = 0; i < size; i += element, n++)
        {
            if (!IsSelected(mask, i, element))
            {
                SetElement(mask + i, element, 0);
                continue;
            }
            long offset = indexSize == 4 ? ((int*)index)[n] : ((long*)index)[n];
            ulong address = start + ((ulong)offset << op->Scale);
            if (op->AddressKind != AddressKind.Flat64 && !SegmentedAccess.TryLinear(c, op, ref address, element, write: false))
                return Flow.Fault(c, op);
            if (!TryReadElement(c, address, destination + i, element))
                return Flow.Fault(c, op);
            SetElement(mask + i, element, 0);
        }
        new Span<byte>(mask, 32).Clear();
        new Span<byte>(destination + size, 32 - size).Clear();
        return op + 1;
    }

    private static Op* Finish(CpuContext* c, Op* op, byte* result)
    {
        new ReadOnlySpan<byte>(result, 32).CopyTo(new Span<byte>(At(c, op, 0), 32));
        return op + 1;
    }

    private static bool IsSelected(byte* mask, int offset, int element) => (mask[offset + element - 1] & 0x80) != 0;

    private static bool AnySelected(byte* mask, int element, int size)
    {
        for (int i = 0; i < size; i += element)
        {
            if (IsSelected(mask, i, element))
                return true;
        }
        return false;
    }

    private static void SetElement(byte* p, int element, ulong value)
    {
        if (element == 4)
            *(uint*)p = (uint)value;
        else
            *(ulong*)p = value;
    }

    private static bool TryReadElement(CpuContext* c, ulong linear, byte* destination, int element)
    {
        if (element == 4)
        {
            if (!GuestAccess.TryReadLinear(c, linear, out uint value))
                return false;
            *(uint*)destination = value;
            return true;
        }
        if (!GuestAccess.TryReadLinear(c, linear, out ulong wide))
            return false;
        *(ulong*)destination = wide;
        return true;
    }

    // All pages that selected elements touch are checked before the first element is written.
    private static bool StoreSelected(CpuContext* c, Op* op, byte* mask, byte* data)
    {
        int element = (byte)(op->Extra >> 8);
        int size = (byte)(op->Extra >> 16);
        if (!AnySelected(mask, element, size))
            return true;
        byte* ignored = stackalloc byte[8];
        for (int i = 0; i < size; i += element)
        {
            if (!IsSelected(mask, i, element))
                continue;
            if (!TryLinear(c, op, i, element, write: true, out ulong linear))
                return false;
            if (GuestAccess.TryPin(c, linear, element) == null && !SlowAccess.TryReadForWrite(c, linear, ignored, element))
                return false;
        }
        for (int i = 0; i < size; i += element)
        {
            if (!IsSelected(mask, i, element))
                continue;
            if (!TryLinear(c, op, i, element, write: true, out ulong linear) || !TryWriteElement(c, linear, data + i, element))
                return false;
        }
        return true;
    }

    // Segment checks too are for the selected elements only.
    private static bool TryLinear(CpuContext* c, Op* op, int offset, int element, bool write, out ulong linear)
    {
        linear = GuestAccess.Effective(c, op) + (ulong)offset;
        return op->AddressKind == AddressKind.Flat64 || SegmentedAccess.TryLinear(c, op, ref linear, element, write);
    }

    private static bool TryWriteElement(CpuContext* c, ulong linear, byte* source, int element) => element switch
    {
        1 => GuestAccess.TryWriteLinear(c, linear, *source),
        4 => GuestAccess.TryWriteLinear(c, linear, *(uint*)source),
        _ => GuestAccess.TryWriteLinear(c, linear, *(ulong*)source),
    };
}
