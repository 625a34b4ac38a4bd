using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using BitOperations = System.Numerics.BitOperations;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>What a page walk found.</summary>
internal struct Translation
{
    /// <summary>Physical address of the 4 KiB page.</summary>
    public ulong Page;

    /// <summary>The page tables let the access's privilege write, and the dirty bit is set.</summary>
    public bool WritableNow;

    /// <summary>The mapping is global.</summary>
    public bool Global;

    /// <summary>A user page (U/S set at every level).</summary>
    public bool User;
}

/// <summary>Paging (SDM vol. 3, chapter 4): the page walk and the TLB flushes.</summary>
internal static unsafe class Paging
{
    private const ulong Present = 1;
    private const ulong Writable = 2;
    private const ulong UserBit = 4;
    private const ulong Accessed = 0x20;
    private const ulong Dirty = 0x40;
    private const ulong PageSize = 0x80;
    private const ulong GlobalBit = 0x100;
    private const ulong NoExecute = 1UL << 63;
    private const ulong AddressMask = 0x000F_FFFF_FFFF_F000;

    private const uint ErrorPresent = 1;
    private const uint ErrorWrite = 2;
    private const uint ErrorUser = 4;
    private const uint ErrorReserved = 8;
    private const uint ErrorFetch = 0x10;

    /// <summary>Translates a linear address for an access; sets the accessed and dirty bits as the processor would.</summary>
    /// <returns>False with #PF pending and CR2 set.</returns>
    public static bool TryTranslate(CpuContext* c, ulong linear, Access access, out Translation result)
    {
        result = default;
        if ((c->Cr0 & Mode.Cr0Pg) == 0)
        {
            result.Page = linear & ~0xFFFUL;
            result.WritableNow = true;
            result.User = true;
            return true;
        }
        bool user = c->Cpl == 3 && (access & Access.Supervisor) == 0;
        uint error = TryWalk(c, linear, access, user, ref result);
        if (error == 0)
            return true;
        if (error == Retry)
            return TryTranslate(c, linear, access, out result);
        error &= ~Marker;
        if ((access & Access.Write) != 0)
            error |= ErrorWrite;
        if (user)
            error |= ErrorUser;
        if ((access & Access.Fetch) != 0 && ((c->Efer & Mode.EferNxe) != 0 || (c->Cr4 & Mode.Cr4Smep) != 0))
            error |= ErrorFetch;
        c->Cr2 = linear;
        Flow.SetPending(c, Vector.Pf, error);
        return false;
    }

    private const uint Marker = 0x8000_0000;
    private const uint Retry = 0x4000_0000;

    // Gives 0, Retry, or the error code's P and RSVD bits with the marker set.
    private static uint TryWalk(CpuContext* c, ulong linear, Access access, bool user, ref Translation result)
    {
        var cpu = SoftwareCpu.From(c);
        bool pae = (c->Cr4 & Mode.Cr4Pae) != 0;
        bool longMode = (c->Efer & Mode.EferLma) != 0;
        ulong table = pae ? (longMode ? c->Cr3 & AddressMask : c->Cr3 & 0xFFFF_FFE0) : c->Cr3 & 0xFFFF_F000;
        int level = longMode ? 4 : pae ? 3 : 2;
        int indexBits = pae ? 9 : 10;
        ulong reserved = pae ? c->PhysicalReservedMask | ((c->Efer & Mode.EferNxe) != 0 ? 0 : NoExecute) : 0;
        ulong rights = Writable | UserBit;
        ulong noExecute = 0;
        while (true)
        {
            int shift = 12 + ((level - 1) * indexBits);
            ulong index = (linear >> shift) & ((1UL << indexBits) - 1);
            if (level == 3 && !longMode)
                index &= 3;
            byte* host = cpu.Physical.Find(table + (index * (pae ? 8UL : 4UL)));
            if (host == null)
                return Marker | ErrorPresent | ErrorReserved;
            ulong entry = pae ? Volatile.Read(ref *(ulong*)host) : Volatile.Read(ref *(uint*)host);
            if ((entry & Present) == 0)
                return Marker;
            bool pdpte = level == 3 && !longMode;
            bool large = level > 1 && !pdpte && (entry & PageSize) != 0 && (pae || (c->Cr4 & Mode.Cr4Pse) != 0);
            ulong bad = entry & reserved;
            if (pdpte)
                bad |= entry & 0x1E6;
            else if (large && level == 4)
                bad |= PageSize;
            else if (large)
                bad |= pae ? entry & ((1UL << shift) - 1) & ~0x1FFFUL : entry & (1UL << 21);
            if (bad != 0)
                return Marker | ErrorPresent | ErrorReserved;
            if (!pdpte)
            {
                rights &= entry;
                noExecute |= entry & NoExecute;
            }
            if (level > 1 && !large)
            {
                if (!pdpte && (entry & Accessed) == 0 && !TrySetBits(host, entry, Accessed, pae))
                    return Retry;
                table = pae ? entry & AddressMask : entry & 0xFFFF_F000;
                level--;
                continue;
            }
            uint violation = CheckRights(c, access, user, rights, noExecute);
            if (violation != 0)
                return violation;
            ulong wanted = Accessed | ((access & Access.Write) != 0 ? Dirty : 0);
            if ((entry & wanted) != wanted)
            {
                if (!TrySetBits(host, entry, wanted, pae))
                    return Retry;
                entry |= wanted;
            }
            if (large && 1UL << shift > c->LargestPage)
                c->LargestPage = 1UL << shift;
            result.Page = PageAddress(entry, linear, shift, large, pae);
            bool writable = (rights & Writable) != 0 || (!user && (c->Cr0 & Mode.Cr0Wp) == 0);
            result.WritableNow = writable && (entry & Dirty) != 0;
            result.Global = (entry & GlobalBit) != 0 && (c->Cr4 & Mode.Cr4Pge) != 0;
            result.User = (rights & UserBit) != 0;
            return 0;
        }
    }

    private static ulong PageAddress(ulong entry, ulong linear, int shift, bool large, bool pae)
    {
        if (!large)
            return pae ? entry & AddressMask : entry & 0xFFFF_F000;
        ulong offset = linear & ((1UL << shift) - 1) & ~0xFFFUL;
        if (pae)
            return (entry & AddressMask & ~((1UL << shift) - 1)) | offset;
        // PSE-36: bits 20:13 of the entry are bits 39:32 of the address.
        return (entry & 0xFFC0_0000) | ((entry & 0x1FE000) << 19) | offset;
    }

    // SDM vol. 3, 4.6.1. PKRU is not implemented and not reported.
    private static uint CheckRights(CpuContext* c, Access access, bool user, ulong rights, ulong noExecute)
    {
        bool userPage = (rights & UserBit) != 0;
        bool ok;
        if (user)
        {
            ok = userPage && ((access & Access.Write) == 0 || (rights & Writable) != 0);
        }
        else if ((access & Access.Fetch) != 0)
        {
            ok = !userPage || (c->Cr4 & Mode.Cr4Smep) == 0;
        }
        else
        {
            ok = (access & Access.Write) == 0 || (rights & Writable) != 0 || (c->Cr0 & Mode.Cr0Wp) == 0;
            bool overridden = (access & Access.Supervisor) == 0 && (c->Rflags & Flags.Ac) != 0;
            if (userPage && (c->Cr4 & Mode.Cr4Smap) != 0 && !overridden)
                ok = false;
        }
        if ((access & Access.Fetch) != 0 && noExecute != 0 && (c->Efer & Mode.EferNxe) != 0)
            ok = false;
        return ok ? 0 : Marker | ErrorPresent;
    }

    // Another vCPU may change the entry at the same time: then the walk starts over.
    private static bool TrySetBits(byte* host, ulong entry, ulong bits, bool pae)
        => pae
            ? Interlocked.CompareExchange(ref *(ulong*)host, entry | bits, entry) == entry
            : Interlocked.CompareExchange(ref *(uint*)host, (uint)(entry | bits), (uint)entry) == (uint)entry;

    /// <summary>Drops every translation, global ones too.</summary>
    public static void FlushAll(CpuContext* c) => Flush(c, keepGlobal: false);

    /// <summary>Drops the translations of non-global pages (a write to CR3).</summary>
    public static void FlushNonGlobal(CpuContext* c) => Flush(c, keepGlobal: true);

    /// <summary>Drops the translations of one page in all TLBs (INVLPG).</summary>
    public static void FlushPage(CpuContext* c, ulong linear)
    {
        // A large page was entered as many 4 KiB ones, and INVLPG drops all of it. By now the tables may have changed, so its size is taken
        // from what the entries remember.
        ulong size = c->LargestPage;
        DropRange(c, linear & ~(size - 1), size);
        c->Generation++;
        Mode.UpdatePrivilege(c);
    }

    private static void DropRange(CpuContext* c, ulong start, ulong length)
    {
        for (int set = 0; set < 3; set++)
        {
            TlbEntry* tlb = DataSet(c, set);
            ulong* filled = c->FilledData + (set * 16);
            for (int word = 0; word < 16; word++)
            {
                for (ulong bits = filled[word]; bits != 0; bits &= bits - 1)
                {
                    int i = (word * 64) + BitOperations.TrailingZeroCount(bits);
                    if (tlb[i].TagRead - start < length || tlb[i].TagWrite - start < length)
                        Clear(&tlb[i]);
                }
            }
        }
        for (int set = 0; set < 2; set++)
        {
            CodeTlbEntry* tlb = CodeSet(c, set);
            ulong* filled = c->FilledCode + (set * 8);
            for (int word = 0; word < 8; word++)
            {
                for (ulong bits = filled[word]; bits != 0; bits &= bits - 1)
                {
                    int i = (word * 64) + BitOperations.TrailingZeroCount(bits);
                    if (tlb[i].Tag - start < length)
                        tlb[i].Tag = Tlb.NoTag;
                }
            }
        }
    }

    private static void Flush(CpuContext* c, bool keepGlobal)
    {
        for (int set = 0; set < 3; set++)
        {
            TlbEntry* tlb = DataSet(c, set);
            ulong* filled = c->FilledData + (set * 16);
            for (int word = 0; word < 16; word++)
            {
                ulong kept = 0;
                for (ulong bits = filled[word]; bits != 0; bits &= bits - 1)
                {
                    int bit = BitOperations.TrailingZeroCount(bits);
                    TlbEntry* e = &tlb[(word * 64) + bit];
                    if (keepGlobal && (e->Physical & Tlb.Global) != 0)
                        kept |= 1UL << bit;
                    else
                        Clear(e);
                }
                filled[word] = kept;
            }
        }
        for (int set = 0; set < 2; set++)
        {
            CodeTlbEntry* tlb = CodeSet(c, set);
            ulong* filled = c->FilledCode + (set * 8);
            for (int word = 0; word < 8; word++)
            {
                ulong kept = 0;
                for (ulong bits = filled[word]; bits != 0; bits &= bits - 1)
                {
                    int bit = BitOperations.TrailingZeroCount(bits);
                    CodeTlbEntry* e = &tlb[(word * 64) + bit];
                    if (keepGlobal && (e->Physical & Tlb.Global) != 0)
                        kept |= 1UL << bit;
                    else
                        e->Tag = Tlb.NoTag;
                }
                filled[word] = kept;
            }
        }
        if (!keepGlobal)
            c->LargestPage = 0x1000;
        c->Generation++;
        Mode.UpdatePrivilege(c);
    }

    /// <summary>The data TLB of a set: 0 user, 1 supervisor, 2 supervisor with access to user pages.</summary>
    public static TlbEntry* DataSet(CpuContext* c, int set) => set == 0 ? c->UserTlb : set == 1 ? c->SupervisorTlb : c->SupervisorAcTlb;

    /// <summary>The instruction TLB of a set: 0 user, 1 supervisor.</summary>
    public static CodeTlbEntry* CodeSet(CpuContext* c, int set) => set == 0 ? c->UserCodeTlb : c->SupervisorCodeTlb;

    /// <summary>Empties an entry. The write tag goes first: another vCPU may be purging it too.</summary>
    public static void Clear(TlbEntry* e)
    {
        Volatile.Write(ref e->TagWrite, Tlb.NoTag);
        e->TagRead = Tlb.NoTag;
        e->Physical = 0;
    }
}
