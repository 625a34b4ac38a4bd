using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Interrupts;

/// <summary>State of the pair of 8259As.</summary>
public sealed record DualPicState(Pic8259State Master, Pic8259State Slave);

/// <summary>
/// The pair of 8259As of a PC: master at ports 0x20–0x21, slave at 0xA0–0xA1 on the master's input 2, ELCR at 0x4D0–0x4D1. Inputs may
/// be driven from any thread.
/// </summary>
public sealed class DualPic : IExternalInterruptController, IResettable, ISnapshotable<DualPicState>
{
    private const int CascadeInput = 2;

    // IRQ 0, 1, 2, 8 and 13 are edge sensitive whatever ELCR says (82371SB datasheet, 2.5.5).
    private readonly Pic8259 _master = new(isMaster: true, levelMask: 0xF8);
    private readonly Pic8259 _slave = new(isMaster: false, levelMask: 0xDE);
    private readonly Lock _lock = new();
    private readonly InterruptPin _output;

    /// <summary>Makes the pair in its reset state.</summary>
    /// <param name="output">What the master's INT output drives: LINT0 of the processors, and an I/O APIC's pin 0.</param>
    public DualPic(IInterruptLine output)
    {
        ArgumentNullException.ThrowIfNull(output);
        _output = new InterruptPin(output);
    }

    /// <summary>The INTR output. Takes no lock.</summary>
    public bool Intr => _output.Level;

    /// <summary>Puts the registers on the port bus.</summary>
    public void Map(Bus ports)
    {
        ArgumentNullException.ThrowIfNull(ports);
        ports.Map("8259 master", 0x20, 2, new Registers(this, _master));
        ports.Map("8259 slave", 0xA0, 2, new Registers(this, _slave));
        ports.Map("8259 ELCR", 0x4D0, 2, new EdgeLevelRegisters(this));
    }

    /// <summary>Drives one of the sixteen ISA interrupt requests; IRQ 2 is the cascade and takes nothing.</summary>
    public void SetInput(int irq, bool asserted)
    {
        if (irq is < 0 or > 15 or CascadeInput)
            return;
        lock (_lock)
        {
            (irq < 8 ? _master : _slave).SetInput(irq & 7, asserted);
            Update();
        }
        _output.Flush();
    }

    /// <inheritdoc/>
    public byte Acknowledge()
    {
        byte vector;
        lock (_lock)
        {
            vector = AcknowledgeLocked();
            Update();
        }
        _output.Flush();
        return vector;
    }

    /// <inheritdoc/>
    public bool TryAcknowledge(out byte vector)
    {
        lock (_lock)
        {
            if (!_master.Output)
            {
                vector = 0;
                return false;
            }
            vector = AcknowledgeLocked();
            Update();
        }
        _output.Flush();
        return true;
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _master.Reset();
            _slave.Reset();
            Update();
        }
        _output.Flush();
    }

    /// <inheritdoc/>
    public DualPicState Capture()
    {
        lock (_lock)
            return new DualPicState(_master.Capture(), _slave.Capture());
    }

    /// <inheritdoc/>
    public void Restore(DualPicState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        lock (_lock)
        {
            _master.Restore(state.Master);
            _slave.Restore(state.Slave);
            _output.Restore(_master.Output);
        }
    }

    // With the lock held.
    private byte AcknowledgeLocked()
    {
        byte vector = _master.Acknowledge(out int input, out bool spurious);
        if (spurious || input != CascadeInput)
            return vector;
        // INT of the slave drops during INTA, so that a further request of it is an edge again.
        vector = _slave.Acknowledge(out _, out _);
        _master.SetInput(CascadeInput, false);
        return vector;
    }

    // With the lock held.
    private void Update()
    {
        _master.SetInput(CascadeInput, _slave.Output);
        _output.Set(_master.Output);
    }

    private sealed class Registers(DualPic pair, Pic8259 chip) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset)
        {
            byte value;
            lock (pair._lock)
            {
                value = chip.Read(offset != 0);
                pair.Update();
            }
            pair._output.Flush();
            return value;
        }

        protected override void WriteByte(uint offset, byte value)
        {
            lock (pair._lock)
            {
                chip.Write(offset != 0, value);
                pair.Update();
            }
            pair._output.Flush();
        }
    }

    private sealed class EdgeLevelRegisters(DualPic pair) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset)
        {
            lock (pair._lock)
                return (offset == 0 ? pair._master : pair._slave).EdgeLevelControl;
        }

        protected override void WriteByte(uint offset, byte value)
        {
            lock (pair._lock)
            {
                (offset == 0 ? pair._master : pair._slave).EdgeLevelControl = value;
                pair.Update();
            }
            pair._output.Flush();
        }
    }
}
