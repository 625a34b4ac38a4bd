using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Pci;

/// <summary>What a snapshot holds of a function.</summary>
/// <param name="Version">1.</param>
/// <param name="Config">Configuration space, 256 bytes.</param>
/// <param name="InterruptAsserted">Level of the INTx pin before COMMAND is applied.</param>
/// <param name="MsixEntries">MSI-X table, four dwords a vector; empty without MSI-X.</param>
/// <param name="MsixPending">Pending bits; empty without MSI-X.</param>
public sealed record PciFunctionState(int Version, byte[] Config, bool InterruptAsserted, uint[] MsixEntries, ulong[] MsixPending);

/// <summary>
/// A PCI function with a type 0 header: identity, base address registers, capabilities, interrupts. Derived devices add BARs and
/// capabilities in their constructors; <see cref="PciBus"/> gives the function its place.
/// </summary>
/// <remarks>
/// Lock order: the function's lock, then the bus's map. Interrupts are driven with no lock held.
/// </remarks>
public abstract class PciFunction : IResettable, IDisposable
{
    private readonly Lock _lock = new();
    private readonly PciBar?[] _bars = new PciBar?[6];
    private readonly byte _interruptPin;
    private MsiCapability? _msi;
    private int _msixOffset;
    private bool _interruptAsserted;
    private bool _pinDriven;
    private volatile bool _busMaster;
    private PciBus? _bus;
    private SharedInterruptLine? _line;

    /// <summary>Makes a function without BARs or capabilities.</summary>
    /// <param name="name">Its name, for messages.</param>
    /// <param name="identity">Its numbers.</param>
    /// <param name="interruptPin">1 for INTA to 4 for INTD, 0 for none.</param>
    protected PciFunction(string name, PciIdentity identity, byte interruptPin)
    {
        (Name, _interruptPin) = (name, interruptPin);
        Config = new PciConfigSpace();
        Config.Define(PciRegisters.VendorId, 2, identity.VendorId);
        Config.Define(PciRegisters.DeviceId, 2, identity.DeviceId);
        Config.Define(PciRegisters.Command, 2, 0, PciRegisters.CommandIo | PciRegisters.CommandMemory | PciRegisters.CommandBusMaster
            | PciRegisters.CommandParityError | PciRegisters.CommandSerr | PciRegisters.CommandInterruptDisable);
        Config.Define(PciRegisters.Revision, 1, identity.Revision);
        Config.Define(PciRegisters.ClassCode, 3, identity.ClassCode);
        Config.Define(PciRegisters.CacheLineSize, 1, 0, 0xFF);
        Config.Define(PciRegisters.LatencyTimer, 1, 0, 0xFF);
        Config.Define(PciRegisters.SubsystemVendorId, 2, identity.SubsystemVendorId);
        Config.Define(PciRegisters.SubsystemId, 2, identity.SubsystemId);
        Config.Define(PciRegisters.InterruptLine, 1, 0, 0xFF);
        Config.Define(PciRegisters.InterruptPin, 1, interruptPin);
    }

    /// <summary>Its name, for messages.</summary>
    public string Name { get; }

    /// <summary>Whether COMMAND lets it access memory and send messages.</summary>
    public bool IsBusMaster => _busMaster;

    internal PciConfigSpace Config { get; }

    internal ReadOnlySpan<PciBar?> Bars => _bars;

    internal byte InterruptPinNumber => _interruptPin;

    /// <summary>The MSI-X table, or null without MSI-X.</summary>
    protected internal MsixTable? Msix { get; private set; }

    /// <summary>Adds a base address register. Only in a constructor.</summary>
    /// <param name="index">0 to 5; a 64-bit one takes the next as well.</param>
    /// <param name="kind">What it decodes.</param>
    /// <param name="size">Bytes: a power of two, 16 or more for memory, 4 or more for ports.</param>
    /// <param name="device">What answers there.</param>
    protected void AddBar(int index, PciBarKind kind, ulong size, IBusDevice device)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(System.Numerics.BitOperations.IsPow2(size), true);
        ArgumentOutOfRangeException.ThrowIfLessThan(size, kind == PciBarKind.Io ? 4UL : 16UL);
        var bar = new PciBar(index, kind, size, $"{Name} BAR {index}", device);
        _bars[index] = bar;
        bar.Define(Config);
    }

    /// <summary>Adds MSI-X with its table in a BAR of its own. Only in a constructor.</summary>
    protected void AddMsix(int barIndex, MsixTable table)
    {
        Msix = table;
        AddBar(barIndex, PciBarKind.Memory32, table.BarSize, table);
        _msixOffset = table.AddCapability(Config, barIndex);
    }

    /// <summary>Adds MSI. Only in a constructor.</summary>
    /// <param name="log2Vectors">Vectors, as a power of two: 0 to 5.</param>
    protected void AddMsi(int log2Vectors) => _msi = new MsiCapability(Config, log2Vectors);

    /// <summary>Reads configuration space. A device with registers there that act overrides it.</summary>
    /// <param name="offset">0 to 4095; from 256 on everything reads as zero.</param>
    /// <param name="size">1, 2 or 4.</param>
    protected internal virtual uint ReadConfig(int offset, int size)
    {
        lock (_lock)
            return Config.Read(offset, size);
    }

    /// <summary>Writes configuration space and does what follows from it.</summary>
    protected internal virtual void WriteConfig(int offset, int size, uint value)
    {
        bool wasMaster = _busMaster;
        lock (_lock)
        {
            Config.Write(offset, size, value);
            ApplyConfig();
        }
        DriveInterrupts();
        if (!wasMaster && _busMaster)
            OnBusMasterEnabled();
    }

    /// <summary>Called, with no lock held, after COMMAND turned bus mastering on.</summary>
    protected virtual void OnBusMasterEnabled()
    {
    }

    /// <summary>Sets the level of the INTx pin. It is not driven while MSI-X or MSI is enabled or COMMAND disables it.</summary>
    protected void SetInterrupt(bool asserted)
    {
        lock (_lock)
            _interruptAsserted = asserted;
        DriveInterrupts();
    }

    /// <summary>Signals an MSI vector; does nothing while MSI is disabled.</summary>
    protected void SignalMsi(int vector)
    {
        MsiMessage message;
        lock (_lock)
        {
            if (_msi is null || !_msi.TrySignal(vector, _busMaster, out message))
                return;
        }
        _bus?.MsiSink.Send(message);
    }

    /// <summary>Stops work on behalf of the guest and waits for what is in flight. Idempotent. While no vCPU runs.</summary>
    public virtual void Pause()
    {
    }

    /// <summary>Lets work go on after <see cref="Pause"/>. Idempotent.</summary>
    public virtual void Resume()
    {
    }

    /// <summary>Back to the power-on state: BARs unassigned, decoding off, interrupts off.</summary>
    public virtual void Reset()
    {
        lock (_lock)
        {
            Config.Reset();
            Msix?.Reset();
            _interruptAsserted = false;
            ApplyConfig();
        }
        DriveInterrupts();
    }

    /// <summary>Takes the BARs off the buses.</summary>
    public virtual void Dispose()
    {
        lock (_lock)
        {
            _bus = null;
            foreach (var bar in _bars)
                bar?.Unmap();
        }
        GC.SuppressFinalize(this);
    }

    internal void Attach(PciBus bus, SharedInterruptLine? line)
    {
        lock (_lock)
        {
            if (_bus is not null)
                throw new InvalidOperationException($"{Name} is on a bus already.");
            (_bus, _line) = (bus, line);
        }
    }

    internal void SetMultiFunction() => Config.Define(PciRegisters.HeaderType, 1, PciRegisters.HeaderMultiFunction);

    /// <summary>What firmware does: gives a BAR its address.</summary>
    internal void AssignBar(PciBar bar, ulong address)
    {
        lock (_lock)
            bar.SetAddress(Config, address);
    }

    /// <summary>What firmware does last: the interrupt line register, and decoding on.</summary>
    internal void FinishAssignment(byte interruptLine)
    {
        WriteConfig(PciRegisters.InterruptLine, 1, interruptLine);
        WriteConfig(PciRegisters.Command, 2, (uint)(PciRegisters.CommandIo | PciRegisters.CommandMemory | Config.Get16(PciRegisters.Command)));
    }

    internal PciFunctionState CaptureFunction()
    {
        lock (_lock)
        {
            var (entries, pending) = Msix?.Capture() ?? ([], []);
            return new PciFunctionState(1, Config.Values.ToArray(), _interruptAsserted, entries, pending);
        }
    }

    internal void RestoreFunction(PciFunctionState state)
    {
        lock (_lock)
        {
            if (state.Version != 1 || !Config.TryRestore(state.Config) || (Msix is not null && !Msix.TryRestore(state.MsixEntries, state.MsixPending)))
                throw new InvalidDataException($"The state is not one of the PCI function {Name}.");
            _interruptAsserted = state.InterruptAsserted;
            bool before = _pinDriven;
            ApplyConfig();
            _pinDriven = PinLevel;
            _line?.Restore(before, _pinDriven);
        }
    }

    private bool PinLevel => _interruptAsserted && Msix is not { Enabled: true } && _msi is not { Enabled: true }
        && (Config.Get16(PciRegisters.Command) & PciRegisters.CommandInterruptDisable) == 0;

    // Under the lock: what the configuration registers say becomes so.
    private void ApplyConfig()
    {
        bool busMaster = (Config.Get16(PciRegisters.Command) & PciRegisters.CommandBusMaster) != 0;
        _busMaster = busMaster;
        Msix?.SetControl(Config.Get16(_msixOffset + 2), busMaster);
        if (_bus is not { } bus)
            return;
        foreach (var bar in _bars)
            bar?.Update(bar.Kind == PciBarKind.Io ? bus.Ports : bus.Mmio, Config);
    }

    private void DriveInterrupts()
    {
        bool changed;
        bool level;
        lock (_lock)
        {
            ushort status = (ushort)(Config.Get16(PciRegisters.Status) & ~PciRegisters.StatusInterrupt);
            Config.Set16(PciRegisters.Status, (ushort)(status | (_interruptAsserted ? PciRegisters.StatusInterrupt : 0)));
            level = PinLevel;
            changed = level != _pinDriven;
            _pinDriven = level;
        }
        if (changed)
            _line?.Change(level);
        Msix?.SendPending();
        while (TakePendingMsi(out var message))
            _bus?.MsiSink.Send(message);
    }

    private bool TakePendingMsi(out MsiMessage message)
    {
        message = default;
        lock (_lock)
            return _msi is not null && _msi.TakePending(_busMaster, out message);
    }
}
