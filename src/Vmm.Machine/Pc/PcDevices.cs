using Microsoft.Extensions.Logging;
using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;
using Vmm.Core.Memory;
using Vmm.Core.Time;
using Vmm.Devices.Acpi;
using Vmm.Devices.Chipset;
using Vmm.Devices.Debug;
using Vmm.Devices.Firmware;
using Vmm.Devices.Input;
using Vmm.Devices.Interrupts;
using Vmm.Devices.Pci;
using Vmm.Devices.Serial;
using Vmm.Devices.Timers;
using Vmm.Devices.Virtio;
using Vmm.Devices.Virtio.Block;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Pc;

/// <summary>The devices of the board <c>pc</c>, wired and on their buses.</summary>
internal sealed class PcDevices : IAsyncDisposable
{
    // More queues than this only cost memory: what is behind them is one disk.
    private const int MaximumDiskQueues = 4;

    private readonly List<IResettable> _resettable = [];
    private readonly List<IDisposable> _disposable = [];
    private readonly VirtualMachineOptions _options;
    private readonly GuestMemory _memory;
    private readonly Bus _ports;
    private readonly Bus _mmio;
    private readonly VmClock _clock;
    private readonly IMachineControl _control;

    /// <summary>Makes the devices and maps them.</summary>
    public PcDevices(
        VirtualMachineOptions options,
        GuestMemory memory,
        Bus ports,
        Bus mmio,
        VmClock clock,
        IMachineControl control,
        E820Entry[] map,
        ILoggerFactory loggerFactory)
    {
        (_options, _memory, _ports, _mmio, _clock, _control) = (options, memory, ports, mmio, clock, control);
        Interrupts.Map(ports, mmio);
        AddTimers();
        Pm = Add(new AcpiPm(clock, Interrupts.Router.CreateLine(AcpiPm.SciInterrupt), control));
        Pm.Map(ports);
        Pci = Add(CreatePciBus());
        AddChipset();
        AddVirtioDevices(loggerFactory);
        AddSerialPorts();
        FirmwareConfig = AddFirmwareConfig(map);
        AddDebugDevices(loggerFactory);
        // Controllers last, so that a reset finds the lines of devices low.
        _resettable.Add(Interrupts.Pic);
        _resettable.Add(Interrupts.IoApic);
    }

    /// <summary>PICs, I/O APIC, and what connects the local APICs.</summary>
    public PcInterruptControllers Interrupts { get; } = new();

    /// <summary>ACPI fixed hardware: the power button.</summary>
    public AcpiPm Pm { get; }

    /// <summary>PCI bus 0.</summary>
    public PciBus Pci { get; }

    /// <summary>RTC and CMOS.</summary>
    public Mc146818Rtc Rtc { get; private set; } = null!;

    /// <summary>fw_cfg.</summary>
    public FwCfg FirmwareConfig { get; }

    /// <summary>Puts all devices into their power-on state. While no vCPU runs.</summary>
    public void Reset()
    {
        foreach (var device in _resettable)
            device.Reset();
    }

    /// <summary>Does the firmware's work on devices in their power-on state: memory sizes in CMOS, edge or level, PCI resources.</summary>
    public void Configure()
    {
        Cmos.Write(Rtc, _options.Memory, _options.Cpus);
        _ports.Write(AddressMap.PicElcr + 1, 1, AddressMap.PciEdgeLevel);
        Pci.AssignResources(
            new PciResourceWindows(
                AddressMap.Pci32Window,
                AddressMap.Pci32WindowSize,
                AddressMap.PciPorts,
                0x1_0000 - AddressMap.PciPorts,
                AddressMap.Pci64Window(_options.Memory),
                AddressMap.Pci64WindowSize),
            static wire => (byte)AddressMap.PciWireIsaIrq(wire));
    }

    /// <summary>Lets requests in flight end, and starts none. While no vCPU runs.</summary>
    public void Pause() => Pci.Pause();

    /// <summary>Lets devices work again.</summary>
    public void Resume() => Pci.Resume();

    /// <summary>Stops the devices. The backends that they were given belong to the machine's owner.</summary>
    public ValueTask DisposeAsync()
    {
        for (int i = _disposable.Count - 1; i >= 0; i--)
            _disposable[i].Dispose();
        return ValueTask.CompletedTask;
    }

    private void AddTimers()
    {
        var pitLine = new GatedInterruptLine(Interrupts.Router.CreateIsaLine(AddressMap.PitIrq));
        var rtcLine = new GatedInterruptLine(Interrupts.Router.CreateIsaLine(AddressMap.RtcIrq));
        Add(new Pit8254(_clock, pitLine)).Map(_ports);
        Rtc = Add(new Mc146818Rtc(_clock, _options.TimeProvider, rtcLine));
        Rtc.Map(_ports);
        Add(new Hpet(_clock, Interrupts.Router, Interrupts.Apics, pitLine, rtcLine)).Map(_mmio, AddressMap.Hpet);
    }

    private void AddChipset()
    {
        Add(new ResetControlPort(_control, Pci.ConfigPorts)).Map(_ports, PciBus.ConfigPortCount);
        Add(new SystemControlPortA(_control)).Map(_ports);
        Add(new DmaControllers()).Map(_ports);
        Add(new PostCodePort()).Map(_ports);
        var router = Interrupts.Router;
        Add(new I8042(router.CreateIsaLine(AddressMap.KeyboardIrq), router.CreateIsaLine(AddressMap.MouseIrq), _control)).Map(_ports);
    }

    // Each INTx wire drives its own I/O APIC pin, and one of two ISA interrupts for systems that use the 8259s.
    private PciBus CreatePciBus()
    {
        var lines = new IInterruptLine[AddressMap.PciGsiCount];
        for (int wire = 0; wire < lines.Length; wire++)
        {
            lines[wire] = Interrupts.Router.CreateLine(AddressMap.PciGsiBase + wire);
            Interrupts.Router.RoutePci(AddressMap.PciGsiBase + wire, AddressMap.PciWireIsaIrq(wire));
        }
        var bus = new PciBus(_ports, _mmio, Interrupts.Apics, lines);
        bus.MapEcam(AddressMap.Ecam);
        return bus;
    }

    private void AddVirtioDevices(ILoggerFactory loggerFactory)
    {
        Pci.Add(AddressMap.PciRandomSlot, new VirtioPciDevice(Pci.MsiSink, new VirtioRng(_memory, loggerFactory.CreateLogger<VirtioRng>())));
        var logger = loggerFactory.CreateLogger<VirtioBlock>();
        int queues = Math.Min(_options.Cpus, MaximumDiskQueues);
        foreach (var disk in _options.Disks)
        {
            var options = new VirtioBlockOptions { Id = disk.Id, Queues = queues };
            Pci.Add(new VirtioPciDevice(Pci.MsiSink, new VirtioBlock(_memory, disk.Backend, options, logger)));
        }
    }

    private void AddSerialPorts()
    {
        AddSerialPort(0, _options.Serial!);
        for (int i = 0; i < _options.ExtraSerials.Count; i++)
            AddSerialPort(i + 1, _options.ExtraSerials[i]);
    }

    private void AddSerialPort(int index, ICharacterBackend backend) =>
        Add(new SerialPort(backend, Interrupts.Router.CreateIsaLine(AddressMap.SerialIrqs[index]), _clock)).Map(_ports, AddressMap.SerialPorts[index]);

    // Items as QEMU's PC gives them: guests and firmware ask for these.
    private FwCfg AddFirmwareConfig(E820Entry[] map)
    {
        var device = Add(new FwCfg(_memory));
        device.AddUInt64(FwCfg.RamSizeKey, _options.Memory);
        device.AddUInt16(FwCfg.NoGraphicKey, 1);
        device.AddUInt16(FwCfg.CpuCountKey, (ushort)_options.Cpus);
        device.AddUInt16(FwCfg.MaxCpusKey, (ushort)_options.Cpus);
        var e820 = new ByteWriter();
        foreach (var range in map)
            e820.U64(range.Address).U64(range.Size).U32((uint)range.Type);
        device.AddFile("etc/e820", e820.ToArray());
        device.Map(_ports);
        return device;
    }

    private void AddDebugDevices(ILoggerFactory loggerFactory)
    {
        new PvPanic(_control, loggerFactory.CreateLogger<PvPanic>()).Map(_ports);
        new DebugConsole(_options.DebugConsole ?? new NullCharacterBackend()).Map(_ports);
        if (!_options.DebugExit)
            return;
        new DebugExit(_control).Map(_ports);
        var lines = new IInterruptLine[PcTestDevice.InterruptCount];
        for (int gsi = 0; gsi < lines.Length; gsi++)
            lines[gsi] = Interrupts.Router.CreateLine(gsi);
        new PcTestDevice(lines).Map(_ports, _mmio);
    }

    private T Add<T>(T device)
    {
        if (device is IResettable resettable)
            _resettable.Add(resettable);
        if (device is IDisposable disposable)
            _disposable.Add(disposable);
        return device;
    }
}
