using System.Diagnostics;
using Iced.Intel;
using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>
/// A machine with descriptor tables, a TSS and an interrupt table whose every handler halts, so that a test can look at what an event left behind.
/// Paging is off in the legacy modes.
/// </summary>
internal sealed unsafe class PrivilegedMachine : IDisposable
{
    public const uint Gdt = 0x10000;
    public const uint Idt = 0x12000;
    public const uint Tss = 0x14000;
    public const uint Ldt = 0x15000;
    public const uint Tss2 = 0x16000;
    public const uint Handlers = 0x20000;
    public const uint Code = 0x100000;
    public const uint Stack = 0x180000;
    public const uint Stack0 = 0x160000;
    public const uint Ist1 = 0x168000;
    public const uint Data = 0x200000;

    public const ushort Code32 = 0x08;
    public const ushort Data32 = 0x10;
    public const ushort UserCode32 = 0x18 | 3;
    public const ushort UserData32 = 0x20 | 3;
    public const ushort Code64 = 0x28;
    public const ushort UserCode64 = 0x30 | 3;
    public const ushort Code16 = 0x38;
    public const ushort Data16 = 0x40;
    public const ushort TssSelector = 0x50;
    public const ushort LdtSelector = 0x60;
    public const ushort Conforming = 0x70;
    public const ushort NotPresent = 0x78;
    public const ushort ReadOnly = 0x80;
    public const ushort ExecuteOnly = 0x88;
    public const ushort Gate = 0x90;
    public const ushort Tss2Selector = 0xA0;
    public const ushort TaskGate = 0xA8;
    public const ushort NotPresentCode = 0xB0;
    public const ushort LastSelector = 0xB8;

    private readonly TestMachine _machine = new();

    private PrivilegedMachine()
    {
    }

    public CpuContext* C => _machine.Context;

    public SoftwareCpu Cpu => _machine.Cpu;

    public TestMachine Machine => _machine;

    /// <summary>The vector whose handler halted, or -1.</summary>
    public int HaltedVector
    {
        get
        {
            ulong linear = C->Rip - 1 + (C->CodeBits == 64 ? 0 : C->Segments[SegmentIndex.Cs].Base);
            return linear - Handlers < 256 * 16 ? (int)(linear - Handlers) / 16 : -1;
        }
    }

    /// <summary>The linear address of the stack's top.</summary>
    public ulong StackTop => (C->Gpr[4] & C->StackMask) + (C->CodeBits == 64 ? 0 : C->Segments[SegmentIndex.Ss].Base);

    /// <summary>Real mode, CS and SS at 0; interrupt table at 0 with a handler each.</summary>
    public static PrivilegedMachine Real()
    {
        var m = new PrivilegedMachine();
        m.Cpu.Reset();
        for (uint v = 0; v < 256; v++)
        {
            m.Write32(v * 4, (Handlers >> 4 << 16) | (v * 16));
            m.Write8(Handlers + (v * 16), 0xF4);
        }
        foreach (int i in new[] { SegmentIndex.Cs, SegmentIndex.Ss })
            Segments.SetReal(m.C, i, 0);
        m.C->Gpr[4] = 0x8000;
        Mode.Update(m.C);
        return m;
    }

    /// <summary>Protected mode at CPL 0 or 3, 32-bit flat segments.</summary>
    public static PrivilegedMachine Protected(int cpl = 0)
    {
        var m = new PrivilegedMachine();
        m.Cpu.Reset();
        m.WriteTables(lng: false);
        CpuContext* c = m.C;
        c->Cr0 = Mode.Cr0Pe | Mode.Cr0Et | Mode.Cr0Ne;
        m.SetSegments(cpl, cpl == 0 ? Code32 : UserCode32, cpl == 0 ? Data32 : UserData32);
        return m;
    }

    /// <summary>64-bit mode at CPL 0 or 3, 16 MiB mapped one to one for everybody.</summary>
    public static PrivilegedMachine Long(int cpl = 0)
    {
        var m = new PrivilegedMachine();
        m.WriteTables(lng: true);
        m.SetSegments(cpl, cpl == 0 ? Code64 : UserCode64, cpl == 0 ? Data32 : UserData32);
        return m;
    }

    public ulong Read(ulong address, int size)
    {
        Span<byte> bytes = stackalloc byte[8];
        Assert.That(_machine.Memory.TryRead(address, bytes[..size]));
        return BitConverter.ToUInt64(bytes);
    }

    public void Write8(ulong address, byte value) => Assert.That(_machine.Memory.TryLoad(address, [value]));

    public void Write16(ulong address, ushort value) => Assert.That(_machine.Memory.TryLoad(address, BitConverter.GetBytes(value)));

    public void Write32(ulong address, uint value) => Assert.That(_machine.Memory.TryLoad(address, BitConverter.GetBytes(value)));

    public void Write64(ulong address, ulong value) => Assert.That(_machine.Memory.TryLoad(address, BitConverter.GetBytes(value)));

    /// <summary>A value on the stack, counted from its top.</summary>
    public ulong Top(int index, int size) => Read(StackTop + (ulong)(index * size), size);

    /// <summary>Assembles at an address and starts there.</summary>
    public void Load(Action<Assembler> write, uint address = Code)
    {
        _machine.Load(write, address, C->CodeBits);
        C->Rip = address - (C->CodeBits == 64 ? 0 : C->Segments[SegmentIndex.Cs].Base);
    }

    /// <summary>Places bytes at an address and starts there.</summary>
    public void LoadBytes(params byte[] code)
    {
        ulong address = C->Rip = Code;
        if (C->CodeBits == 16 || (C->Cr0 & 1) == 0)
        {
            C->Rip = 0x1000;
            address = C->Rip + C->Segments[SegmentIndex.Cs].Base;
        }
        Assert.That(_machine.Memory.TryLoad(address, code));
    }

    /// <summary>Runs until the processor halts or shuts down.</summary>
    public VirtualCpuExit Run()
    {
        CpuContext* c = C;
        var cpu = Cpu;
        if (c->MpState == (int)MpState.Halted)
            c->MpState = (int)MpState.Runnable;
        var run = Task.Factory.StartNew(cpu.Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        var watch = Stopwatch.StartNew();
        while (!run.IsCompleted && Volatile.Read(ref C->MpState) == (int)MpState.Runnable && watch.Elapsed < TimeSpan.FromSeconds(20))
            Thread.Yield();
        if (Volatile.Read(ref C->MpState) != (int)MpState.Shutdown)
            cpu.Kick();
        Assert.That(run.Wait(TimeSpan.FromSeconds(20)), "The processor did not stop.");
        var exit = run.Result;
        // A kick that came behind the shutdown must not end the next run.
        Interlocked.And(ref C->Request, ~Requests.Kick);
        Assert.That(C->MpState, Is.Not.EqualTo((int)MpState.Runnable), "The code did not halt.");
        return exit;
    }

    public void SetDescriptor(ushort selector, ulong value) => Write64(Gdt + (selector & 0xFFF8u), value);

    public ulong GetDescriptor(ushort selector) => Read(Gdt + (selector & 0xFFF8u), 8);

    /// <summary>A code, data or system descriptor.</summary>
    public static ulong Make(uint address, uint limit, uint access, uint flags = 0)
        => (limit & 0xFFFF) | ((ulong)(address & 0xFFFFFF) << 16) | ((ulong)access << 40) | ((ulong)(limit >> 16) << 48)
            | ((ulong)flags << 52) | ((ulong)(address >> 24) << 56);

    /// <summary>A gate.</summary>
    public static ulong MakeGate(ushort selector, uint offset, uint access, uint parameters = 0)
        => (offset & 0xFFFF) | ((ulong)selector << 16) | ((ulong)parameters << 32) | ((ulong)access << 40) | ((ulong)(offset >> 16) << 48);

    /// <summary>Sets an interrupt gate of the IDT by its access byte.</summary>
    public void SetGate(int vector, ushort selector, uint offset, uint access, uint ist = 0)
    {
        bool lng = (C->Efer & Mode.EferLma) != 0;
        Write64(Idt + (uint)(vector * (lng ? 16 : 8)), MakeGate(selector, offset, access, ist));
        if (lng)
            Write64(Idt + (uint)(vector * 16) + 8, 0);
    }

    public void Dispose() => _machine.Dispose();

    private void WriteTables(bool lng)
    {
        SetDescriptor(0, 0);
        SetDescriptor(Code32, Make(0, 0xFFFFF, 0x9A, 0xC));
        SetDescriptor(Data32, Make(0, 0xFFFFF, 0x92, 0xC));
        SetDescriptor(UserCode32, Make(0, 0xFFFFF, 0xFA, 0xC));
        SetDescriptor(UserData32, Make(0, 0xFFFFF, 0xF2, 0xC));
        SetDescriptor(Code64, Make(0, 0xFFFFF, 0x9A, 0xA));
        SetDescriptor(UserCode64, Make(0, 0xFFFFF, 0xFA, 0xA));
        SetDescriptor(Code16, Make(0, 0xFFFF, 0x9A));
        SetDescriptor(Data16, Make(0, 0xFFFF, 0x92));
        SetDescriptor(TssSelector, Make(Tss, 0x67, 0x89));
        SetDescriptor(TssSelector + 8, 0);
        SetDescriptor(LdtSelector, Make(Ldt, 0xFF, 0x82));
        SetDescriptor(LdtSelector + 8, 0);
        SetDescriptor(Conforming, Make(0, 0xFFFFF, 0x9E, lng ? 0xAu : 0xC));
        SetDescriptor(NotPresent, Make(0, 0xFFFFF, 0x12, 0xC));
        SetDescriptor(ReadOnly, Make(0, 0xFFFFF, 0x90, 0xC));
        SetDescriptor(ExecuteOnly, Make(0, 0xFFFFF, 0x98, 0xC));
        SetDescriptor(Tss2Selector, Make(Tss2, 0x67, 0x89));
        SetDescriptor(TaskGate, MakeGate(Tss2Selector, 0, 0x85));
        SetDescriptor(NotPresentCode, Make(0, 0xFFFFF, 0x1A, 0xC));
        CpuContext* c = C;
        c->GdtrBase = Gdt;
        c->GdtrLimit = LastSelector - 1;
        c->IdtrBase = Idt;
        c->IdtrLimit = lng ? 0xFFFu : 0x7FF;
        Segments.Set(c, SegmentIndex.Tr, new SegmentCache { Base = Tss, Limit = 0x67, Selector = TssSelector, Attributes = 0x8B });
        Segments.SetNull(c, SegmentIndex.Ldtr, 0);
        for (int v = 0; v < 256; v++)
        {
            SetGate(v, lng ? Code64 : Code32, Handlers + (uint)(v * 16), 0x8E);
            Write8(Handlers + (uint)(v * 16), 0xF4);
        }
        if (lng)
        {
            Write64(Tss + 4, Stack0);
            Write64(Tss + 36, Ist1);
        }
        else
        {
            Write32(Tss + 4, Stack0);
            Write32(Tss + 8, Data32);
        }
    }

    private void SetSegments(int cpl, ushort code, ushort data)
    {
        CpuContext* c = C;
        for (int i = 0; i < 6; i++)
        {
            ushort selector = i == SegmentIndex.Cs ? code : data;
            var cache = new Descriptor(GetDescriptor(selector) | (1UL << 40)).ToCache(selector);
            Segments.Set(c, i, cache);
        }
        c->Cpl = cpl;
        c->Gpr[4] = Stack;
        Paging.FlushAll(c);
        Mode.Update(c);
    }
}
