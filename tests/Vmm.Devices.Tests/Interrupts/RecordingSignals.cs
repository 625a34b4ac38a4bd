using Vmm.Core.Cpu;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>A processor's inputs that count.</summary>
internal sealed class RecordingSignals : ICpuSignals
{
    public int Requests { get; private set; }

    public int Nmis { get; private set; }

    public int Inits { get; private set; }

    public List<byte> Startups { get; } = [];

    public void InterruptRequested() => Requests++;

    public void Nmi() => Nmis++;

    public void Init() => Inits++;

    public void Startup(byte vector) => Startups.Add(vector);
}
