using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>Fences, prefetches, cache-line flushes and the non-temporal store of a general register.</summary>
internal static unsafe class HintHandlers
{
    /// <summary>LFENCE, MFENCE, SFENCE: a full fence of the host orders all of them.</summary>
    public static Op* Fence(CpuContext* c, Op* op)
    {
        Interlocked.MemoryBarrier();
        return op + 1;
    }

    /// <summary>PREFETCHh, PREFETCHW: never fault.</summary>
    public static Op* Nothing(CpuContext* c, Op* op) => op + 1;

    /// <summary>CLFLUSH, CLFLUSHOPT: caches are coherent, what remains is the fault of a byte's read.</summary>
    public static Op* Flush(CpuContext* c, Op* op)
        => GuestAccess.TryRead(c, op, out byte _) ? op + 1 : Flow.Fault(c, op);

    /// <summary>MOVNTI.</summary>
    public static Op* StoreGeneral<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, *(T*)At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
}
