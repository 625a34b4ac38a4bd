using System.Collections.Immutable;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Interrupts;

/// <summary>State of the board's interrupt lines.</summary>
/// <param name="Lines">The level of each line in the order of their creation.</param>
/// <param name="PciRoutes">For GSI 16 to 23 the ISA request that it is routed to, or -1.</param>
public sealed record InterruptRouterState(ImmutableArray<bool> Lines, ImmutableArray<int> PciRoutes);

/// <summary>
/// The 24 global system interrupts of the board. An ISA request drives both the 8259 and the I/O APIC, IRQ 0 on pin 2 (the override
/// that the MADT tells of); GSI 16 to 23 are PCI's, on the I/O APIC only unless a PIRQ register routes them to an ISA request too.
/// </summary>
public sealed class InterruptRouter : ISnapshotable<InterruptRouterState>
{
    /// <summary>Global system interrupts.</summary>
    public const int GsiCount = IoApic.PinCount;

    /// <summary>The first of the eight PCI interrupts.</summary>
    public const int FirstPciGsi = 16;

    private const int TimerPin = 2;

    private readonly DualPic _pic;
    private readonly Input[] _inputs = new Input[GsiCount];
    private readonly Lock _linesLock = new();
    private readonly List<Line> _lines = [];
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
        var line = new Line(_inputs[gsi == 0 ? TimerPin : gsi]);
        lock (_linesLock)
            _lines.Add(line);
        return line;
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

    /// <inheritdoc/>
    public InterruptRouterState Capture()
    {
        lock (_linesLock)
        {
            lock (_picLock)
                return new InterruptRouterState([.. _lines.Select(line => line.Asserted)], [.. _pciRoutes]);
        }
    }

    /// <inheritdoc/>
    public void Restore(InterruptRouterState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_linesLock)
        {
            if (state.Lines.Length != _lines.Count || state.PciRoutes.Length != _pciRoutes.Length
                || state.PciRoutes.Any(route => route is < -1 or > 15))
                throw new InvalidDataException("The saved interrupt lines are not those of this board.");
            for (int i = 0; i < _lines.Count; i++)
                _lines[i].Asserted = state.Lines[i];
            RestoreUsers(state.PciRoutes);
        }
    }

    // Counts anew; the controllers have the levels in their own state.
    private void RestoreUsers(ImmutableArray<int> routes)
    {
        lock (_picLock)
        {
            routes.CopyTo(_pciRoutes);
            Array.Clear(_picUsers);
            for (int gsi = 0; gsi < GsiCount; gsi++)
            {
                int users = _lines.Count(line => line.Asserted && ReferenceEquals(line.Input, _inputs[gsi]));
                _inputs[gsi].Restore(users);
                int irq = gsi >= FirstPciGsi ? routes[gsi - FirstPciGsi] : gsi == TimerPin ? 0 : gsi;
                if (gsi >= FirstPciGsi)
                    _pciLevels[gsi - FirstPciGsi] = users != 0;
                if (users != 0 && irq >= 0)
                    _picUsers[irq]++;
            }
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

        public void Restore(int users)
        {
            lock (_lock)
                _users = users;
        }

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
        public Input Input { get; } = input;

        // Guarded by the input's lock.
        public bool Asserted { get; set; }

        public void SetLevel(bool asserted) => Input.Change(this, asserted);
    }
}
