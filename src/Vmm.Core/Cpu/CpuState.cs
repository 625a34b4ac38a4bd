namespace Vmm.Core.Cpu;

/// <summary>A segment register with its hidden part (Intel SDM vol. 3, 3.4.3).</summary>
public struct SegmentState
{
    /// <summary>Visible selector.</summary>
    public ushort Selector;

    /// <summary>
    /// Access rights as in bits 40–55 of the descriptor: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15; bits 11:8 zero.
    /// </summary>
    public ushort Attributes;

    /// <summary>Limit in bytes, scaled by granularity.</summary>
    public uint Limit;

    /// <summary>Linear base address.</summary>
    public ulong Base;

    /// <summary>Set when the register is unusable (null selector).</summary>
    public bool Unusable;
}

/// <summary>GDTR or IDTR.</summary>
public struct DescriptorTableState
{
    /// <summary>Linear base address.</summary>
    public ulong Base;

    /// <summary>Limit in bytes.</summary>
    public ushort Limit;
}

/// <summary>Whether a processor runs, halts or waits (as KVM_GET_MP_STATE).</summary>
public enum MpState
{
    /// <summary>Executing.</summary>
    Runnable,

    /// <summary>An application processor before INIT.</summary>
    Uninitialized,

    /// <summary>After INIT, waiting for a start-up IPI.</summary>
    WaitForSipi,

    /// <summary>In HLT.</summary>
    Halted,

    /// <summary>Triple fault.</summary>
    Shutdown,
}

/// <summary>Events that are pending at an instruction boundary (as KVM_GET_VCPU_EVENTS).</summary>
public struct PendingEvents
{
    /// <summary>An exception is to be delivered before the next instruction.</summary>
    public bool ExceptionPending;

    /// <summary>Its vector.</summary>
    public byte ExceptionVector;

    /// <summary>It pushes <see cref="ExceptionErrorCode"/>.</summary>
    public bool ExceptionHasErrorCode;

    /// <summary>Its error code.</summary>
    public uint ExceptionErrorCode;

    /// <summary>An NMI is latched.</summary>
    public bool NmiPending;

    /// <summary>NMIs are blocked until IRET.</summary>
    public bool NmiMasked;

    /// <summary>Interrupts are held off for one instruction by STI.</summary>
    public bool StiShadow;

    /// <summary>Interrupts and debug traps are held off for one instruction by MOV SS or POP SS.</summary>
    public bool MovSsShadow;
}

/// <summary>
/// A processor's whole architectural state, the common language of engines, snapshots, the debugger stub and the differential
/// tests. Names are those of the Intel SDM.
/// </summary>
public sealed class CpuState
{
    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8–R15.</summary>
    public ulong[] Gpr { get; } = new ulong[16];

    /// <summary>Instruction pointer.</summary>
    public ulong Rip { get; set; }

    /// <summary>Flags; bit 1 always set.</summary>
    public ulong Rflags { get; set; } = 2;

    /// <summary>ES, CS, SS, DS, FS, GS: indices 0–5 as in the instruction encoding.</summary>
    public SegmentState[] Segments { get; } = new SegmentState[6];

    /// <summary>Local descriptor table register.</summary>
    public SegmentState Ldtr;

    /// <summary>Task register.</summary>
    public SegmentState Tr;

    /// <summary>Global descriptor table register.</summary>
    public DescriptorTableState Gdtr;

    /// <summary>Interrupt descriptor table register.</summary>
    public DescriptorTableState Idtr;

    /// <summary>CR0.</summary>
    public ulong Cr0 { get; set; }

    /// <summary>CR2.</summary>
    public ulong Cr2 { get; set; }

    /// <summary>CR3.</summary>
    public ulong Cr3 { get; set; }

    /// <summary>CR4.</summary>
    public ulong Cr4 { get; set; }

    /// <summary>CR8 (task priority).</summary>
    public ulong Cr8 { get; set; }

    /// <summary>DR0–DR3.</summary>
    public ulong[] DebugAddresses { get; } = new ulong[4];

    /// <summary>DR6.</summary>
    public ulong Dr6 { get; set; } = 0xFFFF0FF0;

    /// <summary>DR7.</summary>
    public ulong Dr7 { get; set; } = 0x400;

    /// <summary>Model-specific registers by number; IA32_EFER (0xC0000080) always present.</summary>
    public SortedDictionary<uint, ulong> Msrs { get; } = [];

    /// <summary>XCR0.</summary>
    public ulong Xcr0 { get; set; } = 1;

    /// <summary>
    /// The XSAVE area in the standard (non-compacted) format: 512-byte legacy region, 64-byte header, AVX at 576
    /// (SDM vol. 1, 13.4). XSTATE_BV in the header tells which components are not in their initial configuration.
    /// </summary>
    public byte[] Xsave { get; } = new byte[832];

    /// <summary>The local APIC's register page (as KVM_GET_LAPIC), or empty where the caller keeps the APIC itself.</summary>
    public byte[] LocalApic { get; set; } = [];

    /// <summary>Pending and shadowed events.</summary>
    public PendingEvents Events;

    /// <summary>Running, halted, waiting.</summary>
    public MpState MpState { get; set; }
}
