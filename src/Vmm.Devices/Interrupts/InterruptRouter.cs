using Vmm.Core.Interrupts;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// The 24 global system interrupts of the board. An ISA request drives both the 8259 and the I/O APIC, IRQ 0 on pin 2 (the override
/// that the MADT tells of); GSI 16 to 23 are PCI's, on the I/O APIC only unless a PIRQ register routes them to an ISA request too.
/// </summary>
public sealed class InterruptRouter
{
    /// <summary>Global system interrupts.</summary>
    public const int GsiCount = IoApic.PinCount;

    /// <summary>The first of the eight PCI interrupts.</summary>
    public const int FirstPciGsi = 16;

    private const int TimerPin = 2;

    private readonly DualPic _pic;
    private readonly Input[] _inputs = new Input[GsiCount];
    private readonly Lock _picLock = new();
    private readonly int[] _picUsers = new int[16];
    private readonly int[] _pciRoutes = new int[GsiCount - FirstPciGsi];
    private readonly bool[] _pciLevels = new bool[GsiCount - FirstPciGsi];

    /// <summary>Wires the inputs.</summary>
    public InterruptRouter(DualPic pic, IoApic ioApic)
    {
        ArgumentNullException.ThrowIfNull(pic);
        ArgumentNullException.ThrowIfNull(ioApic);
        _pic = pic;
        _pciRoutes.AsSpan().Fill(-1);
        for (int gsi = 0; gsi < GsiCount; gsi++)
            _inputs[gsi] = new Input(this, ioApic, gsi);
    }

    /// <summary>
    /// Makes a line to a global system interrupt. Each user has its own; the interrupt is asserted while any of them is. GSI 2 is the
    /// timer, ISA IRQ 0; GSI 0 names the same, since nothing else is on I/O APIC pin 0.
    /// </summary>
    public IInterruptLine CreateLine(int gsi)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(gsi);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(gsi, GsiCount);
        return new Line(_inputs[gsi == 0 ? TimerPin : gsi]);
    }

    /// <summary>Makes a line to an ISA interrupt request, 0 to 15 but 2.</summary>
    public IInterruptLine CreateIsaLine(int irq)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(irq, 15);
        ArgumentOutOfRangeException.ThrowIfEqual(irq, 2);
        return CreateLine(irq);
    }

    /// <summary>As <see cref="CreateLine"/>.</summary>
    public IInterruptLine GetLine(int gsi) => CreateLine(gsi);

    /// <summary>Routes a PCI interrupt to an ISA request as well, as a south bridge's PIRQ registers do.</summary>
    /// <param name="gsi">16 to 23.</param>
    /// <param name="irq">0 to 15, or null for none.</param>
    public void RoutePci(int gsi, int? irq)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(gsi, FirstPciGsi);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(gsi, GsiCount);
        int route = irq is >= 0 and <= 15 ? irq.Value : -1;
        lock (_picLock)
        {
            int index = gsi - FirstPciGsi;
            int before = _pciRoutes[index];
            if (before == route)
                return;
            _pciRoutes[index] = route;
            if (!_pciLevels[index])
                return;
            DrivePic(before, false);
            DrivePic(route, true);
        }
    }

    private void SetIsa(int irq, bool asserted)
    {
        lock (_picLock)
            DrivePic(irq, asserted);
    }

    private void SetPci(int index, bool asserted)
    {
        lock (_picLock)
        {
            _pciLevels[index] = asserted;
            DrivePic(_pciRoutes[index], asserted);
        }
    }

    // The router's locks are only ever taken by callers of a line, before those of the controllers, which call back nobody but the CPUs.
    private void DrivePic(int irq, bool asserted)
    {
        if (irq < 0)
            return;
        int users = _picUsers[irq] += asserted ? 1 : -1;
        if (users == (asserted ? 1 : 0))
            _pic.SetInput(irq, asserted);
    }

    private sealed class Input(InterruptRouter router, IoApic ioApic, int gsi)
    {
        private readonly Lock _lock = new();
        private int _users;

        public void Change(Line line, bool asserted)
        {
            lock (_lock)
            {
                if (line.Asserted == asserted)
                    return;
                line.Asserted = asserted;
                _users += asserted ? 1 : -1;
                if (_users != (asserted ? 1 : 0))
                    return;
                if (gsi >= FirstPciGsi)
                    router.SetPci(gsi - FirstPciGsi, asserted);
                else
                    router.SetIsa(gsi == TimerPin ? 0 : gsi, asserted);
                ioApic.SetPin(gsi, asserted);
            }
        }
    }

    private sealed class Line(Input input) : IInterruptLine
    {
        // Guarded by the input's lock.
        public bool Asserted { get; set; }

        public void SetLevel(bool asserted) => input.Change(this, asserted);
    }
}

/// <summary>A line that can be cut: what the HPET's legacy replacement does to those of the PIT and the RTC.</summary>
public sealed class GatedInterruptLine : IInterruptLine
{
    private readonly Lock _lock = new();
    private readonly IInterruptLine _line;
    private bool _asserted;
    private bool _connected = true;

    /// <summary>Makes the gate, connected.</summary>
    public GatedInterruptLine(IInterruptLine line) => _line = line;

    /// <summary>Whether the device's level reaches the line.</summary>
    public bool Connected
    {
        get => _connected;
        set
        {
            lock (_lock)
            {
                if (_connected == value)
                    return;
                _connected = value;
                if (_asserted)
                    _line.SetLevel(value);
            }
        }
    }

    /// <inheritdoc/>
    public void SetLevel(bool asserted)
    {
        lock (_lock)
        {
            _asserted = asserted;
            if (_connected)
                _line.SetLevel(asserted);
        }
    }
}
