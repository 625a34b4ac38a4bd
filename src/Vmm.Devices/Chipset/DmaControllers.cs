using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Chipset;

/// <summary>The state of a PC's DMA controllers for a snapshot.</summary>
/// <param name="Low">The controller of channels 0–3.</param>
/// <param name="High">The controller of channels 4–7.</param>
/// <param name="Pages">The page registers 0x81 to 0x8F.</param>
public sealed record DmaControllersState(Dma8237State Low, Dma8237State High, byte[] Pages);

/// <summary>
/// The two cascaded 8237A DMA controllers of a PC/AT and their page registers: ports 0x00–0x0F, 0xC0–0xDF (a register every second port)
/// and 0x81–0x8F. Guests find and program them; no device transfers through them.
/// </summary>
public sealed class DmaControllers : IResettable, ISnapshotable<DmaControllersState>
{
    private const int FirstPage = 0x81;

    private readonly Lock _lock = new();
    private readonly Dma8237 _low = new();
    private readonly Dma8237 _high = new();
    private readonly byte[] _pages = new byte[15];

    /// <summary>Puts them on the port bus.</summary>
    public void Map(Bus ports)
    {
        ports.Map("dma-low", 0x00, 16, new Window(r => ReadRegister(_low, r), (r, v) => WriteRegister(_low, r, v)));
        ports.Map("dma-high", 0xC0, 32, new Window(r => ReadRegister(_high, r >> 1), (r, v) => WriteRegister(_high, r >> 1, v)));
        ports.Map("dma-pages", FirstPage, (ulong)_pages.Length, new Window(ReadPage, WritePage));
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _low.Reset();
            _high.Reset();
        }
    }

    /// <inheritdoc/>
    public DmaControllersState Capture()
    {
        lock (_lock)
            return new DmaControllersState(_low.Capture(), _high.Capture(), [.. _pages]);
    }

    /// <inheritdoc/>
    public void Restore(DmaControllersState state)
    {
        if (state.Pages.Length != _pages.Length)
            throw new InvalidDataException("The DMA controllers' snapshot lacks page registers.");
        lock (_lock)
        {
            _low.Restore(state.Low);
            _high.Restore(state.High);
            state.Pages.CopyTo(_pages, 0);
        }
    }

    private byte ReadRegister(Dma8237 controller, uint register)
    {
        lock (_lock)
            return controller.Read(register);
    }

    private void WriteRegister(Dma8237 controller, uint register, byte value)
    {
        lock (_lock)
            controller.Write(register, value);
    }

    private byte ReadPage(uint page) => Volatile.Read(ref _pages[page]);

    private void WritePage(uint page, byte value) => Volatile.Write(ref _pages[page], value);

    private sealed class Window(Func<uint, byte> read, Action<uint, byte> write) : ByteWideDevice
    {
        protected override byte ReadByte(uint offset) => read(offset);

        protected override void WriteByte(uint offset, byte value) => write(offset, value);
    }
}
