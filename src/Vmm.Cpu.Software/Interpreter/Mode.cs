using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>What follows from the mode and privilege: kept in the context so that the fast paths need not look it up.</summary>
internal static unsafe class Mode
{
    public const ulong Cr0Pe = 1;
    public const ulong Cr0Mp = 2;
    public const ulong Cr0Em = 4;
    public const ulong Cr0Ts = 8;
    public const ulong Cr0Et = 0x10;
    public const ulong Cr0Ne = 0x20;
    public const ulong Cr0Wp = 0x10000;
    public const ulong Cr0Am = 0x40000;
    public const ulong Cr0Nw = 0x20000000;
    public const ulong Cr0Cd = 0x40000000;
    public const ulong Cr0Pg = 0x80000000;
    public const ulong Cr4Vme = 1;
    public const ulong Cr4Pvi = 2;
    public const ulong Cr4Tsd = 4;
    public const ulong Cr4De = 8;
    public const ulong Cr4Pse = 0x10;
    public const ulong Cr4Pae = 0x20;
    public const ulong Cr4Mce = 0x40;
    public const ulong Cr4Pge = 0x80;
    public const ulong Cr4Pce = 0x100;
    public const ulong Cr4Osfxsr = 0x200;
    public const ulong Cr4Osxmmexcpt = 0x400;
    public const ulong Cr4Umip = 0x800;
    public const ulong Cr4Fsgsbase = 0x10000;
    public const ulong Cr4Pcide = 0x20000;
    public const ulong Cr4Osxsave = 0x40000;
    public const ulong Cr4Smep = 0x100000;
    public const ulong Cr4Smap = 0x200000;
    public const ulong EferSce = 1;
    public const ulong EferLme = 0x100;
    public const ulong EferLma = 0x400;
    public const ulong EferNxe = 0x800;

    /// <summary>
    /// Recomputes everything that depends on CS, SS, CPL, CR0, CR4, EFER, RFLAGS.AC and RFLAGS.VM. Whatever changes one of them calls this before
    /// the next access or block.
    /// </summary>
    public static void Update(CpuContext* c)
    {
        ref SegmentCache cs = ref c->Segments[SegmentIndex.Cs];
        ref SegmentCache ss = ref c->Segments[SegmentIndex.Ss];
        bool lma = (c->Efer & EferLma) != 0;
        if (lma && (cs.Attributes & 0x2000) != 0)
        {
            c->CodeBits = 64;
            c->StackMask = ulong.MaxValue;
        }
        else
        {
            c->CodeBits = (cs.Attributes & 0x4000) != 0 ? 32 : 16;
            c->StackMask = (ss.Attributes & 0x4000) != 0 ? 0xFFFFFFFF : 0xFFFF;
        }
        // The jump cache is keyed by RIP: a new CS base makes other code of the same RIP.
        // And a new limit makes other jumps legal.
        ulong codeBase = c->CodeBits == 64 ? 0 : cs.Base;
        uint codeLimit = c->CodeBits == 64 ? uint.MaxValue : cs.Limit;
        if (codeBase != c->JumpCodeBase || codeLimit != c->JumpCodeLimit)
        {
            c->JumpCodeBase = codeBase;
            c->JumpCodeLimit = codeLimit;
            c->Generation++;
        }
        Simd.SimdGate.Update(c);
        UpdatePrivilege(c);
    }

    /// <summary>As <see cref="Update"/> when only CPL, CR4.SMAP or RFLAGS.AC changed.</summary>
    public static void UpdatePrivilege(CpuContext* c)
    {
        bool user = c->Cpl == 3;
        bool smap = (c->Cr4 & Cr4Smap) != 0 && (c->Rflags & Flags.Ac) == 0;
        if (user)
            c->DataTlb = (c->Rflags & Flags.Ac) != 0 && (c->Cr0 & Cr0Am) != 0 ? c->EmptyTlb : c->UserTlb;
        else
            c->DataTlb = smap ? c->SupervisorTlb : c->SupervisorAcTlb;
        uint mode = (uint)(c->CodeBits >> 4) | (user ? 8u : 0);
        c->JumpKey = (c->Generation << 8) | mode;
    }

    /// <summary>Whether the processor is in long mode (64-bit or compatibility).</summary>
    public static bool IsLong(CpuContext* c) => (c->Efer & EferLma) != 0;

    /// <summary>Whether the processor is in real or virtual-8086 mode.</summary>
    public static bool IsRealOrV86(CpuContext* c) => (c->Cr0 & Cr0Pe) == 0 || (c->Rflags & Flags.Vm) != 0;
}
