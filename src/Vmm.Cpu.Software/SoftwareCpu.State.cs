using Vmm.Core.Cpu;

namespace Vmm.Cpu.Software;

internal sealed unsafe partial class SoftwareCpu
{
    /// <inheritdoc/>
    public void Reset()
    {
    }

    private void InitReset()
    {
    }

    private void StartAt(byte vector)
    {
    }

    /// <inheritdoc/>
    public void Capture(CpuState state)
    {
    }

    /// <inheritdoc/>
    public void Restore(CpuState state)
    {
    }
}
