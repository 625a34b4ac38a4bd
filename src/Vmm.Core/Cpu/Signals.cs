namespace Vmm.Core.Cpu;

/// <summary>Why <see cref="IVirtualCpu.Run"/> came back.</summary>
public enum VirtualCpuExit
{
    /// <summary><see cref="IVirtualCpu.Kick"/> was called.</summary>
    Kicked,

    /// <summary>The processor shut down (triple fault). It stays shut down until it is reset.</summary>
    Shutdown,

    /// <summary>A debugger asked for it: breakpoint, watchpoint or single step.</summary>
    Debug,
}

/// <summary>The interrupt inputs of a processor, driven by its local APIC. Any thread; none of them blocks.</summary>
public interface ICpuSignals
{
    /// <summary>
    /// Something about <see cref="ILocalInterruptController.InterruptPending"/> may have changed: wakes the processor from HLT and
    /// makes it look before its next block.
    /// </summary>
    void InterruptRequested();

    /// <summary>A non-maskable interrupt; latched.</summary>
    void Nmi();

    /// <summary>INIT: reset to the wait-for-SIPI state (bootstrap processors restart at the reset vector).</summary>
    void Init();

    /// <summary>A start-up IPI; ignored unless the processor waits for one. Starts at <c>vector &lt;&lt; 12</c> in real mode.</summary>
    void Startup(byte vector);
}

/// <summary>
/// What a processor sees of its local APIC (and of the 8259 behind LINT0). Called on the vCPU's thread only, except
/// <see cref="InterruptPending"/>.
/// </summary>
public interface ILocalInterruptController
{
    /// <summary>Whether INTR is asserted: a deliverable local vector, or ExtINT from the 8259. Reads no lock.</summary>
    bool InterruptPending { get; }

    /// <summary>The INTA cycle: takes the highest deliverable vector into service.</summary>
    /// <returns>False when nothing was pending after all.</returns>
    bool TryAcknowledge(out byte vector);

    /// <summary>IA32_APIC_BASE (0x1B). The processor routes the xAPIC page by it.</summary>
    ulong ApicBase { get; }

    /// <summary>CR8: bits 7:4 of the task priority register.</summary>
    byte Cr8 { get; set; }

    /// <summary>Reads IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR (0x800–0x8FF).</summary>
    /// <returns>False raises #GP(0).</returns>
    bool TryReadMsr(uint msr, out ulong value);

    /// <summary>Writes IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR (0x800–0x8FF).</summary>
    /// <returns>False raises #GP(0).</returns>
    bool TryWriteMsr(uint msr, ulong value);

    /// <summary>Reads the memory-mapped register page (xAPIC mode).</summary>
    /// <param name="offset">0 to 0xFFF.</param>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    ulong ReadPage(uint offset, int size);

    /// <summary>Writes the memory-mapped register page (xAPIC mode).</summary>
    void WritePage(uint offset, int size, ulong value);

    /// <summary>What INIT does to the APIC: as reset, but the APIC ID and IA32_APIC_BASE stay (SDM vol. 3, 11.4.7.3).</summary>
    void Init();
}
