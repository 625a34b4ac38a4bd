using Microsoft.Extensions.Logging;
using Vmm.Core.Buses;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Core.Memory;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;
using Vmm.Interop;
using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Acpi;
using Vmm.Machine.Loading;

namespace Vmm.Machine.Pc;

/// <summary>
/// The board <c>pc</c>: memory, buses, devices and processors, wired as on a PC, and the firmware's work of preparing them for a kernel.
/// It has no threads of its own; whoever owns it sees to it that no vCPU runs during <see cref="PowerOn"/> and disposal.
/// </summary>
internal sealed partial class PcBoard : IAsyncDisposable
{
    private readonly VirtualMachineOptions _options;
    private readonly ILogger<PcBoard> _logger;
    private readonly SystemVmClock _clock;
    private readonly BootFiles _files;
    private readonly AcpiTables _acpi;
    private readonly FirmwareOptions _firmware;
    private readonly PcDevices _devices;
    private readonly ICpuEngine _engine;
    private readonly LocalApic[] _apics;
    private readonly IVirtualCpu[] _cpus;
    private bool _poweredOn;

    /// <summary>Builds a board. Nothing is loaded yet.</summary>
    /// <exception cref="VmmException">A file cannot be opened, or the host refuses memory or the engine.</exception>
    public PcBoard(VirtualMachineOptions options, ICpuEngineFactory engineFactory, IMachineControl control, ILoggerFactory loggerFactory)
    {
        (_options, _logger) = (options, loggerFactory.CreateLogger<PcBoard>());
        using var undo = new UndoStack();
        _files = undo.Push(BootFiles.Open(options));
        Memory = undo.Push(AllocateMemory(options.Memory));
        _clock = undo.Push(new SystemVmClock(options.Name));
        _firmware = new FirmwareOptions(options.Memory, options.Cpus, options.Name, SerialPorts: 1 + options.ExtraSerials.Count);
        _acpi = AcpiTables.CreateBelow(_firmware, AddressMap.LowMemorySize(options.Memory));
        Map = E820Map.Create(options.Memory, _acpi);
        _devices = undo.Push(new PcDevices(options, Memory, Ports, Mmio, _clock, control, Map, loggerFactory));
        _engine = undo.Push(CreateEngine(engineFactory, loggerFactory));
        _apics = new LocalApic[options.Cpus];
        _cpus = new IVirtualCpu[options.Cpus];
        for (int i = 0; i < options.Cpus; i++)
        {
            _apics[i] = undo.Push(new LocalApic(_devices.Interrupts.Apics, (uint)i, i == 0, _clock, _engine.TscFrequency));
            _cpus[i] = undo.Push(_engine.CreateVirtualCpu(i, _apics[i]));
            _apics[i].Attach(_cpus[i]);
        }
        undo.Commit();
    }

    /// <summary>Guest memory.</summary>
    public GuestMemory Memory { get; }

    /// <summary>The port bus.</summary>
    public Bus Ports { get; } = Bus.CreatePortBus();

    /// <summary>The MMIO bus.</summary>
    public Bus Mmio { get; } = Bus.CreateMmioBus();

    /// <summary>The memory map that kernels are given.</summary>
    public E820Entry[] Map { get; }

    /// <summary>VM time.</summary>
    public SystemVmClock Clock => _clock;

    /// <summary>The devices.</summary>
    public PcDevices Devices => _devices;

    /// <summary>The processors; the first is the bootstrap processor.</summary>
    public IReadOnlyList<IVirtualCpu> Cpus => _cpus;

    /// <summary>Name of the engine that executes the guest.</summary>
    public string EngineName => _engine.Name;

    /// <summary>
    /// Puts everything into its power-on state and does the firmware's work: tables, data areas, kernel, processors. While no vCPU runs.
    /// </summary>
    /// <exception cref="VmmException">The kernel cannot be loaded.</exception>
    public void PowerOn()
    {
        // New devices are in their power-on state, and a reset would drop what was typed on the console in the meantime.
        if (_poweredOn)
            _devices.Reset();
        _poweredOn = true;
        _devices.Configure();
        Memory.Clear();
        var kernel = BootLoader.Load(_files, new BootSpace(Memory, Map));
        FirmwareArea.Write(Memory, _acpi, _firmware);
        for (int i = 0; i < _cpus.Length; i++)
        {
            _apics[i].Reset();
            _cpus[i].Reset();
        }
        // What firmware leaves behind on the bootstrap processor, and the state that the kernel's boot protocol asks for.
        _apics[0].ConfigureVirtualWire();
        var state = new CpuState();
        _cpus[0].Capture(state);
        kernel.Entry.Apply(state);
        _cpus[0].Restore(state);
        LogLoaded(_options.Name, _files.Kernel.Path, kernel.Description, kernel.Entry.Rip);
    }

    /// <summary>Frees everything. No vCPU or device may be running.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (var cpu in _cpus)
            cpu.Dispose();
        foreach (var apic in _apics)
            apic.Dispose();
        // Devices first, so that nothing is in flight to memory when it is unmapped.
        await _devices.DisposeAsync().ConfigureAwait(false);
        _engine.Dispose();
        _clock.Dispose();
        Memory.Dispose();
        _files.Dispose();
    }

    // RAM with the legacy hole from 640 KiB and the hole below 4 GiB; the BIOS area is read-only, as flash is.
    private static GuestMemory AllocateMemory(ulong memory)
    {
        var ranges = new List<(ulong, ulong, GuestMemoryKind)>
        {
            (0, AddressMap.ConventionalMemoryEnd, GuestMemoryKind.Ram),
            (AddressMap.BiosArea, AddressMap.ExtendedMemory - AddressMap.BiosArea, GuestMemoryKind.Rom),
            (AddressMap.ExtendedMemory, AddressMap.LowMemorySize(memory) - AddressMap.ExtendedMemory, GuestMemoryKind.Ram),
        };
        if (AddressMap.HighMemorySize(memory) is var high and > 0)
            ranges.Add((AddressMap.HighMemory, high, GuestMemoryKind.Ram));
        try
        {
            return new GuestMemory(ranges);
        }
        catch (VmmSystemException e)
        {
            throw new VmmException($"--memory: the host does not give {memory >> 20} MiB: {e.Message.TrimEnd('.')}; give less.", e);
        }
    }

    private ICpuEngine CreateEngine(ICpuEngineFactory factory, ILoggerFactory loggerFactory)
    {
        try
        {
            return factory.Create(new CpuEngineContext(Memory, Ports, Mmio, _clock, _options.Cpus, loggerFactory));
        }
        catch (VmmSystemException e)
        {
            throw new VmmException($"--accel {factory.Name}: the engine does not start: {e.Message.TrimEnd('.')}; use another --accel.", e);
        }
    }

    [LoggerMessage(EventId = 2001, Level = LogLevel.Information, Message = "{Name}: loaded {Kernel}: {Description}, entry 0x{Entry:x}")]
    private partial void LogLoaded(string name, string kernel, string description, ulong entry);
}
