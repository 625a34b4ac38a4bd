using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Logging;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using Vmm.Interop;

namespace Vmm.Cpu.Software;

/// <summary>
/// One virtual processor of the software engine: its state, its caches, and the loop that runs blocks and takes events between them.
/// </summary>
internal sealed unsafe partial class SoftwareCpu : IVirtualCpu
{
    private const ulong PageMask = 0xFFF;

    private readonly SoftwareCpuEngine _engine;
    private readonly CpuContext* _context;
    private readonly HostMapping _tables;
    private readonly GCHandle _self;
    private readonly BlockDecoder _decoder;
    private readonly SingleStepCache _singles;
    private readonly ILogger _logger;
    private readonly EventFd _wake = new();
    private readonly ConcurrentQueue<ulong> _invalidations = new();
    private readonly ConcurrentDictionary<ulong, bool> _reported = new();
    private int _startupVector;
    private int _waiting;
    private int _inGuest;
    private long _epoch;
    private bool _disposed;

    internal SoftwareCpu(SoftwareCpuEngine engine, CpuEngineContext machine, int index, ILocalInterruptController apic)
    {
        _engine = engine;
        Machine = machine;
        Index = index;
        Apic = apic;
        Physical = engine.Physical;
        CodeMap = engine.CodeMap;
        _logger = machine.LoggerFactory.CreateLogger("Vmm.Cpu.Software");
        _context = (CpuContext*)NativeMemory.AlignedAlloc((nuint)((sizeof(CpuContext) + 63) & ~63), 64);
        NativeMemory.Clear(_context, (nuint)sizeof(CpuContext));
        _self = GCHandle.Alloc(this);
        _context->Self = GCHandle.ToIntPtr(_self);
        _tables = AllocateTables();
        _singles = new SingleStepCache();
        Blocks = new BlockCache(_context, engine.Physical.End, _singles);
        Blocks.Clear();
        _decoder = new BlockDecoder(this);
        _context->PendingVector = -1;
        Reset();
    }

    /// <summary>The processor's state.</summary>
    public CpuContext* Context => _context;

    /// <summary>The local APIC.</summary>
    public ILocalInterruptController Apic { get; }

    /// <summary>The machine as the engine was given it: buses, memory, clock.</summary>
    public CpuEngineContext Machine { get; }

    /// <summary>Guest-physical memory.</summary>
    public PhysicalMemory Physical { get; }

    /// <summary>Which memory holds decoded code, of all vCPUs.</summary>
    public CodeMap CodeMap { get; }

    /// <summary>The decoded blocks.</summary>
    public BlockCache Blocks { get; }

    /// <summary>Held for a locked access that no single host instruction can do: across pages, MMIO, code pages.</summary>
    public Lock SplitLock => _engine.SplitLock;

    /// <inheritdoc/>
    public int Index { get; }

    /// <inheritdoc/>
    public ulong InstructionsRetired => Volatile.Read(ref _context->Retired);

    /// <summary>Finds the managed object behind a context.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static SoftwareCpu From(CpuContext* c) => Unsafe.As<SoftwareCpu>(GCHandle.FromIntPtr(c->Self).Target!);

    /// <inheritdoc/>
    public VirtualCpuExit Run()
    {
        CpuContext* c = _context;
        while (true)
        {
            if (c->PendingVector >= 0)
                Events.DeliverPending(c);
            c->LinkFrom = c->LinkFrom != null && c->Rip == c->LinkRip ? c->LinkFrom : null;
            if (Volatile.Read(ref c->Request) != 0 || c->MpState != (int)MpState.Runnable)
            {
                c->LinkFrom = null;
                if (TakeRequests(c) is { } exit)
                    return exit;
                continue;
            }
            if (c->Shadow == 0 && (c->Rflags & Flags.If) != 0 && Apic.InterruptPending)
            {
                c->LinkFrom = null;
                if (Apic.TryAcknowledge(out byte vector))
                    Events.DeliverInterrupt(c, vector);
                continue;
            }
            if (c->Shadow != 0 || Debugging.NeedsStep(c))
            {
                c->LinkFrom = null;
                StepOne(c);
                continue;
            }
            Op* op = FindBlock(c);
            if (op != null)
                Execute(c, op);
        }
    }

    /// <inheritdoc/>
    public void Kick() => Signal(Requests.Kick);

    /// <inheritdoc/>
    public void InterruptRequested() => Signal(Requests.Interrupt);

    /// <inheritdoc/>
    public void Nmi() => Signal(Requests.Nmi);

    /// <inheritdoc/>
    public void Init() => Signal(Requests.Init);

    /// <inheritdoc/>
    public void Startup(byte vector)
    {
        Volatile.Write(ref _startupVector, vector);
        Signal(Requests.Startup);
    }

    /// <summary>Asks for one or more of <see cref="Requests"/> and wakes the processor if it waits. Any thread.</summary>
    public void Signal(int request)
    {
        Interlocked.Or(ref _context->Request, request);
        if (Volatile.Read(ref _waiting) != 0)
            _wake.Signal();
    }

    /// <summary>Has blocks of a page dropped before the next block runs. Any thread.</summary>
    public void PostInvalidation(ulong page)
    {
        _invalidations.Enqueue(page);
        Signal(Requests.CodeWritten);
    }

    /// <summary>Takes a page that becomes a code page out of this processor's write tags. Any thread.</summary>
    public void PurgeWriteTags(ulong physicalPage)
    {
        CpuContext* c = _context;
        for (int set = 0; set < 3; set++)
        {
            TlbEntry* tlb = Paging.DataSet(c, set);
            for (int i = 0; i < Tlb.Entries; i++)
            {
                if ((Volatile.Read(ref tlb[i].Physical) & ~PageMask) == physicalPage)
                    Volatile.Write(ref tlb[i].TagWrite, Tlb.NoTag);
            }
        }
    }

    /// <summary>Waits until this processor has passed a point where no guest access is under way. Called by other vCPUs' threads.</summary>
    public void WaitForSafepoint()
    {
        long epoch = Volatile.Read(ref _epoch);
        if (Volatile.Read(ref _inGuest) == 0)
            return;
        Interlocked.Or(ref _context->Request, Requests.Safepoint);
        var spin = default(SpinWait);
        while (Volatile.Read(ref _inGuest) != 0 && Volatile.Read(ref _epoch) == epoch)
            spin.SpinOnce(sleep1Threshold: -1);
    }

    /// <summary>Reads from the MMIO bus or this processor's local APIC page.</summary>
    public void ReadBus(ulong physical, byte* destination, int size)
    {
        while (size > 0)
        {
            int n = ChunkOf(physical, size);
            ulong value = IsApicPage(physical) ? Apic.ReadPage((uint)(physical & PageMask), n) : Machine.Mmio.Read(physical, n);
            Unsafe.CopyBlockUnaligned(destination, &value, (uint)n);
            destination += n;
            physical += (ulong)n;
            size -= n;
        }
    }

    /// <summary>Writes to the MMIO bus or this processor's local APIC page.</summary>
    public void WriteBus(ulong physical, byte* source, int size)
    {
        while (size > 0)
        {
            int n = ChunkOf(physical, size);
            ulong value = 0;
            Unsafe.CopyBlockUnaligned(&value, source, (uint)n);
            if (IsApicPage(physical))
            {
                Apic.WritePage((uint)(physical & PageMask), n, value);
                // An EOI or a lower task priority may have made an interrupt deliverable.
                Interlocked.Or(ref _context->Request, Requests.Interrupt);
            }
            else
            {
                Machine.Mmio.Write(physical, n, value);
            }
            source += n;
            physical += (ulong)n;
            size -= n;
        }
    }

    /// <summary>Logs an instruction that is not implemented, once for each form.</summary>
    public void ReportUndefined(CpuContext* c, Op* op)
    {
        ulong linear = c->BlockRip + op->RipOffset + (c->CodeBits == 64 ? 0 : c->Segments[SegmentIndex.Cs].Base);
        Span<byte> bytes = stackalloc byte[16];
        int length = Math.Clamp((int)op->Length, 1, 15);
        fixed (byte* p = bytes)
        {
            int vector = c->PendingVector;
            if (!SlowAccess.TryRead(c, linear, p, length, Access.Read))
                length = 0;
            c->PendingVector = vector;
        }
        if (length == 0 || _reported.Count >= 64 || !_reported.TryAdd(KeyOf(bytes[..Math.Min(length, 3)]), true))
            return;
        Log.UndefinedInstruction(_logger, Index, linear, Convert.ToHexString(bytes[..length]));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _wake.Dispose();
        _decoder.Dispose();
        _singles.Dispose();
        Blocks.Dispose();
        _tables.Dispose();
        _self.Free();
        NativeMemory.AlignedFree(_context);
    }

    private static ulong KeyOf(ReadOnlySpan<byte> bytes)
    {
        Span<byte> key = stackalloc byte[8];
        bytes.CopyTo(key);
        return BinaryPrimitives.ReadUInt64LittleEndian(key);
    }

    // Naturally aligned pieces of at most 8 bytes.
    private static int ChunkOf(ulong physical, int size)
    {
        int n = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
        return n <= 4096 - (int)(physical & PageMask) ? n : 1;
    }

    // SDM vol. 3, 11.4.4: the page exists while the APIC is enabled (bit 11) and not in x2APIC mode (bit 10).
    private bool IsApicPage(ulong physical)
    {
        ulong apicBase = Apic.ApicBase;
        return (apicBase & 0xC00) == 0x800 && ((physical ^ apicBase) & 0x000F_FFFF_FFFF_F000) == 0;
    }

    private HostMapping AllocateTables()
    {
        nuint dataBytes = (nuint)(Tlb.Entries * sizeof(TlbEntry));
        nuint codeBytes = (nuint)(Tlb.CodeEntries * sizeof(CodeTlbEntry));
        nuint jumpBytes = (nuint)(BlockCache.JumpEntries * sizeof(JumpEntry));
        var mapping = HostMapping.CreateAnonymous((4 * dataBytes) + (2 * codeBytes) + jumpBytes);
        byte* p = (byte*)mapping.Address;
        CpuContext* c = _context;
        c->UserTlb = (TlbEntry*)p;
        c->SupervisorTlb = (TlbEntry*)(p + dataBytes);
        c->SupervisorAcTlb = (TlbEntry*)(p + (2 * dataBytes));
        c->EmptyTlb = (TlbEntry*)(p + (3 * dataBytes));
        c->UserCodeTlb = (CodeTlbEntry*)(p + (4 * dataBytes));
        c->SupervisorCodeTlb = (CodeTlbEntry*)(p + (4 * dataBytes) + codeBytes);
        c->JumpCache = (JumpEntry*)(p + (4 * dataBytes) + (2 * codeBytes));
        for (int i = 0; i < 4 * Tlb.Entries; i++)
            Paging.Clear(&c->UserTlb[i]);
        for (int i = 0; i < 2 * Tlb.CodeEntries; i++)
            c->UserCodeTlb[i].Tag = Tlb.NoTag;
        c->LargestPage = 0x1000;
        return mapping;
    }

    private void Execute(CpuContext* c, Op* op)
    {
        c->BlockRip = c->Rip;
        EnterGuest();
        do
        {
            op = op->Handler(c, op);
        }
        while (op != null);
        LeaveGuest();
    }

    // With one vCPU there is nobody to wait for a safepoint.
    private void EnterGuest()
    {
        if (_engine.IsMultiprocessor)
            Interlocked.Exchange(ref _inGuest, 1);
    }

    private void LeaveGuest()
    {
        if (!_engine.IsMultiprocessor)
            return;
        Volatile.Write(ref _inGuest, 0);
        Volatile.Write(ref _epoch, _epoch + 1);
    }

    // Finds or decodes the block at RIP and enters it into the jump cache.
    private Op* FindBlock(CpuContext* c)
    {
        ulong rip = c->Rip;
        if (!TryFetchPage(c, rip, out ulong physical, out byte* host, out int available))
            return null;
        Op* ops = null;
        if (host != null)
        {
            Block* block = Blocks.Find(physical, c->CodeBits);
            if (block == null)
                block = _decoder.Decode(physical, host, available, c->CodeBits);
            if (block != null)
                ops = block->Ops;
        }
        if (ops == null)
        {
            c->LinkFrom = null;
            return FetchSingle(c, rip);
        }
        if (c->LinkFrom != null)
        {
            *c->LinkFrom = ops;
            c->LinkFrom = null;
        }
        JumpEntry* e = BlockCache.FindJump(c, rip);
        e->Rip = rip;
        e->Key = c->JumpKey;
        e->Ops = ops;
        return ops;
    }

    private bool TryFetchPage(CpuContext* c, ulong rip, out ulong physical, out byte* host, out int available)
    {
        physical = 0;
        host = null;
        available = 0;
        ulong linear = rip;
        ulong limit = uint.MaxValue;
        if (c->CodeBits == 64)
        {
            if (!SlowAccess.IsCanonical(rip))
            {
                Flow.SetPending(c, Vector.Gp, 0);
                return false;
            }
        }
        else
        {
            limit = c->Segments[SegmentIndex.Cs].Limit;
            if (rip > limit)
            {
                Flow.SetPending(c, Vector.Gp, 0);
                return false;
            }
            linear = (uint)(rip + c->Segments[SegmentIndex.Cs].Base);
        }
        int set = c->Cpl == 3 ? 0 : 1;
        CodeTlbEntry* tlb = Paging.CodeSet(c, set);
        CodeTlbEntry* e = Tlb.Find(tlb, linear);
        if (e->Tag != (linear & ~PageMask))
        {
            if (!Paging.TryTranslate(c, linear, Access.Fetch, out var translation))
                return false;
            e->Tag = linear & ~PageMask;
            e->Physical = translation.Page | (translation.Global ? Tlb.Global : 0);
            e->Host = Physical.Find(translation.Page);
            int index = (int)(e - tlb);
            c->FilledCode[(set * 8) + (index >> 6)] |= 1UL << (index & 63);
        }
        ulong offset = linear & PageMask;
        physical = (e->Physical & ~PageMask) | offset;
        host = e->Host == null ? null : e->Host + offset;
        available = (int)(4096 - offset);
        if (c->CodeBits != 64)
            available = (int)Math.Min((ulong)available, limit - rip + 1);
        return true;
    }

    // Executes one instruction and nothing else: interrupt shadow, TF, debug registers.
    private void StepOne(CpuContext* c)
    {
        if (!Debugging.BeforeInstruction(c))
            return;
        Op* op = FetchSingle(c, c->Rip);
        if (op == null)
            return;
        c->Shadow = 0;
        bool trap = Debugging.IsSingleStepping(c);
        Interlocked.Or(ref c->Request, Requests.Step);
        Execute(c, op);
        Interlocked.And(ref c->Request, ~Requests.Step);
        if (c->PendingVector < 0)
            Debugging.AfterStep(c, trap);
    }

    /// <summary>Fetches and decodes the single instruction at RIP; it may cross a page, or lie outside memory.</summary>
    private Op* FetchSingle(CpuContext* c, ulong rip)
    {
        if (!TryFetchPage(c, rip, out ulong physical, out byte* host, out int available))
            return null;
        byte* bytes = stackalloc byte[16];
        int have = 0;
        Gather(physical, host, Math.Min(available, 15), bytes, ref have);
        Op* ops = _singles.Find(_decoder, physical, ulong.MaxValue, bytes, have, c->CodeBits);
        if (ops != null)
            return ops;
        ulong next = Flow.MaskRip(c, rip + (ulong)have);
        // A fault here is one in the middle of the instruction: CR2 has the second page's address, RIP stays.
        if (!TryFetchPage(c, next, out ulong second, out host, out available))
            return null;
        Gather(second, host, Math.Min(available, 15 - have), bytes, ref have);
        return _singles.Find(_decoder, physical, second, bytes, have, c->CodeBits);
    }

    private void Gather(ulong physical, byte* host, int count, byte* bytes, ref int have)
    {
        if (host != null)
            Unsafe.CopyBlockUnaligned(bytes + have, host, (uint)count);
        else
            ReadBus(physical, bytes + have, count);
        have += count;
    }

    // Looks at the requests in the order of SDM vol. 3, table 6-2, and waits while the processor has nothing to do.
    private VirtualCpuExit? TakeRequests(CpuContext* c)
    {
        int request = Volatile.Read(ref c->Request);
        if ((request & Requests.Safepoint) != 0)
            Interlocked.And(ref c->Request, ~Requests.Safepoint);
        if ((request & Requests.CodeWritten) != 0)
        {
            Interlocked.And(ref c->Request, ~Requests.CodeWritten);
            while (_invalidations.TryDequeue(out ulong page))
                Blocks.InvalidatePage(page);
        }
        if ((request & Requests.Kick) != 0)
        {
            Interlocked.And(ref c->Request, ~Requests.Kick);
            return VirtualCpuExit.Kicked;
        }
        if ((request & Requests.Init) != 0)
        {
            Interlocked.And(ref c->Request, ~Requests.Init);
            Apic.Init();
            InitReset();
            return null;
        }
        if ((request & Requests.Startup) != 0)
        {
            Interlocked.And(ref c->Request, ~Requests.Startup);
            if (c->MpState == (int)MpState.WaitForSipi)
                StartAt((byte)Volatile.Read(ref _startupVector));
            return null;
        }
        if (c->MpState == (int)MpState.Shutdown)
            return VirtualCpuExit.Shutdown;
        bool executing = c->MpState is (int)MpState.Runnable or (int)MpState.Halted;
        if (executing && (request & Requests.Nmi) != 0 && c->NmiBlocked == 0 && c->Shadow == 0)
        {
            Interlocked.And(ref c->Request, ~Requests.Nmi);
            c->MpState = (int)MpState.Runnable;
            Events.DeliverNmi(c);
            return null;
        }
        if ((request & Requests.Interrupt) != 0)
            Interlocked.And(ref c->Request, ~Requests.Interrupt);
        if (executing && c->Shadow == 0 && (c->Rflags & Flags.If) != 0 && Apic.InterruptPending && Apic.TryAcknowledge(out byte vector))
        {
            c->MpState = (int)MpState.Runnable;
            Events.DeliverInterrupt(c, vector);
            return null;
        }
        if (c->MpState == (int)MpState.Runnable)
        {
            // A latched NMI that is blocked, or held off by a shadow, must not keep the block loop from running.
            StepIfHeldOff(c);
            return null;
        }
        Wait(c);
        return null;
    }

    private void StepIfHeldOff(CpuContext* c)
    {
        if (Volatile.Read(ref c->Request) == 0)
            return;
        if (c->Shadow != 0)
        {
            StepOne(c);
            return;
        }
        if ((Volatile.Read(ref c->Request) & ~Requests.Nmi) == 0 && c->NmiBlocked != 0)
            StepOne(c);
    }

    // HLT, wait-for-SIPI and the like. The order of flag and look makes sure that no wake-up is lost.
    private void Wait(CpuContext* c)
    {
        Interlocked.Exchange(ref _waiting, 1);
        int ignored = c->NmiBlocked != 0 || c->MpState != (int)MpState.Halted ? Requests.Nmi : 0;
        while ((Volatile.Read(ref c->Request) & ~ignored) == 0)
            _wake.Wait(null);
        Volatile.Write(ref _waiting, 0);
    }
}
