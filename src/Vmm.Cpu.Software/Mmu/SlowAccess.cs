using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Accesses that the TLB's fast path did not serve: misses, page crossings, MMIO, code pages, implicit supervisor accesses.</summary>
internal static unsafe class SlowAccess
{
    private const ulong PageMask = 0xFFF;

    /// <summary>Reads linear memory.</summary>
    /// <returns>False with #PF, #GP or #SS pending; then nothing was read.</returns>
    public static bool TryRead(CpuContext* c, ulong linear, void* destination, int size, Access access)
    {
        if (!TryCheck(c, linear, size, access))
            return false;
        int first = (int)(4096 - (linear & PageMask));
        if (size <= first)
        {
            if (!TryPage(c, linear, access, out var page))
                return false;
            ReadPhysical(c, page, linear, (byte*)destination, size);
            return true;
        }
        ulong second = Wrap(c, linear + (ulong)first);
        if (!TryPage(c, linear, access, out var pageA) || !TryPage(c, second, access, out var pageB))
            return false;
        ReadPhysical(c, pageA, linear, (byte*)destination, first);
        ReadPhysical(c, pageB, second, (byte*)destination + first, size - first);
        return true;
    }

    /// <summary>Reads linear memory that will be written next: faults as the write would.</summary>
    public static bool TryReadForWrite(CpuContext* c, ulong linear, void* destination, int size) => TryRead(c, linear, destination, size, Access.Write);

    /// <summary>Writes linear memory. Both pages of a crossing access are checked before anything is written.</summary>
    /// <returns>False with an exception pending; then nothing was written.</returns>
    public static bool TryWrite(CpuContext* c, ulong linear, void* source, int size, Access access)
    {
        access |= Access.Write;
        if (!TryCheck(c, linear, size, access))
            return false;
        int first = (int)(4096 - (linear & PageMask));
        if (size <= first)
        {
            if (!TryPage(c, linear, access, out var page))
                return false;
            WritePhysical(c, page, linear, (byte*)source, size);
            return true;
        }
        ulong second = Wrap(c, linear + (ulong)first);
        if (!TryPage(c, linear, access, out var pageA) || !TryPage(c, second, access, out var pageB))
            return false;
        WritePhysical(c, pageA, linear, (byte*)source, first);
        WritePhysical(c, pageB, second, (byte*)source + first, size - first);
        return true;
    }

    /// <summary>Brings the page of an access into the TLB, if it is memory, without making the access.</summary>
    /// <returns>False when the access has to be made the slow way; an exception may then be pending, for the caller to drop.</returns>
    public static bool TryFill(CpuContext* c, ulong linear, Access access)
    {
        bool direct = (c->Dr7 & Debugging.EnableBits) == 0 && c->DataTlb != c->EmptyTlb;
        return direct && (!Mode.IsLong(c) || IsCanonical(linear)) && TryPage(c, linear, access, out _);
    }

    // A page of an access under way: host memory or a bus address.
    private struct Page
    {
        public ulong Physical;
        public byte* Host;
        public bool Ram;
    }

    private static ulong Wrap(CpuContext* c, ulong linear) => Mode.IsLong(c) ? linear : (uint)linear;

    private static bool TryCheck(CpuContext* c, ulong linear, int size, Access access)
    {
        if (Mode.IsLong(c))
        {
            ulong last = linear + (ulong)(size - 1);
            if (!IsCanonical(linear) || !IsCanonical(last))
            {
                Flow.SetPending(c, Vector.Gp, 0);
                c->PendingNonCanonical = 1;
                return false;
            }
        }
        if ((c->Dr7 & Debugging.EnableBits) != 0 && (access & Access.Supervisor) == 0)
            Debugging.CheckData(c, linear, size, (access & Access.Write) != 0);
        if (c->DataTlb == c->EmptyTlb && size <= 8 && (linear & (ulong)(size - 1)) != 0 && (access & Access.Supervisor) == 0 && int.IsPow2(size))
        {
            Flow.SetPending(c, Vector.Ac, 0);
            return false;
        }
        return true;
    }

    /// <summary>Whether bits 63:47 of an address are all equal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsCanonical(ulong linear) => (ulong)((long)(linear << 16) >> 16) == linear;

    private static TlbEntry* SetFor(CpuContext* c, Access access, out int set)
    {
        bool smap = (c->Cr4 & Mode.Cr4Smap) != 0;
        if (c->Cpl == 3 && (access & Access.Supervisor) == 0)
            set = 0;
        else if (smap && ((access & Access.Supervisor) != 0 || (c->Rflags & Flags.Ac) == 0))
            set = 1;
        else
            set = 2;
        return Paging.DataSet(c, set);
    }

    private static bool TryPage(CpuContext* c, ulong linear, Access access, out Page page)
    {
        page = default;
        ulong pageLinear = linear & ~PageMask;
        bool write = (access & Access.Write) != 0;
        TlbEntry* e = Tlb.Find(SetFor(c, access, out int set), linear);
        if (e->TagRead == pageLinear && (!write || e->TagWrite == pageLinear || (e->Physical & Tlb.SlowWrite) != 0))
        {
            page.Physical = e->Physical & ~PageMask;
            page.Host = (byte*)pageLinear + e->Addend;
            page.Ram = true;
            if (!write || e->TagWrite == pageLinear)
                return true;
            SoftwareCpu.From(c).CodeMap.PrepareWrite(e, pageLinear, page.Physical);
            return true;
        }
        if (!Paging.TryTranslate(c, linear, access, out var translation))
            return false;
        var cpu = SoftwareCpu.From(c);
        page.Physical = translation.Page;
        page.Host = cpu.Physical.Find(translation.Page, out page.Ram);
        if (page.Host == null || (c->Dr7 & 0xFF) != 0)
            return true;
        Fill(c, cpu, set, e, pageLinear, page, translation);
        return true;
    }

    private static void Fill(CpuContext* c, SoftwareCpu cpu, int set, TlbEntry* e, ulong pageLinear, in Page page, in Translation translation)
    {
        Volatile.Write(ref e->TagWrite, Tlb.NoTag);
        e->Addend = (nint)(page.Host - (byte*)pageLinear);
        bool writable = translation.WritableNow && page.Ram;
        e->Physical = page.Physical | (translation.Global ? Tlb.Global : 0) | (writable ? Tlb.SlowWrite : 0);
        e->TagRead = pageLinear;
        if (writable)
            cpu.CodeMap.PrepareWrite(e, pageLinear, page.Physical);
        int index = (int)(e - Paging.DataSet(c, set));
        c->FilledData[(set * 16) + (index >> 6)] |= 1UL << (index & 63);
    }

    private static void ReadPhysical(CpuContext* c, in Page page, ulong linear, byte* destination, int size)
    {
        ulong offset = linear & PageMask;
        if (page.Host != null)
        {
            Copy(page.Host + offset, destination, size);
            return;
        }
        SoftwareCpu.From(c).ReadBus(page.Physical + offset, destination, size);
    }

    private static void WritePhysical(CpuContext* c, in Page page, ulong linear, byte* source, int size)
    {
        ulong offset = linear & PageMask;
        if (page.Host == null)
        {
            SoftwareCpu.From(c).WriteBus(page.Physical + offset, source, size);
            return;
        }
        if (!page.Ram)
            return;
        Copy(source, page.Host + offset, size);
        var cpu = SoftwareCpu.From(c);
        cpu.CodeMap.Written(cpu, page.Physical + offset, size);
    }

    // Natural sizes in one access: another vCPU must not see half of one.
    private static void Copy(byte* source, byte* destination, int size)
    {
        switch (size)
        {
            case 1:
                *destination = *source;
                break;
            case 2:
                *(ushort*)destination = *(ushort*)source;
                break;
            case 4:
                *(uint*)destination = *(uint*)source;
                break;
            case 8:
                *(ulong*)destination = *(ulong*)source;
                break;
            default:
                Unsafe.CopyBlockUnaligned(destination, source, (uint)size);
                break;
        }
    }
}
