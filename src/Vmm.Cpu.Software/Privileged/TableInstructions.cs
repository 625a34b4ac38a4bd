using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, SMSW, LMSW (SDM vol. 2; UMIP: vol. 3, 2.5).</summary>
internal static unsafe class TableInstructions
{
    /// <summary>LGDT: Extra is 2 with a 16-bit operand size (24-bit base), 4, or 8.</summary>
    public static Op* Lgdt(CpuContext* c, Op* op)
    {
        if (!TryLoadTable(c, op, out ushort limit, out ulong address))
            return Flow.Fault(c, op);
        c->GdtrLimit = limit;
        c->GdtrBase = address;
        return op + 1;
    }

    /// <summary>LIDT.</summary>
    public static Op* Lidt(CpuContext* c, Op* op)
    {
        if (!TryLoadTable(c, op, out ushort limit, out ulong address))
            return Flow.Fault(c, op);
        c->IdtrLimit = limit;
        c->IdtrBase = address;
        return op + 1;
    }

    /// <summary>SGDT.</summary>
    public static Op* Sgdt(CpuContext* c, Op* op) => StoreTable(c, op, (ushort)c->GdtrLimit, c->GdtrBase);

    /// <summary>SIDT.</summary>
    public static Op* Sidt(CpuContext* c, Op* op) => StoreTable(c, op, (ushort)c->IdtrLimit, c->IdtrBase);

    /// <summary>LLDT.</summary>
    public static Op* Lldt(CpuContext* c, Op* op)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        if (!SegmentInstructions.TryReadSelector(c, op, out ushort selector))
            return Flow.Fault(c, op);
        if ((selector & 0xFFFC) == 0)
        {
            Segments.SetNull(c, SegmentIndex.Ldtr, selector);
            return op + 1;
        }
        if (!TryFetchSystem(c, selector, Vector.Gp, out Descriptor d, out ulong upper))
            return Flow.Fault(c, op);
        if (d.IsSegment || d.Type != Descriptor.Ldt)
            return Flow.Raise(c, op, Vector.Gp, selector & 0xFFFCu);
        if (!d.Present)
            return Flow.Raise(c, op, Vector.Np, selector & 0xFFFCu);
        SetSystem(c, SegmentIndex.Ldtr, selector, d, upper);
        return op + 1;
    }

    /// <summary>LTR: marks the TSS busy.</summary>
    public static Op* Ltr(CpuContext* c, Op* op)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        if (!SegmentInstructions.TryReadSelector(c, op, out ushort selector))
            return Flow.Fault(c, op);
        if ((selector & 0xFFFC) == 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        // The TSS is in the GDT.
        if ((selector & 4) != 0)
            return Flow.Raise(c, op, Vector.Gp, selector & 0xFFFCu);
        if (!TryFetchSystem(c, selector, Vector.Gp, out Descriptor d, out ulong upper))
            return Flow.Fault(c, op);
        bool available = !d.IsSegment && (d.Type == Descriptor.TssAvailable || (!Mode.IsLong(c) && d.Type == Descriptor.TssAvailable16));
        if (!available)
            return Flow.Raise(c, op, Vector.Gp, selector & 0xFFFCu);
        if (!d.Present)
            return Flow.Raise(c, op, Vector.Np, selector & 0xFFFCu);
        if (!SystemMemory.TrySetBits(c, c->GdtrBase + (selector & 0xFFF8u) + 4, 1u << 9))
            return Flow.Fault(c, op);
        SetSystem(c, SegmentIndex.Tr, selector, new Descriptor(d.Raw | (1UL << 41)), upper);
        return op + 1;
    }

    /// <summary>SLDT.</summary>
    public static Op* Sldt(CpuContext* c, Op* op) => StoreSelector(c, op, c->Segments[SegmentIndex.Ldtr].Selector);

    /// <summary>STR.</summary>
    public static Op* Str(CpuContext* c, Op* op) => StoreSelector(c, op, c->Segments[SegmentIndex.Tr].Selector);

    /// <summary>SMSW.</summary>
    public static Op* Smsw(CpuContext* c, Op* op)
        => IsShut(c) ? Flow.Raise(c, op, Vector.Gp, 0) : Store(c, op, c->Cr0);

    /// <summary>LMSW: PE, MP, EM, TS; PE cannot be cleared.</summary>
    public static Op* Lmsw(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        if (!SegmentInstructions.TryReadSelector(c, op, out ushort value))
            return Flow.Fault(c, op);
        ulong cr0 = (c->Cr0 & ~0xEUL) | (value & 0xFUL);
        return ControlRegisters.TryWriteCr0(c, cr0) ? Flow.Leave(c, op) : Flow.Fault(c, op);
    }

    private static bool TryLoadTable(CpuContext* c, Op* op, out ushort limit, out ulong address)
    {
        limit = 0;
        address = 0;
        if (c->Cpl != 0)
            return Segments.FailZero(c, Vector.Gp);
        int size = op->Extra == 8 ? 8 : 4;
        if (!GuestAccess.TryLinear(c, op, size + 2, write: false, out ulong linear))
            return false;
        if (!GuestAccess.TryReadLinear(c, linear, out limit) || !SegmentInstructions.TryReadSized(c, linear + 2, size, out address))
            return false;
        if (op->Extra == 2)
            address &= 0xFFFFFF;
        return size != 8 || SystemMemory.IsCanonical(address) || Segments.FailZero(c, Vector.Gp);
    }

    private static Op* StoreTable(CpuContext* c, Op* op, ushort limit, ulong address)
    {
        if (IsShut(c))
            return Flow.Raise(c, op, Vector.Gp, 0);
        // Both pages are checked before anything is written, so it is one access.
        int size = op->Extra == 8 ? 10 : 6;
        byte* image = stackalloc byte[10];
        *(ushort*)image = limit;
        *(ulong*)(image + 2) = address;
        if (!GuestAccess.TryLinear(c, op, size, write: true, out ulong linear) || !SlowAccess.TryWrite(c, linear, image, size, Access.Write))
            return Flow.Fault(c, op);
        return op + 1;
    }

    private static Op* StoreSelector(CpuContext* c, Op* op, ushort selector)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        return IsShut(c) ? Flow.Raise(c, op, Vector.Gp, 0) : Store(c, op, selector);
    }

    // Memory gets 16 bits, a register its whole size.
    private static Op* Store(CpuContext* c, Op* op, ulong value)
    {
        if (op->Imm != 0)
            return GuestAccess.TryWrite(c, op, (ushort)value) ? op + 1 : Flow.Fault(c, op);
        SegmentInstructions.SetRegister(c, op->Dst, value, (int)op->Extra);
        return op + 1;
    }

    private static bool IsShut(CpuContext* c) => (c->Cr4 & Mode.Cr4Umip) != 0 && c->Cpl != 0;

    private static bool TryFetchSystem(CpuContext* c, ushort selector, int vector, out Descriptor d, out ulong upper)
    {
        upper = 0;
        d = default;
        if ((selector & 4) != 0)
            return Segments.Fail(c, vector, selector);
        if (!Segments.TryFetch(c, selector, vector, out d))
            return false;
        if (!Mode.IsLong(c))
            return true;
        if (!Segments.TryFetchUpper(c, selector, vector, out upper))
            return false;
        ulong address = d.Base | (upper << 32);
        bool valid = ((upper >> 40) & 0x1F) == 0 && SystemMemory.IsCanonical(address);
        return valid || Segments.Fail(c, vector, selector);
    }

    private static void SetSystem(CpuContext* c, int index, ushort selector, Descriptor d, ulong upper)
    {
        SegmentCache s = d.ToCache(selector);
        if (Mode.IsLong(c))
            s.Base |= upper << 32;
        Segments.Set(c, index, s);
    }
}
