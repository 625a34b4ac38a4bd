using Microsoft.Extensions.Logging;
using Vmm.Core.Buses;
using Vmm.Core.Memory;
using Vmm.Core.Time;

namespace Vmm.Core.Cpu;

/// <summary>What a CPU engine is given of the machine.</summary>
/// <param name="Memory">Guest-physical memory.</param>
/// <param name="Ports">The port bus.</param>
/// <param name="Mmio">The bus behind every physical address that is not memory.</param>
/// <param name="Clock">VM time; the TSC follows it.</param>
/// <param name="CpuCount">How many virtual CPUs there will be.</param>
/// <param name="LoggerFactory">For the engine's messages.</param>
public sealed record CpuEngineContext(GuestMemory Memory, Bus Ports, Bus Mmio, VmClock Clock, int CpuCount, ILoggerFactory LoggerFactory);

/// <summary>Makes engines; the composing host chooses which one.</summary>
public interface ICpuEngineFactory
{
    /// <summary>"software" or "kvm".</summary>
    string Name { get; }

    /// <summary>Makes the engine of one VM.</summary>
    ICpuEngine Create(CpuEngineContext context);
}

/// <summary>Something that executes a guest: KVM or the software CPU.</summary>
public interface ICpuEngine : IDisposable
{
    /// <summary>"software" or "kvm".</summary>
    string Name { get; }

    /// <summary>
    /// Frequency of the guest's time-stamp counter, Hz. The counter is VM time times this, plus each vCPU's IA32_TSC_ADJUST.
    /// </summary>
    ulong TscFrequency { get; }

    /// <summary>Creates virtual CPU number <paramref name="index"/> in its reset state. Index 0 is the bootstrap processor.</summary>
    /// <param name="index">Processor number and APIC ID.</param>
    /// <param name="apic">Its local APIC.</param>
    IVirtualCpu CreateVirtualCpu(int index, ILocalInterruptController apic);
}

/// <summary>
/// One virtual processor. <see cref="Run"/>, <see cref="Capture"/> and <see cref="Restore"/> belong to one thread at a time;
/// <see cref="Kick"/> and the signals may be called from any.
/// </summary>
public interface IVirtualCpu : ICpuSignals, IDisposable
{
    /// <summary>Processor number and APIC ID.</summary>
    int Index { get; }

    /// <summary>Executes the guest on the calling thread; waits inside while the guest has halted.</summary>
    VirtualCpuExit Run();

    /// <summary>Makes the current or the next <see cref="Run"/> return soon with <see cref="VirtualCpuExit.Kicked"/>.</summary>
    void Kick();

    /// <summary>Puts the processor into its power-on state. Not while running.</summary>
    void Reset();

    /// <summary>Copies the architectural state out. Not while running.</summary>
    void Capture(CpuState state);

    /// <summary>Puts an architectural state in. Not while running.</summary>
    /// <exception cref="InvalidDataException">The state is not one that this processor can be in.</exception>
    void Restore(CpuState state);

    /// <summary>Instructions retired since creation, or 0 where the engine cannot count. Any thread; approximate while running.</summary>
    ulong InstructionsRetired { get; }
}
