using System.Numerics;
using Vmm.Core.Interrupts;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// The I/O APIC's registers and pins (82093AA datasheet 290566, with the EOI register of version 0x20 in the ICH family). Pure: after
/// each change <see cref="TryTakeMessage"/> gives the messages to send.
/// </summary>
internal sealed class IoApicChip
{
    public const int PinCount = 24;

    private const byte RegisterId = 0x00;
    private const byte RegisterVersion = 0x01;
    private const byte RegisterArbitration = 0x02;
    private const byte RegisterRedirection = 0x10;
    private const uint Version = 0x20 | ((PinCount - 1) << 16);

    private const ulong EntryLogical = 1 << 11;
    private const ulong EntryRemoteIrr = 1 << 14;
    private const ulong EntryLevel = 1 << 15;
    private const ulong EntryMasked = 1 << 16;
    private const ulong EntryWritable = 0xFF00_0000_0001_AFFF;

    private readonly ulong[] _entries = new ulong[PinCount];
    private uint _lines;
    private uint _pending;
    private uint _id;
    private byte _select;

    public IoApicChip() => Reset();

    public void Reset()
    {
        _entries.AsSpan().Fill(EntryMasked);
        _pending = 0;
        _id = 0;
        _select = 0;
    }

    /// <summary>Drives a pin. True is asserted; the board and the guest agree about polarity.</summary>
    public void SetPin(int pin, bool asserted)
    {
        uint bit = 1u << pin;
        bool rising = asserted && (_lines & bit) == 0;
        _lines = asserted ? _lines | bit : _lines & ~bit;
        ulong entry = _entries[pin];
        if (IsLevel(entry))
            UpdateLevel(pin);
        else if (rising && (entry & EntryMasked) == 0)
            _pending |= bit; // An edge on a masked pin is lost (82093AA, 3.2.4, bit 16).
    }

    /// <summary>EOI of a vector, by a broadcast or the EOI register: level pins that are still asserted interrupt again.</summary>
    public void EndOfInterrupt(byte vector)
    {
        for (int pin = 0; pin < PinCount; pin++)
        {
            ulong entry = _entries[pin];
            if ((byte)entry != vector || (entry & EntryRemoteIrr) == 0)
                continue;
            _entries[pin] = entry & ~EntryRemoteIrr;
            UpdateLevel(pin);
        }
    }

    /// <summary>The next message to send, if any.</summary>
    public bool TryTakeMessage(out MsiMessage message)
    {
        if (_pending == 0)
        {
            message = default;
            return false;
        }
        int pin = BitOperations.TrailingZeroCount(_pending);
        _pending &= _pending - 1;
        ulong entry = _entries[pin];
        bool level = IsLevel(entry);
        if (level)
            _entries[pin] = entry | EntryRemoteIrr;
        ulong address = 0xFEE00000 | ((entry >> 56) << 12) | ((entry & EntryLogical) != 0 ? 4UL : 0);
        uint data = (uint)entry & 0x7FF;
        if (level)
            data |= 0xC000;
        message = new MsiMessage(address, data);
        return true;
    }

    /// <summary>IOREGSEL.</summary>
    public byte Select
    {
        get => _select;
        set => _select = value;
    }

    /// <summary>Reads the selected register through IOWIN.</summary>
    public uint ReadWindow()
    {
        switch (_select)
        {
            case RegisterId:
            case RegisterArbitration:
                return _id << 24;
            case RegisterVersion:
                return Version;
            default:
                int pin = (_select - RegisterRedirection) >> 1;
                if (_select < RegisterRedirection || pin >= PinCount)
                    return 0;
                ulong entry = _entries[pin];
                return (uint)((_select & 1) != 0 ? entry >> 32 : entry);
        }
    }

    /// <summary>Writes the selected register through IOWIN.</summary>
    public void WriteWindow(uint value)
    {
        if (_select == RegisterId)
        {
            _id = (value >> 24) & 0xF;
            return;
        }
        int pin = (_select - RegisterRedirection) >> 1;
        if (_select < RegisterRedirection || pin >= PinCount)
            return;
        ulong entry = _entries[pin];
        ulong merged = (_select & 1) != 0
            ? (entry & 0xFFFFFFFF) | ((ulong)value << 32)
            : (entry & ~0xFFFFFFFFUL) | value;
        merged = (merged & EntryWritable) | (entry & EntryRemoteIrr);
        // Turning an entry to edge forgets remote IRR: how software without an EOI register ends an interrupt of its own accord.
        if ((merged & EntryLevel) == 0)
            merged &= ~EntryRemoteIrr;
        _entries[pin] = merged;
        UpdateLevel(pin);
    }

    public IoApicState Capture() => new([.. _entries], _lines, _id, _select);

    public void Restore(IoApicState state)
    {
        if (state.Entries.Length != PinCount || state.Id > 0xF || state.Lines >= 1u << PinCount)
            throw new InvalidDataException("The I/O APIC's saved state is not one that it can have.");
        for (int i = 0; i < PinCount; i++)
            _entries[i] = state.Entries[i] & (EntryWritable | EntryRemoteIrr);
        (_lines, _id, _select, _pending) = (state.Lines, state.Id, state.Select, 0);
    }

    // NMI, INIT, SMI and ExtINT are edges whatever bit 15 says (82093AA, 3.2.4, bits 10:8).
    private static bool IsLevel(ulong entry) => (entry & EntryLevel) != 0 && ((entry >> 8) & 7) <= 1;

    private void UpdateLevel(int pin)
    {
        ulong entry = _entries[pin];
        bool deliver = IsLevel(entry) && (entry & (EntryMasked | EntryRemoteIrr)) == 0 && (_lines >> pin & 1) != 0;
        if (deliver)
            _pending |= 1u << pin;
        else if (IsLevel(entry))
            _pending &= ~(1u << pin);
    }
}

/// <summary>State of an I/O APIC.</summary>
public sealed record IoApicState(System.Collections.Immutable.ImmutableArray<ulong> Entries, uint Lines, uint Id, byte Select);
