namespace Vmm.Devices.Chipset;

/// <summary>The state of an 8237A for a snapshot.</summary>
public sealed record Dma8237State
{
    /// <summary>Base address registers of the four channels.</summary>
    public ushort[] BaseAddress { get; init; } = new ushort[4];

    /// <summary>Base word count registers.</summary>
    public ushort[] BaseCount { get; init; } = new ushort[4];

    /// <summary>Current address registers.</summary>
    public ushort[] CurrentAddress { get; init; } = new ushort[4];

    /// <summary>Current word count registers.</summary>
    public ushort[] CurrentCount { get; init; } = new ushort[4];

    /// <summary>Mode registers, bits 7:2.</summary>
    public byte[] Mode { get; init; } = new byte[4];

    /// <summary>Command register.</summary>
    public byte Command { get; init; }

    /// <summary>Software requests, a bit a channel.</summary>
    public byte Request { get; init; }

    /// <summary>Mask register, a bit a channel.</summary>
    public byte Mask { get; init; } = 0x0F;

    /// <summary>Channels that reached terminal count.</summary>
    public byte TerminalCount { get; init; }

    /// <summary>The byte pointer flip-flop: true when the next access is to the high byte.</summary>
    public bool HighByte { get; init; }
}

/// <summary>
/// Intel 8237A DMA controller (data sheet 231466): its registers. No device of this machine asks for DMA, so no transfer ever runs and
/// the current registers stay as programmed. Not thread-safe.
/// </summary>
internal sealed class Dma8237
{
    private readonly ushort[] _baseAddress = new ushort[4];
    private readonly ushort[] _baseCount = new ushort[4];
    private readonly ushort[] _currentAddress = new ushort[4];
    private readonly ushort[] _currentCount = new ushort[4];
    private readonly byte[] _mode = new byte[4];
    private byte _command;
    private byte _request;
    private byte _mask = 0x0F;
    private byte _terminalCount;
    private bool _highByte;

    /// <summary>Reads register 0 to 15 (data sheet, figures 5 and 6).</summary>
    public byte Read(uint register)
    {
        switch (register)
        {
            case < 8:
                ushort word = (register & 1) == 0 ? _currentAddress[register >> 1] : _currentCount[register >> 1];
                bool high = _highByte;
                _highByte = !_highByte;
                return (byte)(high ? word >> 8 : word);
            case 8:
                // Status: requests in 7:4; reading clears the terminal counts in 3:0.
                byte status = (byte)(_request << 4 | _terminalCount);
                _terminalCount = 0;
                return status;
            case 13:
                // Temporary register: the last byte of a memory-to-memory transfer, of which there is none.
                return 0;
            case 15:
                // Read back of all mask bits, as in the 82C37A and Intel's chipsets.
                return (byte)(_mask | 0xF0);
            default:
                return 0xFF;
        }
    }

    /// <summary>Writes register 0 to 15.</summary>
    public void Write(uint register, byte value)
    {
        switch (register)
        {
            case < 8:
                WriteChannel(register >> 1, (register & 1) != 0, value);
                break;
            case 8:
                _command = value;
                break;
            case 9:
                SetBit(ref _request, value & 3, (value & 4) != 0);
                break;
            case 10:
                SetBit(ref _mask, value & 3, (value & 4) != 0);
                break;
            case 11:
                _mode[value & 3] = (byte)(value & 0xFC);
                break;
            case 12:
                _highByte = false;
                break;
            case 13:
                Reset();
                break;
            case 14:
                _mask = 0;
                break;
            case 15:
                _mask = (byte)(value & 0x0F);
                break;
        }
    }

    /// <summary>Master clear and the RESET pin: all but the address, count and mode registers.</summary>
    public void Reset()
    {
        _command = 0;
        _request = 0;
        _terminalCount = 0;
        _highByte = false;
        _mask = 0x0F;
    }

    public Dma8237State Capture() => new()
    {
        BaseAddress = [.. _baseAddress],
        BaseCount = [.. _baseCount],
        CurrentAddress = [.. _currentAddress],
        CurrentCount = [.. _currentCount],
        Mode = [.. _mode],
        Command = _command,
        Request = _request,
        Mask = _mask,
        TerminalCount = _terminalCount,
        HighByte = _highByte,
    };

    public void Restore(Dma8237State state)
    {
        bool valid = state.BaseAddress.Length == 4 && state.BaseCount.Length == 4 && state.CurrentAddress.Length == 4 && state.CurrentCount.Length == 4
            && state.Mode.Length == 4 && state.Mode.All(m => (m & 3) == 0) && ((state.Request | state.Mask | state.TerminalCount) & 0xF0) == 0;
        if (!valid)
            throw new InvalidDataException("The DMA controller's snapshot holds a value that an 8237A cannot have.");
        state.BaseAddress.CopyTo(_baseAddress, 0);
        state.BaseCount.CopyTo(_baseCount, 0);
        state.CurrentAddress.CopyTo(_currentAddress, 0);
        state.CurrentCount.CopyTo(_currentCount, 0);
        state.Mode.CopyTo(_mode, 0);
        (_command, _request, _mask, _terminalCount, _highByte) = (state.Command, state.Request, state.Mask, state.TerminalCount, state.HighByte);
    }

    // A write goes to the base and the current register at once, a byte each time.
    private void WriteChannel(uint channel, bool count, byte value)
    {
        ref ushort current = ref (count ? ref _currentCount[channel] : ref _currentAddress[channel]);
        ref ushort start = ref (count ? ref _baseCount[channel] : ref _baseAddress[channel]);
        start = (ushort)(_highByte ? (start & 0x00FF) | (value << 8) : (start & 0xFF00) | value);
        current = start;
        _highByte = !_highByte;
    }

    private static void SetBit(ref byte bits, int bit, bool value)
    {
        bits = (byte)(value ? bits | (1 << bit) : bits & ~(1 << bit));
    }
}
