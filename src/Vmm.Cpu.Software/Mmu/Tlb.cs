using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>
/// An entry of a data TLB. A tag is the linear address of the page when accesses may go straight to host memory at
/// linear + <see cref="Addend"/>, else <see cref="Tlb.NoTag"/>.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct TlbEntry
{
    /// <summary>Tag for reads.</summary>
    public ulong TagRead;

    /// <summary>Tag for writes: the page is writable, dirty, RAM and holds no translated code.</summary>
    public ulong TagWrite;

    /// <summary>Host address minus linear address.</summary>
    public nint Addend;

    /// <summary>Physical page address, with <see cref="Tlb.Global"/> and <see cref="Tlb.SlowWrite"/> in the low bits.</summary>
    public ulong Physical;
}

/// <summary>An entry of an instruction TLB.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CodeTlbEntry
{
    /// <summary>Linear address of the page, or <see cref="Tlb.NoTag"/>.</summary>
    public ulong Tag;

    /// <summary>Physical page address, with <see cref="Tlb.Global"/> in the low bits.</summary>
    public ulong Physical;

    /// <summary>Host address of the page, or null when it is not memory.</summary>
    public byte* Host;
}

/// <summary>Sizes and bits of the TLBs.</summary>
internal static unsafe class Tlb
{
    /// <summary>Entries of one data TLB; a power of two.</summary>
    public const int Entries = 1024;

    /// <summary>Entries of one instruction TLB; a power of two.</summary>
    public const int CodeEntries = 512;

    /// <summary>A tag that no access matches: not page-aligned, so that tag xor address is never below 4096.</summary>
    public const ulong NoTag = 0x0000_8000_0000_0FFF;

    /// <summary>In <see cref="TlbEntry.Physical"/>: a global page.</summary>
    public const ulong Global = 1;

    /// <summary>In <see cref="TlbEntry.Physical"/>: writes are permitted by the page tables but must take the slow path (code page).</summary>
    public const ulong SlowWrite = 2;

    /// <summary>
    /// The entry that a linear address may be in. Bits 31:22 are mixed in, so that buffers a multiple of 4 MiB apart do not evict each other.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TlbEntry* Find(TlbEntry* tlb, ulong linear)
        => (TlbEntry*)((byte*)tlb + (((linear >> 7) ^ (linear >> 17)) & ((Entries - 1) * 32)));

    /// <summary>The entry that a linear address may be in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static CodeTlbEntry* Find(CodeTlbEntry* tlb, ulong linear) => tlb + ((linear >> 12) & (CodeEntries - 1));
}
