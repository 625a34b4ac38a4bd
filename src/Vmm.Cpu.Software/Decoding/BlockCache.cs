using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>A decoded run of instructions within one physical page.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Block
{
    /// <summary>Physical address of the first byte.</summary>
    public ulong Physical;

    /// <summary>Next block in the same hash bucket.</summary>
    public Block* NextInBucket;

    /// <summary>Next block in the same page.</summary>
    public Block* NextInPage;

    /// <summary>16, 32 or 64.</summary>
    public int CodeBits;

    /// <summary>Number of ops that follow the block, the closing pseudo-op included.</summary>
    public int OpCount;

    /// <summary>The ops, right behind the block.</summary>
    [UnscopedRef]
    public Op* Ops => (Op*)((Block*)Unsafe.AsPointer(ref this) + 1);
}

/// <summary>
/// The decoded blocks of one vCPU, keyed by physical address and code size. Blocks lie in an arena that is given up as a whole when it is full; an
/// invalid block stays in memory till then, its ops turned into exits, so that links and jump-cache entries to it need no check.
/// </summary>
internal sealed unsafe class BlockCache : IDisposable
{
    /// <summary>Entries of the jump cache; a power of two.</summary>
    public const int JumpEntries = 4096;

    private const int Buckets = 1 << 15;
    private const nuint ArenaSize = 64 << 20;

    private readonly HostMapping _arena = HostMapping.CreateAnonymous(ArenaSize);
    private readonly HostMapping _bucketMapping = HostMapping.CreateAnonymous(Buckets * 8);
    private readonly HostMapping _pageMapping;
    private readonly Block** _buckets;
    private readonly Block** _pages;
    private readonly ulong _pageCount;
    private readonly CpuContext* _context;
    private readonly SingleStepCache _singles;
    private nuint _used;

    public BlockCache(CpuContext* context, ulong memoryEnd, SingleStepCache singles)
    {
        _context = context;
        _singles = singles;
        _pageCount = memoryEnd >> 12;
        _pageMapping = HostMapping.CreateAnonymous((nuint)Math.Max(4096, _pageCount * 8));
        _buckets = (Block**)_bucketMapping.Address;
        _pages = (Block**)_pageMapping.Address;
    }

    public void Dispose()
    {
        _arena.Dispose();
        _bucketMapping.Dispose();
        _pageMapping.Dispose();
    }

    /// <summary>The entry of the jump cache that a RIP may be in.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static JumpEntry* FindJump(CpuContext* c, ulong rip)
        => c->JumpCache + ((rip ^ (rip >> 12)) & (JumpEntries - 1));

    /// <summary>Finds a block, or null.</summary>
    public Block* Find(ulong physical, int codeBits)
    {
        for (Block* b = _buckets[BucketOf(physical)]; b != null; b = b->NextInBucket)
        {
            if (b->Physical == physical && b->CodeBits == codeBits)
                return b;
        }
        return null;
    }

    /// <summary>
    /// Gives room for a block of up to <paramref name="ops"/> ops. Gives all blocks up when the arena is full: the caller must not hold on to any.
    /// </summary>
    public Block* Reserve(int ops)
    {
        nuint size = (nuint)(sizeof(Block) + (ops * sizeof(Op)));
        if (_used + size > ArenaSize)
            Clear();
        return (Block*)(_arena.Address + (nint)_used);
    }

    /// <summary>Enters a block that was made in the room that <see cref="Reserve"/> gave.</summary>
    public void Commit(Block* block)
    {
        _used += (nuint)(sizeof(Block) + (block->OpCount * sizeof(Op)));
        Block** bucket = &_buckets[BucketOf(block->Physical)];
        block->NextInBucket = *bucket;
        *bucket = block;
        Block** page = &_pages[block->Physical >> 12];
        block->NextInPage = *page;
        *page = block;
    }

    /// <summary>Makes the blocks of a page invalid. One of them may be running: it stops before its next instruction.</summary>
    public void InvalidatePage(ulong page)
    {
        if (page >= _pageCount)
            return;
        for (Block* b = _pages[page]; b != null; b = b->NextInPage)
        {
            Block** link = &_buckets[BucketOf(b->Physical)];
            while (*link != b)
                link = &(*link)->NextInBucket;
            *link = b->NextInBucket;
            for (int i = 0; i < b->OpCount; i++)
                b->Ops[i].Handler = &Invalidated;
        }
        _pages[page] = null;
        _context->LinkFrom = null;
    }

    /// <summary>Gives all blocks up.</summary>
    public void Clear()
    {
        _used = 0;
        new Span<nint>(_buckets, Buckets).Clear();
        HostMapping.Discard(_pageMapping.Address, _pageMapping.Length);
        for (int i = 0; i < JumpEntries; i++)
            _context->JumpCache[i].Key = ulong.MaxValue;
        _singles.Clear();
        _context->LinkFrom = null;
    }

    private static ulong BucketOf(ulong physical) => (physical ^ (physical >> 12)) & (Buckets - 1);

    private static Op* Invalidated(CpuContext* c, Op* op) => Flow.Fault(c, op);
}
