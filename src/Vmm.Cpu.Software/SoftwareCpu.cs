using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software;

/// <summary>One virtual processor of the software engine.</summary>
internal sealed unsafe partial class SoftwareCpu
{
    private readonly CpuContext* _context = (CpuContext*)NativeMemory.AlignedAlloc((nuint)sizeof(CpuContext), 64);

    /// <summary>The processor's state.</summary>
    public CpuContext* Context => _context;

    /// <summary>The local APIC.</summary>
    public ILocalInterruptController Apic { get; }

    /// <summary>The machine as the engine was given it: buses, memory, clock.</summary>
    public CpuEngineContext Machine { get; }

    /// <summary>Finds the managed object behind a context.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static SoftwareCpu From(CpuContext* c) => Unsafe.As<SoftwareCpu>(GCHandle.FromIntPtr(c->Self).Target!);

    /// <summary>Logs an instruction that is not implemented, once for each form.</summary>
    public void ReportUndefined(CpuContext* c, Op* op)
    {
    }

    internal SoftwareCpu(CpuEngineContext machine, ILocalInterruptController apic)
    {
        Machine = machine;
        Apic = apic;
    }
}
