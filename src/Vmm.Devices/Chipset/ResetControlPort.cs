using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Chipset;

/// <summary>
/// The reset control register, port 0xCF9, RW (Intel PIIX3 data sheet 290550, 2.5.4.2; ACPI reset register). Bit 1 SRST: hard rather than
/// soft reset. Bit 2 RCPU: a change from 0 to 1 resets. Bit 3 (ICH): full reset with a power cycle. It shares its address with the host
/// bridge's CONFIG_ADDRESS, which only answers 32-bit accesses to 0xCF8, so this device stands before the bridge and hands on what is not its own.
/// </summary>
public sealed class ResetControlPort : IBusDevice, IResettable, ISnapshotable<byte>
{
    /// <summary>The port.</summary>
    public const ushort Port = 0xCF9;

    /// <summary>First port of the mapping: CONFIG_ADDRESS.</summary>
    public const ushort MappingStart = 0xCF8;

    /// <summary>What to write to the port to reset the machine: RCPU and SRST.</summary>
    public const byte HardReset = 0x06;

    private const int ResetCpu = 0x04;
    private const int Writable = 0x0E;

    private readonly IMachineControl _control;
    private readonly IBusDevice? _configAddress;
    private int _value;

    /// <summary>Makes the register.</summary>
    /// <param name="control">Takes the reset.</param>
    /// <param name="configAddress">
    /// What answers every other access to the mapped range, with offset 0 at 0xCF8: the host bridge, or null.
    /// </param>
    public ResetControlPort(IMachineControl control, IBusDevice? configAddress = null)
    {
        (_control, _configAddress) = (control, configAddress);
    }

    /// <summary>Puts it on the port bus.</summary>
    /// <param name="ports">The port bus.</param>
    /// <param name="length">Ports from 0xCF8 on that the device behind it answers: 4, or 8 with CONFIG_DATA.</param>
    public BusMapping Map(Bus ports, int length = 4) => ports.Map("reset-cf9", MappingStart, (ulong)length, this);

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        if (offset == Port - MappingStart && size == 1)
            return (ulong)Volatile.Read(ref _value);
        return _configAddress?.Read(offset, size) ?? ulong.MaxValue >> (64 - 8 * size);
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        if (offset != Port - MappingStart || size != 1)
        {
            _configAddress?.Write(offset, size, value);
            return;
        }
        int old = Interlocked.Exchange(ref _value, (int)value & Writable);
        if (((int)value & ~old & ResetCpu) != 0)
            _control.Request(new MachineRequest(MachineRequestKind.Reset));
    }

    /// <inheritdoc/>
    public void Reset() => _value = 0;

    /// <inheritdoc/>
    public byte Capture() => (byte)_value;

    /// <inheritdoc/>
    public void Restore(byte state)
    {
        if ((state & ~Writable) != 0)
            throw new InvalidDataException($"The reset control register cannot hold 0x{state:x2}.");
        _value = state;
    }
}
