using Iced.Intel;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Buses;
using Vmm.Core.Cpu;
using Vmm.Core.Memory;
using Vmm.Core.Time;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests;

/// <summary>
/// A machine of memory and CPUs only, for running assembled code: 12 MiB of RAM, 16 MiB mapped one to one, 64-bit mode at CPL 0. A write to
/// <see cref="StopAddress"/> ends the run of all vCPUs.
/// </summary>
internal sealed unsafe class TestMachine : IDisposable
{
    /// <summary>An MMIO register.</summary>
    public const ulong StopAddress = 0xC00000;

    public const ulong CodeAddress = 0x100000;
    public const ulong DataAddress = 0x200000;
    public const ulong StackTop = 0x180000;
    private const ulong PageTables = 0x1000;

    public TestMachine(int cpus = 1, VmClock? clock = null, ILoggerFactory? logs = null)
    {
        Memory = new GuestMemory([(0, 12 << 20, GuestMemoryKind.Ram)]);
        Ports = Bus.CreatePortBus();
        Mmio = Bus.CreateMmioBus();
        var context = new CpuEngineContext(Memory, Ports, Mmio, clock ?? new ManualVmClock(), cpus, logs ?? NullLoggerFactory.Instance);
        Engine = new SoftwareCpuEngine(context);
        Cpus = [.. Enumerable.Range(0, cpus).Select(i => (SoftwareCpu)Engine.CreateVirtualCpu(i, new NoApic()))];
        Mmio.Map("stop", StopAddress, 1, new StopDevice(this));
        void Table(ulong address, ulong value) => Memory.TryLoad(address, BitConverter.GetBytes(value));
        Table(PageTables, (PageTables + 0x1000) | 7);
        Table(PageTables + 0x1000, (PageTables + 0x2000) | 7);
        for (ulong i = 0; i < 8; i++)
            Table(PageTables + 0x2000 + (i * 8), (i << 21) | 0xE7);
        foreach (var cpu in Cpus)
            EnterLongMode(cpu.Context);
    }

    public GuestMemory Memory { get; }

    public Bus Ports { get; }

    public Bus Mmio { get; }

    public SoftwareCpuEngine Engine { get; }

    public SoftwareCpu[] Cpus { get; }

    public SoftwareCpu Cpu => Cpus[0];

    public CpuContext* Context => Cpu.Context;

    /// <summary>Assembles code to <see cref="CodeAddress"/> and points RIP there. Gives its length.</summary>
    public int Load(Action<Assembler> write, ulong address = CodeAddress, int bits = 64)
    {
        var assembler = new Assembler(bits);
        write(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), address);
        Assert.That(Memory.TryLoad(address, stream.ToArray()));
        Context->Rip = address;
        return (int)stream.Length;
    }

    /// <summary>Ends a piece of code: stops the run.</summary>
    public static void Stop(Assembler a) => a.mov(AssemblerRegisters.__byte_ptr[StopAddress], AssemblerRegisters.al);

    public void Dispose()
    {
        Engine.Dispose();
        Memory.Dispose();
    }

    private static void EnterLongMode(CpuContext* c)
    {
        c->Cr0 = Mode.Cr0Pe | Mode.Cr0Et | Mode.Cr0Ne | Mode.Cr0Wp | Mode.Cr0Pg;
        c->Cr4 = Mode.Cr4Pae | Mode.Cr4Pge | Mode.Cr4Osfxsr | Mode.Cr4Osxmmexcpt | Mode.Cr4Osxsave;
        c->Efer = Mode.EferLme | Mode.EferLma | Mode.EferNxe | Mode.EferSce;
        c->Cr3 = PageTables;
        c->Xcr0 = 7;
        c->Cpl = 0;
        c->Rflags = 2;
        c->MpState = (int)MpState.Runnable;
        c->Gpr[4] = StackTop;
        for (int i = 0; i < 6; i++)
        {
            c->Segments[i] = new SegmentCache
            {
                Limit = uint.MaxValue,
                Selector = (ushort)(i == SegmentIndex.Cs ? 8 : 16),
                Attributes = (ushort)(i == SegmentIndex.Cs ? 0xA09B : 0xC093),
                Flat = i == SegmentIndex.Cs ? 0 : 1,
            };
        }
        Mmu.Paging.FlushAll(c);
        Mode.Update(c);
    }

    private sealed class StopDevice(TestMachine machine) : IBusDevice
    {
        public ulong Read(ulong offset, int size) => 0;

        public void Write(ulong offset, int size, ulong value)
        {
            foreach (var cpu in machine.Cpus)
                cpu.Kick();
        }
    }

    /// <summary>A local APIC that never interrupts.</summary>
    private sealed class NoApic : ILocalInterruptController
    {
        public bool InterruptPending => false;

        public ulong ApicBase => 0;

        public byte Cr8 { get; set; }

        public bool TryAcknowledge(out byte vector)
        {
            vector = 0;
            return false;
        }

        public bool TryReadMsr(uint msr, out ulong value)
        {
            value = 0;
            return false;
        }

        public bool TryWriteMsr(uint msr, ulong value) => false;

        public ulong ReadPage(uint offset, int size) => 0;

        public void WritePage(uint offset, int size, ulong value)
        {
        }

        public void Init()
        {
        }
    }
}
