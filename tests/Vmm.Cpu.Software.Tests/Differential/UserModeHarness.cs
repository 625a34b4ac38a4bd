using System.Runtime.InteropServices;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>
/// The same code and data at the same addresses twice: natively in the sandbox, and in a software CPU in 64-bit or compatibility mode at CPL 3. The data window is three
/// writable pages and a read-only one, with nothing mapped around it.
/// </summary>
internal sealed unsafe class UserModeHarness : IDisposable
{
    public const ulong CodeAddress = 0x1000_0000;
    public const int CodeSize = 1 << 20;
    public const ulong DataAddress = 0x2000_0000;
    public const int DataSize = 4 * 4096;
    private const int WritableSize = 3 * 4096;
    private const ulong PageTables = 0x10000;
    private const ulong CodePhysical = 0x400000;
    private const ulong DataPhysical = 0x600000;

    private readonly TestMachine _machine = new();
    private readonly SandboxMemory _code = new((nint)CodeAddress, CodeSize, executable: true);
    private readonly SandboxMemory _data = new((nint)DataAddress, DataSize, executable: false);
    private readonly byte* _guestCode;
    private readonly byte* _guestData;

    public UserModeHarness(int bits = 64)
    {
        _machine.Memory.TryGetPointer(CodePhysical, CodeSize, forWrite: true, out _guestCode);
        _machine.Memory.TryGetPointer(DataPhysical, DataSize, forWrite: true, out _guestData);
        void Entry(ulong address, ulong value) => _machine.Memory.TryLoad(address, BitConverter.GetBytes(value));
        Entry(PageTables, (PageTables + 0x1000) | 0x67);
        Entry(PageTables + 0x1000, (PageTables + 0x2000) | 0x67);
        Entry(PageTables + 0x2000 + ((CodeAddress >> 21) * 8), (PageTables + 0x3000) | 0x67);
        Entry(PageTables + 0x2000 + ((DataAddress >> 21) * 8), (PageTables + 0x4000) | 0x67);
        for (ulong i = 0; i < CodeSize / 4096; i++)
            Entry(PageTables + 0x3000 + (i * 8), (CodePhysical + (i << 12)) | 0x65);
        for (ulong i = 0; i < DataSize / 4096; i++)
            Entry(PageTables + 0x4000 + (i * 8), (DataPhysical + (i << 12)) | (i < WritableSize / 4096 ? 0x67u : 0x65u) | (1UL << 63));
        // A page that the kernel has not mapped yet would fault as not present instead of as read-only.
        for (int i = 0; i < DataSize; i += 4096)
            _ = Volatile.Read(ref *(byte*)(DataAddress + (ulong)i));
        _data.Protect(WritableSize, DataSize - WritableSize);
        EnterUserMode(bits);
    }

    public TestMachine Machine => _machine;

    public CpuContext* Context => _machine.Context;

    public Span<byte> NativeData => _data.Bytes;

    public Span<byte> GuestData => new(_guestData, DataSize);

    /// <summary>Puts code at an offset of the code area, in both.</summary>
    public void LoadCode(int offset, ReadOnlySpan<byte> code)
    {
        code.CopyTo(_code.Bytes[offset..]);
        code.CopyTo(new Span<byte>(_guestCode + offset, code.Length));
    }

    /// <summary>Drops all decoded code: before offsets are used again.</summary>
    public void ForgetCode() => _machine.Cpu.Blocks.Clear();

    /// <summary>Gives both the same data.</summary>
    public void LoadData(ReadOnlySpan<byte> data)
    {
        data.CopyTo(NativeData);
        data.CopyTo(GuestData);
    }

    /// <summary>Runs natively.</summary>
    public static void RunNative(SandboxState* state) => ProcessorSandbox.Run(state);

    /// <summary>Runs in the software CPU.</summary>
    public void RunSoftware(SandboxState* state)
    {
        CpuContext* c = Context;
        for (int i = 0; i < 16; i++)
            c->Gpr[i] = state->Gpr[i];
        c->Rip = state->Rip;
        Flags.SetRflags(c, state->Rflags | 0x202);
        Assert.That(VectorState.TryRestore(c, new ReadOnlySpan<byte>(state->Xsave, VectorState.XsaveSize)));
        c->PendingVector = -1;
        c->Cr2 = 0;
        Interlocked.And(ref c->Request, 0);
        _machine.Cpu.RunToEvent();
        for (int i = 0; i < 16; i++)
            state->Gpr[i] = c->Gpr[i];
        state->Rip = c->Rip;
        state->Rflags = Flags.GetRflags(c);
        state->Vector = (ulong)c->PendingVector;
        state->ErrorCode = c->PendingErrorCode;
        state->Cr2 = c->Cr2;
        VectorState.Capture(c, new Span<byte>(state->Xsave, VectorState.XsaveSize));
    }

    public void Dispose()
    {
        _code.Dispose();
        _data.Dispose();
        _machine.Dispose();
    }

    /// <summary>A state in aligned native memory.</summary>
    public static SandboxState* AllocateState() => (SandboxState*)NativeMemory.AlignedAlloc((nuint)sizeof(SandboxState), 64);

    private void EnterUserMode(int bits)
    {
        CpuContext* c = Context;
        c->Cr3 = PageTables;
        c->Cpl = 3;
        for (int i = 0; i < 6; i++)
            c->Segments[i].Attributes |= 0x60;
        if (bits == 32)
            c->Segments[SegmentIndex.Cs].Attributes = 0xC0FB;
        Paging.FlushAll(c);
        Mode.Update(c);
    }
}
