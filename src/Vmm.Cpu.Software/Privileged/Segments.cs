using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Loading segment registers, with all checks (SDM vol. 2, MOV; vol. 3, 5.4–5.8).</summary>
internal static unsafe class Segments
{
    /// <summary>Whether accesses through a segment need no check: expand-up, writable, present data at base 0 with a 4 GiB limit.</summary>
    public static bool IsFlat(in SegmentCache s)
        => s.Unusable == 0 && s.Base == 0 && s.Limit == uint.MaxValue && (s.Attributes & 0x9E) == 0x92;

    /// <summary>Puts a segment register in place, with its derived parts.</summary>
    public static void Set(CpuContext* c, int index, in SegmentCache value)
    {
        c->Segments[index] = value;
        c->Segments[index].Flat = IsFlat(value) ? 1 : 0;
    }

    /// <summary>Makes a register unusable (null selector). <paramref name="dpl"/> matters for SS alone, where it mirrors the CPL.</summary>
    public static void SetNull(CpuContext* c, int index, ushort selector, int dpl = 0)
        => Set(c, index, new SegmentCache { Selector = selector, Unusable = 1, Attributes = (ushort)(dpl << 5) });

    /// <summary>Loads a register in real-address mode: the base changes; limit, size and granularity stay ("unreal mode").</summary>
    public static void SetReal(CpuContext* c, int index, ushort selector)
    {
        SegmentCache s = c->Segments[index];
        if (s.Unusable != 0)
            s = new SegmentCache { Limit = 0xFFFF };
        s.Attributes = (ushort)((s.Attributes & (Descriptor.DefaultBit | Descriptor.GranularityBit)) | 0x93);
        s.Base = (ulong)selector << 4;
        s.Selector = selector;
        Set(c, index, s);
    }

    /// <summary>Loads a register in virtual-8086 mode.</summary>
    public static void SetV86(CpuContext* c, int index, ushort selector)
        => Set(c, index, new SegmentCache { Base = (ulong)selector << 4, Limit = 0xFFFF, Selector = selector, Attributes = 0xF3 });

    /// <summary>Loads a register in real or virtual-8086 mode.</summary>
    public static void SetRealOrV86(CpuContext* c, int index, ushort selector)
    {
        if ((c->Rflags & Flags.Vm) != 0)
            SetV86(c, index, selector);
        else
            SetReal(c, index, selector);
    }

    /// <summary>Loads ES, SS, DS, FS or GS by selector, in any mode. The caller updates the mode after SS.</summary>
    /// <returns>False with an exception pending and nothing changed.</returns>
    public static bool TryLoad(CpuContext* c, int index, ushort selector)
    {
        if (Mode.IsRealOrV86(c))
        {
            SetRealOrV86(c, index, selector);
            return true;
        }
        if (index == SegmentIndex.Ss)
            return TryLoadStack(c, selector);
        if ((selector & 0xFFFC) == 0)
        {
            SetNull(c, index, selector);
            return true;
        }
        if (!TryCheckData(c, selector, c->Cpl, Vector.Gp, out SegmentCache s))
            return false;
        Set(c, index, s);
        return true;
    }

    /// <summary>Fetches and checks a non-null selector for a data segment register, and marks the descriptor accessed.</summary>
    /// <param name="c">The CPU.</param>
    /// <param name="selector">The selector.</param>
    /// <param name="cpl">The privilege level to check against.</param>
    /// <param name="vector">#GP, or #TS in a task switch.</param>
    /// <param name="s">The register's new contents.</param>
    public static bool TryCheckData(CpuContext* c, ushort selector, int cpl, int vector, out SegmentCache s)
    {
        s = default;
        if (!TryFetch(c, selector, vector, out Descriptor d))
            return false;
        bool conforming = d.IsCode && d.IsConforming;
        if (!d.IsReadable || (!conforming && (d.Dpl < (selector & 3) || d.Dpl < cpl)))
            return Fail(c, vector, selector);
        if (!d.Present)
            return Fail(c, Vector.Np, selector);
        return TryMarkAccessed(c, selector, ref d) && Give(selector, d, out s);
    }

    /// <summary>Fetches and checks a selector for SS at a given privilege level. A null selector fails.</summary>
    public static bool TryCheckStack(CpuContext* c, ushort selector, int cpl, int vector, out SegmentCache s)
    {
        s = default;
        if ((selector & 0xFFFC) == 0)
            return FailZero(c, vector);
        if (!TryFetch(c, selector, vector, out Descriptor d))
            return false;
        if ((selector & 3) != cpl || !d.IsWritableData || d.Dpl != cpl)
            return Fail(c, vector, selector);
        if (!d.Present)
            return Fail(c, Vector.Ss, selector);
        return TryMarkAccessed(c, selector, ref d) && Give(selector, d, out s);
    }

    /// <summary>Reads a descriptor of the GDT or the current LDT. The selector is not null.</summary>
    public static bool TryFetch(CpuContext* c, ushort selector, int vector, out Descriptor d)
    {
        d = default;
        if (!TryLocate(c, selector, 8, out ulong address))
            return Fail(c, vector, selector);
        if (!SystemMemory.TryRead(c, address, out ulong raw))
            return false;
        d = new Descriptor(raw);
        return true;
    }

    /// <summary>Reads the upper half of a 16-byte descriptor (64-bit mode).</summary>
    public static bool TryFetchUpper(CpuContext* c, ushort selector, int vector, out ulong upper)
    {
        upper = 0;
        if (!TryLocate(c, selector, 16, out ulong address))
            return Fail(c, vector, selector);
        return SystemMemory.TryRead(c, address + 8, out upper);
    }

    /// <summary>The linear address of a descriptor, if the table reaches so far.</summary>
    public static bool TryLocate(CpuContext* c, ushort selector, uint size, out ulong address)
    {
        uint offset = selector & 0xFFF8u;
        uint last = offset + size - 1;
        if ((selector & 4) != 0)
        {
            ref SegmentCache ldt = ref c->Segments[SegmentIndex.Ldtr];
            address = ldt.Base + offset;
            return ldt.Unusable == 0 && last <= ldt.Limit;
        }
        address = c->GdtrBase + offset;
        return last <= c->GdtrLimit;
    }

    /// <summary>Sets a descriptor's accessed bit in memory if it is clear.</summary>
    public static bool TryMarkAccessed(CpuContext* c, ushort selector, ref Descriptor d)
    {
        if ((d.Raw & (1UL << 40)) != 0)
            return true;
        TryLocate(c, selector, 8, out ulong address);
        if (!SystemMemory.TrySetBits(c, address + 4, 1u << 8))
            return false;
        d = new Descriptor(d.Raw | (1UL << 40));
        return true;
    }

    /// <summary>
    /// What a return to an outer level does to ES, DS, FS, GS: a register that the outer level may not use becomes null (SDM vol. 2, RET, IRET).
    /// </summary>
    public static void DropInnerSegments(CpuContext* c, int newCpl)
    {
        DropInner(c, SegmentIndex.Es, newCpl);
        DropInner(c, SegmentIndex.Ds, newCpl);
        DropInner(c, SegmentIndex.Fs, newCpl);
        DropInner(c, SegmentIndex.Gs, newCpl);
    }

    /// <summary>Makes an exception with a selector error code pending; always false.</summary>
    public static bool Fail(CpuContext* c, int vector, ushort selector)
    {
        Flow.SetPending(c, vector, selector & 0xFFFCu);
        return false;
    }

    /// <summary>Makes an exception with error code 0 pending; always false.</summary>
    public static bool FailZero(CpuContext* c, int vector)
    {
        Flow.SetPending(c, vector, 0);
        return false;
    }

    private static bool TryLoadStack(CpuContext* c, ushort selector)
    {
        if ((selector & 0xFFFC) == 0)
        {
            if (c->CodeBits != 64 || c->Cpl == 3 || (selector & 3) != c->Cpl)
                return FailZero(c, Vector.Gp);
            SetNull(c, SegmentIndex.Ss, selector, c->Cpl);
            return true;
        }
        if (!TryCheckStack(c, selector, c->Cpl, Vector.Gp, out SegmentCache s))
            return false;
        Set(c, SegmentIndex.Ss, s);
        return true;
    }

    private static bool Give(ushort selector, Descriptor d, out SegmentCache s)
    {
        s = d.ToCache(selector);
        return true;
    }

    private static void DropInner(CpuContext* c, int index, int newCpl)
    {
        ref SegmentCache s = ref c->Segments[index];
        if (s.Unusable != 0)
        {
            // A null selector keeps no base either: what WRFSBASE put there stays only while the register is not reloaded.
            return;
        }
        bool conforming = (s.Attributes & (Descriptor.Code | Descriptor.Conforming)) == (Descriptor.Code | Descriptor.Conforming);
        if (!conforming && ((s.Attributes >> 5) & 3) < newCpl)
        {
            ulong kept = s.Base;
            SetNull(c, index, 0);
            // In 64-bit mode the base of FS and GS is an architectural register of its own.
            if (Mode.IsLong(c) && index >= SegmentIndex.Fs)
                s.Base = kept;
        }
    }
}
