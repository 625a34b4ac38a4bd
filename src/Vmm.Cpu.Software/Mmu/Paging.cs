using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Paging (SDM vol. 3, chapter 4): the page walk and the TLB flushes.</summary>
internal static unsafe class Paging
{
    /// <summary>Drops every translation, global ones too.</summary>
    public static void FlushAll(CpuContext* c) => throw new InvalidOperationException();

    /// <summary>Drops the translations of non-global pages (a write to CR3).</summary>
    public static void FlushNonGlobal(CpuContext* c) => throw new InvalidOperationException();

    /// <summary>Drops the translations of one page in all TLBs (INVLPG).</summary>
    public static void FlushPage(CpuContext* c, ulong linear) => throw new InvalidOperationException();
}
