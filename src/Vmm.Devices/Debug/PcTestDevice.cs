using Vmm.Core.Buses;
using Vmm.Core.Interrupts;

namespace Vmm.Devices.Debug;

/// <summary>
/// QEMU's pc-testdev, which kvm-unit-tests use: an I/O port that keeps what is written (0xE0, four bytes, in any size; byte by byte at
/// 0xE8), a port that flushes a page (0xE4), one port for each interrupt line (0x2000 and up) and 64 KiB of MMIO that behaves like
/// memory (0xFF000000). A machine has it only on request.
/// </summary>
public sealed class PcTestDevice
{
    /// <summary>First port of the data port.</summary>
    public const ushort DataPort = 0xE0;

    /// <summary>First port of the page-flush port.</summary>
    public const ushort FlushPort = 0xE4;

    /// <summary>First port of the data port's byte-wide window.</summary>
    public const ushort BytePort = 0xE8;

    /// <summary>First port of the interrupt lines.</summary>
    public const ushort InterruptPort = 0x2000;

    /// <summary>Interrupt lines, and ports for them.</summary>
    public const int InterruptCount = 24;

    /// <summary>First address of the MMIO range.</summary>
    public const ulong MmioAddress = 0xFF000000;

    /// <summary>Bytes of the MMIO range.</summary>
    public const int MmioSize = 0x10000;

    private readonly Lock _lock = new();
    private readonly byte[] _memory = new byte[MmioSize];
    private readonly IReadOnlyList<IInterruptLine> _lines;
    private uint _data;

    /// <summary>Makes the device.</summary>
    /// <param name="lines">The lines of global system interrupts 0 and up; those past the end do nothing.</param>
    public PcTestDevice(IReadOnlyList<IInterruptLine> lines)
    {
        _lines = lines;
    }

    /// <summary>Puts it on the buses, behind any other device at the same addresses: the debug console keeps port 0xE9.</summary>
    public void Map(Bus ports, Bus mmio)
    {
        ports.Map("testdev-data", DataPort, 4, new Window(ReadData, WriteData), priority: -1);
        // What it would do, dropping the host's mapping of a page, changes nothing that a guest can see.
        ports.Map("testdev-flush", FlushPort, 4, new Window(static (_, _) => 0, static (_, _, _) => { }), priority: -1);
        ports.Map("testdev-bytes", BytePort, 4, new Window(ReadData, WriteData), priority: -1);
        ports.Map("testdev-irq", InterruptPort, InterruptCount, new Window(static (_, _) => 0, WriteInterrupt), priority: -1);
        mmio.Map("testdev-mmio", MmioAddress, MmioSize, new Window(ReadMemory, WriteMemory), priority: -1);
    }

    private ulong ReadData(ulong offset, int size)
    {
        lock (_lock)
            return (_data >> (int)(8 * offset)) & Mask(size);
    }

    private void WriteData(ulong offset, int size, ulong value)
    {
        int shift = (int)(8 * offset);
        lock (_lock)
            _data = (uint)((_data & ~(Mask(size) << shift)) | ((value & Mask(size)) << shift));
    }

    private void WriteInterrupt(ulong offset, int size, ulong value)
    {
        if ((int)offset < _lines.Count)
            _lines[(int)offset].SetLevel(value != 0);
    }

    private ulong ReadMemory(ulong offset, int size)
    {
        ulong value = 0;
        lock (_lock)
        {
            for (int i = 0; i < size; i++)
                value |= (ulong)_memory[(int)offset + i] << (8 * i);
        }
        return value;
    }

    private void WriteMemory(ulong offset, int size, ulong value)
    {
        lock (_lock)
        {
            for (int i = 0; i < size; i++)
                _memory[(int)offset + i] = (byte)(value >> (8 * i));
        }
    }

    private static ulong Mask(int size) => ulong.MaxValue >> (64 - 8 * size);

    private sealed class Window(Func<ulong, int, ulong> read, Action<ulong, int, ulong> write) : IBusDevice
    {
        public ulong Read(ulong offset, int size) => read(offset, size);

        public void Write(ulong offset, int size, ulong value) => write(offset, size, value);
    }
}
