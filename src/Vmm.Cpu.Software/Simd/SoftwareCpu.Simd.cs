using Vmm.Cpu.Software.Simd;

namespace Vmm.Cpu.Software;

internal sealed unsafe partial class SoftwareCpu
{
    /// <summary>The machine's host stubs for vector and x87 instructions.</summary>
    public StubCache Stubs => _engine.Stubs;
}
