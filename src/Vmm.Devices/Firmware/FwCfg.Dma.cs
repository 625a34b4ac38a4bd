using System.Buffers.Binary;

namespace Vmm.Devices.Firmware;

public sealed partial class FwCfg
{
    // Bits of the control field of FWCfgDmaAccess; the upper half is the key for Select.
    private const uint DmaError = 0x01;
    private const uint DmaRead = 0x02;
    private const uint DmaSkip = 0x04;
    private const uint DmaSelect = 0x08;
    private const uint DmaWrite = 0x10;

    private const int DescriptorSize = 16;
    private const int ZeroChunk = 4096;

    private static readonly byte[] Zeroes = new byte[ZeroChunk];

    // The register is big-endian: a guest writes its high half to 0x514, then the low half to 0x518, which starts the transfer; or all
    // of it at once with a 64-bit access.
    private void WriteDmaAddress(int offset, int size, ulong value)
    {
        ulong address;
        switch (offset, size)
        {
            case (0, 4):
                lock (_lock)
                    _dmaAddress = (ulong)BinaryPrimitives.ReverseEndianness((uint)value) << 32;
                return;
            case (4, 4):
                lock (_lock)
                {
                    address = _dmaAddress | BinaryPrimitives.ReverseEndianness((uint)value);
                    _dmaAddress = 0;
                }
                break;
            case (0, 8):
                address = BinaryPrimitives.ReverseEndianness(value);
                break;
            default:
                return;
        }
        RunDma(address);
    }

    private void RunDma(ulong descriptor)
    {
        Span<byte> access = stackalloc byte[DescriptorSize];
        Span<byte> result = stackalloc byte[4];
        if (!_memory.TryRead(descriptor, access))
        {
            // There is nowhere to read the request from; the error bit alone may still be told, where that is memory.
            BinaryPrimitives.WriteUInt32BigEndian(result, DmaError);
            _memory.TryWrite(descriptor, result);
            return;
        }
        uint control = BinaryPrimitives.ReadUInt32BigEndian(access);
        uint length = BinaryPrimitives.ReadUInt32BigEndian(access[4..]);
        ulong address = BinaryPrimitives.ReadUInt64BigEndian(access[8..]);
        bool done;
        Action? written = null;
        lock (_lock)
        {
            if ((control & DmaSelect) != 0)
                (_selector, _offset) = ((ushort)(control >> 16), 0);
            done = Transfer(control, length, address, ref written);
        }
        written?.Invoke();
        // A control of zero tells the guest that the operation is over.
        BinaryPrimitives.WriteUInt32BigEndian(result, done ? 0 : DmaError);
        _memory.TryWrite(descriptor, result);
    }

    private bool Transfer(uint control, uint length, ulong address, ref Action? written)
    {
        _items.TryGetValue(_selector, out var item);
        int left = item is null ? 0 : item.Data.Length - (int)Math.Min(_offset, (uint)item.Data.Length);
        // The specification ranks them: read, then write, then skip.
        if ((control & DmaRead) != 0)
            return ReadItem(item, Math.Min(length, (uint)left), length, address);
        if ((control & DmaWrite) != 0)
            return WriteItem(item, left, length, address, ref written);
        if ((control & DmaSkip) != 0)
            _offset += Math.Min(length, (uint)left);
        return true;
    }

    // What is asked for behind the item's end reads as zeroes. The loop ends where guest memory does.
    private bool ReadItem(Item? item, uint available, uint length, ulong address)
    {
        if (available != 0)
        {
            if (!_memory.TryWrite(address, item!.Data.AsSpan((int)_offset, (int)available)))
                return false;
            _offset += available;
        }
        ulong at = address + available;
        for (uint rest = length - available; rest != 0;)
        {
            uint n = Math.Min(rest, ZeroChunk);
            if (!_memory.TryWrite(at, Zeroes.AsSpan(0, (int)n)))
                return false;
            at += n;
            rest -= n;
        }
        return true;
    }

    private bool WriteItem(Item? item, int left, uint length, ulong address, ref Action? written)
    {
        if (item?.OnWritten is null || length > (uint)left)
            return false;
        if (!_memory.TryRead(address, item.Data.AsSpan((int)_offset, (int)length)))
            return false;
        _offset += length;
        written = item.OnWritten;
        return true;
    }
}
