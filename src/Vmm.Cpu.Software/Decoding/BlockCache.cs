using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>The decoded blocks of one vCPU.</summary>
internal static unsafe class BlockCache
{
    /// <summary>Entries of the jump cache; a power of two.</summary>
    public const int JumpEntries = 4096;

    /// <summary>The entry of the jump cache that a RIP may be in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static JumpEntry* FindJump(CpuContext* c, ulong rip)
        => c->JumpCache + ((rip ^ (rip >> 12)) & (JumpEntries - 1));
}
