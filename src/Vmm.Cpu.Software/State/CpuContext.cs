using System.Runtime.InteropServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;

namespace Vmm.Cpu.Software.State;

/// <summary>A segment register's hidden part in the form that the fast paths want.</summary>
internal struct SegmentCache
{
    /// <summary>Linear base. In 64-bit mode the bases of ES, CS, SS and DS count as 0 and are not used.</summary>
    public ulong Base;

    /// <summary>Limit in bytes, inclusive.</summary>
    public uint Limit;

    /// <summary>Visible selector.</summary>
    public ushort Selector;

    /// <summary>Access rights in the layout of <see cref="Core.Cpu.SegmentState.Attributes"/>: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15.</summary>
    public ushort Attributes;

    /// <summary>Not 0 when the register is unusable (null selector).</summary>
    public int Unusable;

    /// <summary>Not 0 when the segment is an expand-up, readable and writable, base 0, 4 GiB data segment: no check is needed.</summary>
    public int Flat;
}

/// <summary>Indices into <see cref="CpuContext.Segments"/>, as in the instruction encoding.</summary>
internal static class SegmentIndex
{
    public const int Es = 0;
    public const int Cs = 1;
    public const int Ss = 2;
    public const int Ds = 3;
    public const int Fs = 4;
    public const int Gs = 5;
    public const int Ldtr = 6;
    public const int Tr = 7;
}

/// <summary>
/// Bits of <see cref="CpuContext.Request"/>: why the block loop has to be left. Set by any thread with an interlocked OR; looked at
/// before every block.
/// </summary>
internal static class Requests
{
    /// <summary>INTR may be asserted: look at the local APIC.</summary>
    public const int Interrupt = 1;
    public const int Nmi = 2;
    public const int Init = 4;
    public const int Startup = 8;

    /// <summary>Run must return.</summary>
    public const int Kick = 0x10;

    /// <summary>Another vCPU or a device wrote to code: the mailbox of pages to invalidate is not empty.</summary>
    public const int CodeWritten = 0x20;

    /// <summary>Another vCPU waits for this one to pass a point where no guest access is under way.</summary>
    public const int Safepoint = 0x40;

    /// <summary>Instructions are run one at a time (interrupt shadow, TF, debug registers).</summary>
    public const int Step = 0x80;
}

/// <summary>
/// The state of one virtual CPU in native memory. The interpreter's handlers get a pointer to it; the offsets of the first part
/// are fixed, since operands are addressed by byte offset and generated code will use them too.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CpuContext
{
    // --- Offsets 0–143: operand file. Op.Dst/Src/Base/Index are byte offsets into it.

    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8–R15; AH/CH/DH/BH are the bytes at 8*i+1.</summary>
    public fixed ulong Gpr[16];

    /// <summary>Always 0: the base or index of an address that has none. Offset 128.</summary>
    public ulong Zero;

    /// <summary>RIP of the first instruction of the running block; the base of RIP-relative addresses. Offset 136.</summary>
    public ulong BlockRip;

    // --- Offsets 192–1727: the register files of x87 and vector instructions. They come here so that their alignment does not depend on other fields.
    private fixed ulong _alignment[6];

    /// <summary>YMM0–15, 32 bytes each, the XMM half low. Offset 192; the context is allocated so that this is 64-byte aligned.</summary>
    public VectorFile Vectors;

    /// <summary>The x87 state as an FXSAVE64 image; its MXCSR and XMM fields are not used but always valid for FXRSTOR. 64-byte aligned.</summary>
    public FxImage Fx;

    /// <summary>Scratch for memory operands of vector and x87 instructions, 64-byte aligned.</summary>
    public FxImage Scratch;

    // --- Arithmetic flags in lazy form, see Flags.

    /// <summary>The last result, sign-extended to 64 bits: ZF, SF and PF follow from it.</summary>
    public ulong FlagResult;

    /// <summary>CF, OF, AF and corrections to PF and SF; see <see cref="Flags"/>.</summary>
    public uint FlagAux;

    /// <summary>Pending work, <see cref="Requests"/>. Written by any thread.</summary>
    public int Request;

    /// <summary>RFLAGS without CF, PF, AF, ZF, SF, OF (these bits are 0 here). Bit 1 is set.</summary>
    public ulong Rflags;

    // --- Fast paths.

    /// <summary>The data TLB for the current privilege (and SMAP override), an array of <see cref="Tlb.Entries"/> entries.</summary>
    public TlbEntry* DataTlb;

    /// <summary>Direct-mapped cache from RIP to block, see <see cref="BlockCache"/>.</summary>
    public JumpEntry* JumpCache;

    /// <summary>Where slow paths take and leave an address and a value, so that handlers can keep theirs in registers.</summary>
    public ulong AccessLinear;

    /// <summary>See <see cref="AccessLinear"/>; up to 64 bytes.</summary>
    public AccessScratch AccessValue;

    /// <summary>Generation and mode that an entry of the jump cache must carry to count.</summary>
    public ulong JumpKey;

    /// <summary>Instructions retired.</summary>
    public ulong Retired;

    /// <summary>
    /// RIP (EIP, IP) whenever no block runs. While one runs, the address of an instruction is BlockRip + op.RipOffset.
    /// </summary>
    public ulong Rip;

    // --- A fault or trap that a handler raised; the run loop delivers it.

    /// <summary>Vector, or -1 for none.</summary>
    public int PendingVector;

    public uint PendingErrorCode;

    /// <summary>Not 0 when <see cref="PendingErrorCode"/> is pushed.</summary>
    public int PendingHasErrorCode;

    /// <summary>What the event is, a value of <see cref="PendingEventKind"/>.</summary>
    public int PendingKind;

    // --- Segments and system registers.

    /// <summary>ES, CS, SS, DS, FS, GS, LDTR, TR.</summary>
    public SegmentFile Segments;

    public ulong GdtrBase;
    public ulong IdtrBase;
    public uint GdtrLimit;
    public uint IdtrLimit;
    public ulong Cr0;
    public ulong Cr2;
    public ulong Cr3;
    public ulong Cr4;
    public ulong Efer;
    public ulong Xcr0;
    public fixed ulong Dr[4];
    public ulong Dr6;
    public ulong Dr7;

    /// <summary>Current privilege level.</summary>
    public int Cpl;

    /// <summary>16, 32 or 64: the size of code (CS.D and CS.L with EFER.LMA).</summary>
    public int CodeBits;

    /// <summary>The size of the stack pointer: 0xFFFF, 0xFFFFFFFF or all ones (SS.B; 64-bit mode).</summary>
    public ulong StackMask;

    /// <summary>Not 0: interrupts are held off until the next instruction is done. 1 by STI, 2 by MOV SS/POP SS.</summary>
    public int Shadow;

    /// <summary>Not 0: NMIs are blocked until IRET.</summary>
    public int NmiBlocked;

    /// <summary>Runnable, halted and so on: a value of <see cref="Core.Cpu.MpState"/>.</summary>
    public int MpState;

    /// <summary>Physical address bits above which page-table entries are reserved.</summary>
    public ulong PhysicalReservedMask;

    // --- MSRs.
    public ulong Star;
    public ulong Lstar;
    public ulong Cstar;
    public ulong Fmask;
    public ulong KernelGsBase;
    public ulong SysenterCs;
    public ulong SysenterEsp;
    public ulong SysenterEip;
    public ulong TscAux;
    public ulong TscAdjust;
    public ulong Pat;
    public ulong MiscEnable;
    public ulong MtrrDefType;
    public fixed ulong MtrrFixed[11];
    public fixed ulong MtrrVariable[16];
    public ulong XssUnused;

    // --- Control of x87 and vector instructions.

    /// <summary>MXCSR.</summary>
    public uint Mxcsr;

    /// <summary>Not 0 once any of the x87 state differs from its initial configuration (for XSAVE's XINUSE).</summary>
    public uint X87InUse;

    /// <summary>Classes of vector and x87 instructions that raise #UD or #NM now, see <see cref="Simd.SimdGate"/>.</summary>
    public uint SimdGate;

    // --- The way back to managed code.

    /// <summary>A GC handle to the <see cref="SoftwareCpu"/>.</summary>
    public nint Self;

    // --- All data TLBs: user, supervisor without access to user pages (SMAP), supervisor with.
    public TlbEntry* UserTlb;
    public TlbEntry* SupervisorTlb;
    public TlbEntry* SupervisorAcTlb;

    /// <summary>Instruction TLBs: user, supervisor.</summary>
    public CodeTlbEntry* UserCodeTlb;
    public CodeTlbEntry* SupervisorCodeTlb;

    /// <summary>Counts TLB flushes; the upper part of <see cref="JumpKey"/>.</summary>
    public ulong Generation;

    /// <summary>The CS base (0 in 64-bit mode) that the entries of this generation were made with.</summary>
    public ulong JumpCodeBase;

    /// <summary>The CS limit (4 GiB in 64-bit mode) that the entries of this generation were made with.</summary>
    public uint JumpCodeLimit;

    /// <summary>A data TLB that is always empty: while alignment is checked every access takes the slow path.</summary>
    public TlbEntry* EmptyTlb;

    /// <summary>Which entries of the data TLBs (user, supervisor, supervisor with AC) were filled since the last flush: 1024 bits each.</summary>
    public fixed ulong FilledData[3 * 16];

    /// <summary>Which entries of the instruction TLBs (user, supervisor) were filled: 512 bits each.</summary>
    public fixed ulong FilledCode[2 * 8];

    /// <summary>Bytes of the largest page that an entry of the TLBs may be part of: what INVLPG has to drop.</summary>
    public ulong LargestPage;

    /// <summary>Where a branch that just left for the run loop wants its successor linked, or null.</summary>
    public Op** LinkFrom;

    /// <summary>RIP of the successor that <see cref="LinkFrom"/> wants.</summary>
    public ulong LinkRip;

    /// <summary>Not 0 when the pending #GP is for a non-canonical address: it becomes #SS if the operand is in the stack segment.</summary>
    public int PendingNonCanonical;

    /// <summary>Data and I/O breakpoints that the running instruction has hit, bits as in DR6.</summary>
    public int PendingDebugHits;

    /// <summary>Not 0: the running instruction entered a handler, so that it does not trap for the TF it began with.</summary>
    public int StepTrapCancelled;

    /// <summary>Not 0: the running instruction loaded RF, which then counts for the next one.</summary>
    public int RfLoaded;
}

/// <summary>How an event came about: decides error codes, the EXT bit and what RIP is pushed.</summary>
internal static class PendingEventKind
{
    /// <summary>A processor-detected exception; RIP is that of the faulting instruction (or as set by the raiser).</summary>
    public const int Exception = 0;

    /// <summary>INT n, INT3, INTO: DPL of the gate is checked, RIP is already behind the instruction.</summary>
    public const int SoftwareInterrupt = 1;

    /// <summary>An external interrupt or NMI.</summary>
    public const int External = 2;

    /// <summary>INT1 (ICEBP): as an exception for privilege, RIP behind the instruction.</summary>
    public const int PrivilegedSoftware = 3;
}

/// <summary>The eight segment registers.</summary>
[System.Runtime.CompilerServices.InlineArray(8)]
internal struct SegmentFile
{
    private SegmentCache _element;
}

/// <summary>Room for the largest memory operand that is passed by value.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
internal struct AccessScratch
{
    public byte First;
}

/// <summary>512 bytes, aligned by its place in the context.</summary>
[StructLayout(LayoutKind.Sequential, Size = 512)]
internal struct FxImage
{
    public byte First;
}

/// <summary>16 vector registers of 32 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = 512)]
internal struct VectorFile
{
    public byte First;
}
