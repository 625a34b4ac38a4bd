using System.Runtime.InteropServices;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>How the linear address of a memory operand is formed.</summary>
internal enum AddressKind : byte
{
    /// <summary>64-bit mode without a segment base: base + (index &lt;&lt; scale) + disp.</summary>
    Flat64 = 0,

    /// <summary>As <see cref="Flat64"/>, plus the base of FS or GS.</summary>
    Based64 = 1,

    /// <summary>64-bit mode with a 32-bit address size: truncated, then the FS or GS base added if any.</summary>
    Address32In64 = 2,

    /// <summary>32-bit address outside 64-bit mode: truncated, segment checks and base.</summary>
    Legacy32 = 3,

    /// <summary>16-bit address outside 64-bit mode: truncated, segment checks and base.</summary>
    Legacy16 = 4,
}

/// <summary>
/// One decoded instruction: what the interpreter executes. Ops of a block lie one behind the other in native memory.
/// </summary>
/// <remarks>
/// A handler does its instruction's work and returns the next op: <c>op + 1</c>, or for the last instruction of a block what
/// <see cref="Interpreter.Flow"/> returns. It returns null to go back to the run loop; then <see cref="CpuContext.Rip"/> is set, and either an
/// event is pending (<see cref="CpuContext.PendingVector"/>) or the loop just looks at requests and goes on at Rip.
/// A handler that can fault makes all its accesses before it changes any register or flag.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Op
{
    /// <summary>What executes the instruction.</summary>
    public delegate*<CpuContext*, Op*, Op*> Handler;

    /// <summary>Immediate, sign-extended to the operand size; for branches the target relative to the start of the block.</summary>
    public ulong Imm;

    /// <summary>Displacement of the memory operand (relative to the start of the block when RIP-relative).</summary>
    public long Disp;

    /// <summary>Byte offset of the destination register in <see cref="CpuContext"/> (vector instructions: register number).</summary>
    public byte Dst;

    /// <summary>Byte offset of the source register.</summary>
    public byte Src;

    /// <summary>Byte offset of the base register; that of <see cref="CpuContext.Zero"/> for none, of <see cref="CpuContext.BlockRip"/> for RIP.</summary>
    public byte Base;

    /// <summary>Byte offset of the index register; that of <see cref="CpuContext.Zero"/> for none.</summary>
    public byte Index;

    /// <summary>Shift of the index: 0–3.</summary>
    public byte Scale;

    /// <summary>Segment register of the memory operand, <see cref="SegmentIndex"/>.</summary>
    public byte Segment;

    /// <summary>How to form the address.</summary>
    public AddressKind AddressKind;

    /// <summary>Length of the instruction in bytes.</summary>
    public byte Length;

    /// <summary>Address of the instruction relative to the start of the block.</summary>
    public ushort RipOffset;

    /// <summary>Instructions of the block before this one.</summary>
    public ushort Ordinal;

    /// <summary>Free for the handler: a third register, flags, a sub-operation.</summary>
    public uint Extra;

    /// <summary>First op of the successor within the page once linked: branch taken, or fall-through of the block's end.</summary>
    public Op* Link;

    /// <summary>First op of the successor when a conditional branch is not taken; or free for the handler (a stub's address).</summary>
    public Op* LinkNotTaken;
}

/// <summary>Byte offsets of operands in <see cref="CpuContext"/>.</summary>
internal static class OperandOffset
{
    public const byte Rax = 0;
    public const byte Rcx = 8;
    public const byte Rdx = 16;
    public const byte Rbx = 24;
    public const byte Rsp = 32;
    public const byte Rbp = 40;
    public const byte Rsi = 48;
    public const byte Rdi = 56;
    public const byte Zero = 128;
    public const byte BlockRip = 136;
}

/// <summary>An entry of the jump cache.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct JumpEntry
{
    /// <summary>RIP of the block.</summary>
    public ulong Rip;

    /// <summary>Must equal <see cref="CpuContext.JumpKey"/>.</summary>
    public ulong Key;

    /// <summary>First op of the block.</summary>
    public Op* Ops;
}
