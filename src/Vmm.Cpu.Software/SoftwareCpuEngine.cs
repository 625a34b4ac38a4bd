using Vmm.Core.Cpu;
using Vmm.Core.Memory;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;

namespace Vmm.Cpu.Software;

/// <summary>Makes software CPU engines.</summary>
public sealed class SoftwareCpuEngineFactory : ICpuEngineFactory
{
    /// <inheritdoc/>
    public string Name => "software";

    /// <inheritdoc/>
    public ICpuEngine Create(CpuEngineContext context) => new SoftwareCpuEngine(context);
}

/// <summary>The software CPU engine of one VM: what its virtual processors share.</summary>
internal sealed class SoftwareCpuEngine : ICpuEngine, IGuestWriteObserver
{
    private readonly CpuEngineContext _context;
    private readonly List<SoftwareCpu> _cpus = [];

    public SoftwareCpuEngine(CpuEngineContext context)
    {
        _context = context;
        Physical = new PhysicalMemory(context.Memory);
        CodeMap = new CodeMap(Physical.End);
        context.Memory.AddObserver(this);
    }

    /// <inheritdoc/>
    public string Name => "software";

    /// <inheritdoc/>
    public ulong TscFrequency => 1_000_000_000;

    internal PhysicalMemory Physical { get; }

    internal CodeMap CodeMap { get; }

    /// <summary>Host stubs of vector and x87 instructions, shared by the processors.</summary>
    internal Simd.StubCache Stubs { get; } = new();

    internal Lock SplitLock { get; } = new();

    internal bool IsMultiprocessor => _context.CpuCount > 1;

    /// <inheritdoc/>
    public IVirtualCpu CreateVirtualCpu(int index, ILocalInterruptController apic)
    {
        var cpu = new SoftwareCpu(this, _context, index, apic);
        _cpus.Add(cpu);
        CodeMap.Add(cpu);
        return cpu;
    }

    /// <inheritdoc/>
    public void OnDeviceWrite(ulong address, ulong length) => CodeMap.WrittenByDevice(address, length);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var cpu in _cpus)
            cpu.Dispose();
        Stubs.Dispose();
        CodeMap.Dispose();
    }
}
