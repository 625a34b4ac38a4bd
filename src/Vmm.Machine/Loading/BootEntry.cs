using Vmm.Core.Cpu;

namespace Vmm.Machine.Loading;

/// <summary>The state in which a kernel expects the bootstrap processor, as a change to its reset state.</summary>
internal abstract record BootEntry(ulong Rip)
{
    private const ulong Cr0Pe = 1 << 0;
    private const ulong Cr0Et = 1 << 4;
    private const ulong Cr0Pg = 1UL << 31;
    private const ulong Cr4Pae = 1 << 5;
    private const ulong EferLme = 1 << 8;
    private const ulong EferLma = 1 << 10;
    private const uint IaEfer = 0xC000_0080;
    private const uint MtrrDefaultType = 0x2FF;

    // MTRRs enabled, everything write-back (SDM vol. 3, 12.11.2.1), as firmware leaves them; Linux uses neither MTRRs nor PAT otherwise.
    private const ulong MtrrEnabledWriteBack = 0x806;

    /// <summary>Selector of the flat code segment, Linux's __BOOT_CS.</summary>
    public const ushort CodeSelector = 0x10;

    /// <summary>Selector of the flat data segment, Linux's __BOOT_DS.</summary>
    public const ushort DataSelector = 0x18;

    /// <summary>Selector of the task state segment.</summary>
    public const ushort TaskSelector = 0x20;

    // Access bytes and flags of descriptors (SDM vol. 3, 3.4.5): G, D or L, P, S, type; accessed and busy as a loaded register has them.
    private const ushort Code32 = 0xC09B;
    private const ushort Code64 = 0xA09B;
    private const ushort Data32 = 0xC093;
    private const ushort Tss = 0x008B;

    /// <summary>The GDT's descriptors for 32-bit and 64-bit kernels.</summary>
    public static ulong[] Gdt(bool longMode) =>
        [0, 0, longMode ? 0x00AF_9B00_0000_FFFFUL : 0x00CF_9B00_0000_FFFFUL, 0x00CF_9300_0000_FFFFUL, 0x0000_8B00_0000_0067UL, 0];

    /// <summary>Changes a reset state.</summary>
    public void Apply(CpuState state)
    {
        Array.Clear(state.Gpr);
        state.Rip = Rip;
        state.Rflags = 2;
        state.MpState = MpState.Runnable;
        state.Msrs[MtrrDefaultType] = MtrrEnabledWriteBack;
        state.Gdtr = new DescriptorTableState { Base = AddressMap.BootGdt, Limit = (6 * 8) - 1 };
        state.Idtr = default;
        state.Cr0 = Cr0Pe | Cr0Et;
        var data = new SegmentState { Selector = DataSelector, Attributes = Data32, Limit = uint.MaxValue };
        Array.Fill(state.Segments, data);
        state.Segments[1] = new SegmentState { Selector = CodeSelector, Attributes = LongMode ? Code64 : Code32, Limit = uint.MaxValue };
        state.Tr = new SegmentState { Selector = TaskSelector, Attributes = Tss, Limit = 0x67 };
        state.Ldtr = new SegmentState { Unusable = true };
        if (LongMode)
        {
            state.Cr0 |= Cr0Pg;
            state.Cr3 = AddressMap.BootPageTables;
            state.Cr4 = Cr4Pae;
            state.Msrs[IaEfer] = EferLme | EferLma;
        }
        SetRegisters(state.Gpr);
    }

    /// <summary>Whether the kernel is entered in 64-bit mode with paging.</summary>
    public abstract bool LongMode { get; }

    /// <summary>Sets what the protocol passes in registers: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI …</summary>
    protected abstract void SetRegisters(ulong[] registers);

    /// <summary>Linux, 64-bit (boot.rst, "64-bit Boot Protocol"): RSI points to boot_params.</summary>
    public sealed record Linux64(ulong Rip) : BootEntry(Rip)
    {
        /// <inheritdoc/>
        public override bool LongMode => true;

        /// <inheritdoc/>
        protected override void SetRegisters(ulong[] registers) => registers[6] = AddressMap.BootInformation;
    }

    /// <summary>Linux, 32-bit (boot.rst, "32-bit Boot Protocol"): ESI points to boot_params; EBP, EDI and EBX are zero.</summary>
    public sealed record Linux32(ulong Rip) : BootEntry(Rip)
    {
        /// <inheritdoc/>
        public override bool LongMode => false;

        /// <inheritdoc/>
        protected override void SetRegisters(ulong[] registers) => registers[6] = AddressMap.BootInformation;
    }

    /// <summary>PVH (pvh.pandoc): EBX points to hvm_start_info.</summary>
    public sealed record Pvh(ulong Rip) : BootEntry(Rip)
    {
        /// <inheritdoc/>
        public override bool LongMode => false;

        /// <inheritdoc/>
        protected override void SetRegisters(ulong[] registers) => registers[3] = AddressMap.BootInformation;
    }

    /// <summary>Multiboot (3.2): the magic number in EAX, the information in EBX.</summary>
    public sealed record Multiboot(ulong Rip) : BootEntry(Rip)
    {
        private const ulong Magic = 0x2BAD_B002;

        /// <inheritdoc/>
        public override bool LongMode => false;

        /// <inheritdoc/>
        protected override void SetRegisters(ulong[] registers)
        {
            registers[0] = Magic;
            registers[3] = AddressMap.BootInformation;
        }
    }
}
