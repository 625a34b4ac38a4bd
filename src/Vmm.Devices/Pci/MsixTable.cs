using Vmm.Core.Buses;
using Vmm.Core.Interrupts;

namespace Vmm.Devices.Pci;

/// <summary>
/// MSI-X (PCI Local Bus 3.0, 6.8.2): vectors with a mask and a pending bit each. As a bus device it is the BAR that holds the table
/// at 0 and the pending bit array at <see cref="PbaOffset"/>. Messages leave with no lock held.
/// </summary>
public sealed class MsixTable : IBusDevice
{
    private const int EntrySize = 16;
    private const uint VectorMasked = 1;
    private const ushort ControlFunctionMask = 1 << 14;
    private const ushort ControlEnable = 1 << 15;

    private readonly Lock _lock = new();
    private readonly IMsiSink _sink;
    private readonly uint[] _entries;
    private readonly ulong[] _pending;
    private bool _enabled;
    private bool _masked;
    private bool _busMaster;

    /// <summary>Makes the vectors, all masked.</summary>
    /// <param name="sink">Where messages go.</param>
    /// <param name="vectors">1 to 2048.</param>
    public MsixTable(IMsiSink sink, int vectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vectors, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(vectors, 2048);
        _sink = sink;
        VectorCount = vectors;
        _entries = new uint[vectors * 4];
        _pending = new ulong[(vectors + 63) / 64];
        PbaOffset = (uint)Math.Max(0x800, vectors * EntrySize);
        BarSize = Math.Max(0x1000, System.Numerics.BitOperations.RoundUpToPowerOf2(PbaOffset + (ulong)_pending.Length * 8));
        Reset();
    }

    /// <summary>Vectors.</summary>
    public int VectorCount { get; }

    /// <summary>Offset of the pending bit array in the BAR.</summary>
    public uint PbaOffset { get; }

    /// <summary>Bytes of the BAR.</summary>
    public ulong BarSize { get; }

    /// <summary>Whether MSI-X is enabled: INTx is not used then.</summary>
    public bool Enabled => Volatile.Read(ref _enabled);

    /// <summary>Signals a vector: sends its message, or leaves it pending while masked. Does nothing while MSI-X is disabled.</summary>
    /// <param name="vector">Number of the vector; one that does not exist is ignored.</param>
    public void Signal(int vector)
    {
        MsiMessage message;
        lock (_lock)
        {
            if (!_enabled || (uint)vector >= (uint)VectorCount)
                return;
            if (!CanSend(vector))
            {
                _pending[vector >> 6] |= 1UL << (vector & 63);
                return;
            }
            message = Message(vector);
        }
        _sink.Send(message);
    }

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        lock (_lock)
        {
            ulong value = ReadDword(offset & ~3UL);
            if (size == 8)
                return value | ReadDword((offset & ~3UL) + 4) << 32;
            return (value >> (int)(8 * (offset & 3))) & (ulong.MaxValue >> (64 - 8 * size));
        }
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        // Software uses aligned 32-bit or 64-bit accesses only (6.8.2); of anything else the result is undefined: dropped.
        if (size < 4 || (offset & 3) != 0)
            return;
        lock (_lock)
        {
            WriteDword(offset, (uint)value);
            if (size == 8)
                WriteDword(offset + 4, (uint)(value >> 32));
        }
        SendPending();
    }

    internal bool IsPending(int vector)
    {
        lock (_lock)
            return (_pending[vector >> 6] >> (vector & 63) & 1) != 0;
    }

    internal int AddCapability(PciConfigSpace config, int bar) => config.AddCapability(
        PciRegisters.CapabilityMsix,
        [
            (byte)(VectorCount - 1), (byte)((VectorCount - 1) >> 8),
            (byte)bar, 0, 0, 0,
            (byte)(PbaOffset | (uint)bar), (byte)(PbaOffset >> 8), (byte)(PbaOffset >> 16), 0,
        ],
        [0, (ControlEnable | ControlFunctionMask) >> 8]);

    /// <summary>Takes over the message control register and the bus master bit. The caller calls <see cref="SendPending"/> without its lock.</summary>
    internal void SetControl(ushort control, bool busMaster)
    {
        lock (_lock)
        {
            Volatile.Write(ref _enabled, (control & ControlEnable) != 0);
            _masked = (control & ControlFunctionMask) != 0;
            _busMaster = busMaster;
        }
    }

    internal void SendPending()
    {
        while (TakePending(out var message))
            _sink.Send(message);
    }

    internal void Reset()
    {
        lock (_lock)
        {
            Array.Clear(_entries);
            Array.Clear(_pending);
            for (int i = 0; i < VectorCount; i++)
                _entries[i * 4 + 3] = VectorMasked;
            Volatile.Write(ref _enabled, false);
            _masked = _busMaster = false;
        }
    }

    internal (uint[] Entries, ulong[] Pending) Capture()
    {
        lock (_lock)
            return ((uint[])_entries.Clone(), (ulong[])_pending.Clone());
    }

    internal bool TryRestore(uint[] entries, ulong[] pending)
    {
        if (entries.Length != _entries.Length || pending.Length != _pending.Length)
            return false;
        lock (_lock)
        {
            entries.CopyTo(_entries, 0);
            pending.CopyTo(_pending, 0);
        }
        return true;
    }

    private bool CanSend(int vector) => _busMaster && !_masked && (_entries[vector * 4 + 3] & VectorMasked) == 0;

    private MsiMessage Message(int vector)
    {
        int i = vector * 4;
        return new MsiMessage(_entries[i] | (ulong)_entries[i + 1] << 32, _entries[i + 2]);
    }

    private bool TakePending(out MsiMessage message)
    {
        message = default;
        lock (_lock)
        {
            if (!_enabled || _masked || !_busMaster)
                return false;
            for (int word = 0; word < _pending.Length; word++)
            {
                for (ulong bits = _pending[word]; bits != 0; bits &= bits - 1)
                {
                    int vector = word * 64 + System.Numerics.BitOperations.TrailingZeroCount(bits);
                    if (vector >= VectorCount || !CanSend(vector))
                        continue;
                    _pending[word] &= ~(1UL << (vector & 63));
                    message = Message(vector);
                    return true;
                }
            }
            return false;
        }
    }

    private ulong ReadDword(ulong offset)
    {
        if (offset < (ulong)VectorCount * EntrySize)
            return _entries[offset / 4];
        ulong pending = offset - PbaOffset;
        if (offset >= PbaOffset && pending / 8 < (ulong)_pending.Length)
            return (uint)(_pending[pending / 8] >> (int)(8 * (pending & 4)));
        return 0;
    }

    private void WriteDword(ulong offset, uint value)
    {
        if (offset >= (ulong)VectorCount * EntrySize)
            return;
        _entries[offset / 4] = (offset & 0xC) switch
        {
            0x0 => value & ~3u,
            0xC => value & VectorMasked,
            _ => value,
        };
    }
}
