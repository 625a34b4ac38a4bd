using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Accesses that the TLB's fast path did not serve: misses, page crossings, MMIO, code pages, implicit supervisor accesses.</summary>
internal static unsafe class SlowAccess
{
    /// <summary>Reads linear memory.</summary>
    /// <returns>False with #PF, #GP or #SS pending; then nothing was read.</returns>
    public static bool TryRead(CpuContext* c, ulong linear, void* destination, int size, Access access) => throw new InvalidOperationException();

    /// <summary>Reads linear memory that will be written next: faults as the write would.</summary>
    public static bool TryReadForWrite(CpuContext* c, ulong linear, void* destination, int size) => TryRead(c, linear, destination, size, Access.Write);

    /// <summary>Writes linear memory. Both pages of a crossing access are checked before anything is written.</summary>
    /// <returns>False with an exception pending; then nothing was written.</returns>
    public static bool TryWrite(CpuContext* c, ulong linear, void* source, int size, Access access) => throw new InvalidOperationException();
}
