using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>Reserved prefetches and the non-temporal store of a general register.</summary>
internal static unsafe class HintHandlers
{
    /// <summary>The reserved forms of PREFETCHW, which processors treat as prefetches.</summary>
    public static Op* Nothing(CpuContext* c, Op* op) => op + 1;

    /// <summary>MOVNTI.</summary>
    public static Op* StoreGeneral<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => GuestAccess.TryWrite(c, op, *(T*)At(c, op, 1)) ? op + 1 : Flow.Fault(c, op);
}
