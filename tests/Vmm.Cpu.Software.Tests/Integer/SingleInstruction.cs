using System.Runtime.InteropServices;
using Iced.Intel;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>
/// One decoded instruction whose handler is called directly, so that a test sees exactly what it does, faults included, without the run loop.
/// </summary>
internal sealed unsafe class SingleInstruction : IDisposable
{
    private readonly BlockDecoder _decoder;
    private readonly Op* _ops = (Op*)NativeMemory.AllocZeroed((nuint)(4 * sizeof(Op)));
    private readonly TestMachine? _owned;
    private int _bits = 64;

    public SingleInstruction()
        : this(new TestMachine())
    {
        _owned = Machine;
    }

    public SingleInstruction(TestMachine machine)
    {
        Machine = machine;
        _decoder = new BlockDecoder(machine.Cpu);
    }

    public TestMachine Machine { get; }

    public CpuContext* Context => Machine.Context;

    /// <summary>The vector of the fault that the last execution raised, or -1.</summary>
    public int Fault { get; private set; }

    /// <summary>The arithmetic flags.</summary>
    public ulong Arithmetic
    {
        get => Flags.GetArithmetic(Context);
        set => Flags.SetArithmetic(Context, value);
    }

    /// <summary>Assembles the instruction.</summary>
    public SingleInstruction Assemble(Action<Assembler> write)
    {
        var assembler = new Assembler(_bits);
        write(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), TestMachine.CodeAddress);
        return Encode(stream.ToArray());
    }

    /// <summary>Takes the instruction's bytes as they are.</summary>
    public SingleInstruction Encode(params byte[] bytes)
    {
        fixed (byte* p = bytes)
            Assert.That(_decoder.DecodeSingle(_ops, p, bytes.Length, _bits), Is.GreaterThan(0));
        return this;
    }

    /// <summary>Leaves 64-bit mode for flat (or real-like, with a base) 16-bit or 32-bit segments.</summary>
    public void EnterLegacyMode(int bits, ulong segmentBase = 0, uint limit = uint.MaxValue)
    {
        _bits = bits;
        CpuContext* c = Context;
        c->Efer = 0;
        for (int i = 0; i < 6; i++)
        {
            ref SegmentCache s = ref c->Segments[i];
            s.Base = segmentBase;
            s.Limit = limit;
            s.Attributes = (ushort)((i == SegmentIndex.Cs ? 0x809B : 0x8093) | (bits == 32 ? 0x4000 : 0));
            s.Flat = i != SegmentIndex.Cs && segmentBase == 0 && limit == uint.MaxValue ? 1 : 0;
        }
        // The page tables of the test machine are for long mode; without paging linear addresses are physical ones.
        c->Cr0 &= ~Mode.Cr0Pg;
        Mmu.Paging.FlushAll(c);
        Mode.Update(c);
    }

    /// <summary>Executes once.</summary>
    /// <returns>Whether it was completed.</returns>
    public bool Execute()
    {
        CpuContext* c = Context;
        c->BlockRip = TestMachine.CodeAddress;
        c->PendingVector = -1;
        Op* next = _ops->Handler(c, _ops);
        Fault = c->PendingVector;
        c->PendingVector = -1;
        if (next == null && Fault >= 0)
            Assert.That(c->Rip, Is.EqualTo(TestMachine.CodeAddress), "a fault leaves RIP on the instruction");
        return next == _ops + 1;
    }

    public void Write(ulong address, ReadOnlySpan<byte> bytes) => Assert.That(Machine.Memory.TryWrite(address, bytes));

    public void Write(ulong address, ulong value, int size = 8) => Write(address, BitConverter.GetBytes(value).AsSpan(0, size));

    public ulong Read(ulong address, int size = 8)
    {
        byte[] bytes = new byte[8];
        Assert.That(Machine.Memory.TryRead(address, bytes.AsSpan(0, size)));
        return BitConverter.ToUInt64(bytes);
    }

    /// <summary>Takes the page at an address away from the page tables, or makes it read-only.</summary>
    public void Protect(ulong address, bool present)
    {
        // The 2 MiB entry of the test machine becomes a page table at 0x8000 that maps the same.
        ulong directory = 0x3000 + ((address >> 21) * 8);
        ulong region = address & ~0x1FFFFFUL;
        for (ulong i = 0; i < 512; i++)
            Write(0x8000 + (i * 8), region | (i << 12) | 0x67);
        Write(0x8000 + (((address >> 12) & 511) * 8), (address & ~0xFFFUL) | (present ? 0x65UL : 0));
        Write(directory, 0x8007);
        Mmu.Paging.FlushAll(Context);
    }

    public void Dispose()
    {
        _decoder.Dispose();
        NativeMemory.Free(_ops);
        _owned?.Dispose();
    }
}
