using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Pci;

/// <summary>
/// PCI bus 0 with its host bridge: a registry of functions, configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2) and the
/// enhanced configuration window (PCI Express 5.0, 7.2.2).
/// </summary>
/// <remarks>
/// A board makes the bus, adds functions, maps <see cref="ConfigPorts"/> (behind its reset control register at 0xCF9, which shares
/// those ports) and calls <see cref="MapEcam"/>. Before each boot, and after each <see cref="Reset"/>, it calls
/// <see cref="AssignResources"/>, since no firmware does.
/// <code>
/// var pci = new PciBus(ports, mmio, msiSink, eightLines);
/// new ResetControlPort(control, pci.ConfigPorts).Map(ports, 8);      // or pci.MapConfigPorts()
/// pci.MapEcam(0xE0000000);
/// pci.Add(1, new VirtioPciDevice(pci.MsiSink, new VirtioBlock(memory, backend, options, logger)));
/// pci.AssignResources(windows, device => irq);
/// </code>
/// </remarks>
public sealed class PciBus : IResettable, IDisposable
{
    /// <summary>Device numbers on a bus.</summary>
    public const int MaxDevices = 32;

    /// <summary>First port of configuration mechanism #1: CONFIG_ADDRESS; CONFIG_DATA follows at 0xCFC.</summary>
    public const ushort ConfigPort = 0xCF8;

    /// <summary>Ports of configuration mechanism #1.</summary>
    public const int ConfigPortCount = 8;

    private const int EcamBusShift = 20;
    private const int EcamFunctionShift = 12;

    private readonly PciFunction?[] _functions = new PciFunction?[256];
    private readonly SharedInterruptLine[] _lines;
    private readonly PciConfigPorts _configPorts;
    private readonly List<BusMapping> _mappings = [];

    /// <summary>Makes the bus with a host bridge at 00:00.0.</summary>
    /// <param name="ports">The port bus, for I/O BARs.</param>
    /// <param name="mmio">The MMIO bus, for memory BARs.</param>
    /// <param name="msiSink">Where message-signalled interrupts go.</param>
    /// <param name="interruptLines">The level-triggered wires behind INTx; device d's pin p (0 for INTA) pulls wire (d + p) mod their number.</param>
    public PciBus(Bus ports, Bus mmio, IMsiSink msiSink, IReadOnlyList<IInterruptLine> interruptLines)
    {
        (Ports, Mmio, MsiSink) = (ports, mmio, msiSink);
        _lines = [.. interruptLines.Select(line => new SharedInterruptLine(line))];
        _configPorts = new PciConfigPorts(this);
        Add(0, new PciHostBridge());
    }

    /// <summary>Where message-signalled interrupts go.</summary>
    public IMsiSink MsiSink { get; }

    /// <summary>Configuration mechanism #1 as eight ports: offset 0 is 0xCF8.</summary>
    public IBusDevice ConfigPorts => _configPorts;

    internal Bus Ports { get; }

    internal Bus Mmio { get; }

    /// <summary>The function at a device and function number, or null.</summary>
    public PciFunction? this[int device, int function = 0] => _functions[device << 3 | function];

    /// <summary>Puts a function on the bus and owns it from now on. While the machine is being built.</summary>
    /// <param name="device">0 to 31; 0 has the host bridge.</param>
    /// <param name="function">The function to add.</param>
    /// <param name="functionNumber">0 to 7; a device needs function 0 before others.</param>
    public void Add(int device, PciFunction function, int functionNumber = 0)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)device, (uint)MaxDevices);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)functionNumber, 8u);
        ref var slot = ref _functions[device << 3 | functionNumber];
        if (slot is not null)
            throw new ArgumentException($"PCI function 00:{device:x2}.{functionNumber} is taken by {slot.Name}.", nameof(device));
        if (functionNumber != 0)
            (this[device] ?? throw new ArgumentException($"PCI device {device} has no function 0.", nameof(device))).SetMultiFunction();
        int pin = function.InterruptPinNumber;
        function.Attach(this, pin == 0 || _lines.Length == 0 ? null : _lines[(device + pin - 1) % _lines.Length]);
        slot = function;
    }

    /// <summary>Puts a function at the first free device number and returns that.</summary>
    public int Add(PciFunction function)
    {
        for (int device = 1; device < MaxDevices; device++)
        {
            if (this[device] is not null)
                continue;
            Add(device, function);
            return device;
        }
        throw new VmmException($"No PCI slot is free for {function.Name}: at most {MaxDevices - 1} devices fit. Remove a disk.");
    }

    /// <summary>Maps configuration mechanism #1, where no reset control register stands before it.</summary>
    public void MapConfigPorts() => _mappings.Add(Ports.Map("pci-config", ConfigPort, ConfigPortCount, _configPorts));

    /// <summary>Maps the enhanced configuration window.</summary>
    /// <param name="address">Where the MCFG table says; a multiple of 256 MiB.</param>
    /// <param name="busCount">Buses that it covers, 1 MiB each. Only bus 0 has devices.</param>
    public void MapEcam(ulong address, int busCount = 256) =>
        _mappings.Add(Mmio.Map("pci-ecam", address, (ulong)busCount << EcamBusShift, new Ecam(this)));

    /// <summary>
    /// Does what firmware does before a boot: gives every BAR an address, the largest first, writes the interrupt line registers and
    /// turns decoding on. While no vCPU runs.
    /// </summary>
    /// <param name="windows">The ranges to take addresses from.</param>
    /// <param name="interruptLine">The interrupt number behind wire n of the constructor's, for software without ACPI; 0xFF for none.</param>
    /// <exception cref="VmmException">The BARs do not fit.</exception>
    public void AssignResources(PciResourceWindows windows, Func<int, byte>? interruptLine = null)
    {
        var memory32 = new PciWindowAllocator(windows.Memory32Base, windows.Memory32Size);
        var memory64 = new PciWindowAllocator(windows.Memory64Base, windows.Memory64Size);
        var io = new PciWindowAllocator(windows.IoBase, windows.IoSize);
        foreach (var (function, bar) in BarsBySize())
        {
            ulong address = 0;
            bool placed = bar.Kind switch
            {
                PciBarKind.Io => io.TryTake(bar.Size, out address),
                PciBarKind.PrefetchableMemory64 => memory64.TryTake(bar.Size, out address) || memory32.TryTake(bar.Size, out address),
                _ => memory32.TryTake(bar.Size, out address),
            };
            if (!placed)
                throw new VmmException($"The address window is too small for BAR {bar.Index} of {function.Name} (0x{bar.Size:x} bytes). Remove a device.");
            function.AssignBar(bar, address);
        }
        for (int i = 0; i < _functions.Length; i++)
        {
            if (_functions[i] is not { } function)
                continue;
            int pin = function.InterruptPinNumber;
            bool wired = pin != 0 && _lines.Length != 0 && interruptLine is not null;
            function.FinishAssignment(wired ? interruptLine!(((i >> 3) + pin - 1) % _lines.Length) : (byte)0xFF);
        }
    }

    /// <summary>Resets every function; BARs are unassigned afterwards. While no vCPU runs.</summary>
    public void Reset()
    {
        _configPorts.Reset();
        foreach (var function in _functions)
            function?.Reset();
    }

    /// <summary>Makes every device finish what it has in flight and start nothing new: before a snapshot. While no vCPU runs.</summary>
    public void Pause()
    {
        foreach (var function in _functions)
            function?.Pause();
    }

    /// <summary>Lets devices work again after <see cref="Pause"/>.</summary>
    public void Resume()
    {
        foreach (var function in _functions)
            function?.Resume();
    }

    /// <summary>Takes everything off the buses and disposes the functions.</summary>
    public void Dispose()
    {
        foreach (var mapping in _mappings)
            mapping.Dispose();
        foreach (var function in _functions)
            function?.Dispose();
    }

    // Absent functions read as all ones: the bus's master abort (PCI Local Bus 3.0, 6.1).
    internal uint ReadConfig(int functionNumber, int offset, int size)
    {
        uint ones = uint.MaxValue >> (32 - 8 * size);
        return _functions[functionNumber]?.ReadConfig(offset, size) & ones ?? ones;
    }

    internal void WriteConfig(int functionNumber, int offset, int size, uint value) => _functions[functionNumber]?.WriteConfig(offset, size, value);

    private IEnumerable<(PciFunction Function, PciBar Bar)> BarsBySize()
    {
        var all = new List<(PciFunction Function, PciBar Bar)>();
        foreach (var function in _functions)
        {
            if (function is null)
                continue;
            foreach (var bar in function.Bars)
            {
                if (bar is not null)
                    all.Add((function, bar));
            }
        }
        return all.OrderByDescending(entry => entry.Bar.Size);
    }

    private sealed class Ecam(PciBus bus) : IBusDevice
    {
        public ulong Read(ulong offset, int size)
        {
            if (size == 8)
                return Read(offset, 4) | Read(offset + 4, 4) << 32;
            int register = (int)(offset & 0xFFF);
            if (offset >> EcamBusShift != 0 || register + size > 0x1000)
                return ulong.MaxValue >> (64 - 8 * size);
            return bus.ReadConfig((int)(offset >> EcamFunctionShift), register, size);
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (size == 8)
            {
                Write(offset, 4, value);
                Write(offset + 4, 4, value >> 32);
                return;
            }
            int register = (int)(offset & 0xFFF);
            if (offset >> EcamBusShift == 0 && register + size <= 0x1000)
                bus.WriteConfig((int)(offset >> EcamFunctionShift), register, size, (uint)value);
        }
    }
}
