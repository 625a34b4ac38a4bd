using Vmm.Block;
using Vmm.Core.Memory;

namespace Vmm.Devices.Virtio.Queues;

/// <summary>
/// One buffer that a driver made available: its readable pieces, then its writable ones, translated to host memory. Reused, so that
/// taking a chain in the steady state allocates nothing.
/// </summary>
internal sealed class DescriptorChain
{
    /// <summary>Most pieces that a chain may have, whatever the ring's size.</summary>
    public const int MaxSegments = 1024;

    private const int LargestSegment = 1 << 30;

    private IoBuffer[] _buffers = new IoBuffer[16];
    private ulong[] _addresses = new ulong[16];
    private int _count;

    /// <summary>Split ring: index of the head descriptor. Packed ring: buffer ID.</summary>
    public ushort Id { get; set; }

    /// <summary>Slots that the chain takes in a packed ring.</summary>
    public ushort Slots { get; set; }

    /// <summary>Pieces that the device reads.</summary>
    public int ReadableCount { get; private set; }

    /// <summary>Pieces that the device writes.</summary>
    public int WritableCount => _count - ReadableCount;

    /// <summary>Bytes of the readable pieces.</summary>
    public long ReadableLength { get; private set; }

    /// <summary>Bytes of the writable pieces.</summary>
    public long WritableLength { get; private set; }

    public ReadOnlyMemory<IoBuffer> Readable => _buffers.AsMemory(0, ReadableCount);

    public ReadOnlyMemory<IoBuffer> Writable => _buffers.AsMemory(ReadableCount, WritableCount);

    public void Clear()
    {
        _count = ReadableCount = 0;
        ReadableLength = WritableLength = 0;
    }

    /// <summary>Appends one descriptor's memory.</summary>
    /// <returns>Null, or what is wrong with it.</returns>
    public unsafe string? Append(GuestMemory memory, ulong address, uint length, bool writable)
    {
        if (length == 0)
            return "a descriptor has length zero";
        if (!writable && WritableCount != 0)
            return "a readable descriptor follows a writable one";
        if (ReadableLength + WritableLength + length > uint.MaxValue)
            return "a chain is longer than 4 GiB";
        if (writable)
            WritableLength += length;
        else
            ReadableLength += length;
        while (length != 0)
        {
            if (!memory.TryFindRegion(address, out var region) || (writable && region.Kind == GuestMemoryKind.Rom))
                return "a descriptor points outside memory";
            int n = (int)Math.Min(Math.Min(length, region.End - address), LargestSegment);
            if (!TryAdd(address, new IoBuffer(region.HostPointer + (nint)(address - region.Address), n), writable))
                return "a chain has too many pieces";
            address += (ulong)n;
            length -= (uint)n;
        }
        return null;
    }

    /// <summary>Takes bytes off the front of the readable pieces, wherever the driver cut them (virtio 1.2, 2.7.4).</summary>
    public bool TryTakeReadable(Span<byte> destination)
    {
        if (ReadableLength < destination.Length)
            return false;
        ReadableLength -= destination.Length;
        int first = 0;
        while (!destination.IsEmpty)
        {
            ref var buffer = ref _buffers[first];
            int n = Math.Min(destination.Length, buffer.Length);
            buffer.Span[..n].CopyTo(destination);
            destination = destination[n..];
            if (n == buffer.Length)
            {
                first++;
                continue;
            }
            buffer = new IoBuffer(buffer.Pointer + n, buffer.Length - n);
            _addresses[first] += (ulong)n;
        }
        Array.Copy(_buffers, first, _buffers, 0, _count - first);
        Array.Copy(_addresses, first, _addresses, 0, _count - first);
        _count -= first;
        ReadableCount -= first;
        return true;
    }

    /// <summary>Takes the last writable byte, where a device puts its status.</summary>
    public bool TryTakeLastWritable(out ulong address)
    {
        address = 0;
        if (WritableCount == 0)
            return false;
        ref var last = ref _buffers[_count - 1];
        WritableLength--;
        address = _addresses[_count - 1] + (ulong)(last.Length - 1);
        if (last.Length == 1)
            _count--;
        else
            last = new IoBuffer(last.Pointer, last.Length - 1);
        return true;
    }

    /// <summary>Copies bytes to the front of the writable pieces, as many as fit, and reports them as written.</summary>
    /// <returns>Bytes written.</returns>
    public int Write(GuestMemory memory, ReadOnlySpan<byte> source)
    {
        int done = 0;
        for (int i = ReadableCount; i < _count && done < source.Length; i++)
        {
            int n = Math.Min(source.Length - done, _buffers[i].Length);
            source.Slice(done, n).CopyTo(_buffers[i].Span);
            memory.NotifyWritten(_addresses[i], (ulong)n);
            done += n;
        }
        return done;
    }

    /// <summary>Reports the writable pieces as written.</summary>
    public void NotifyWritten(GuestMemory memory)
    {
        for (int i = ReadableCount; i < _count; i++)
            memory.NotifyWritten(_addresses[i], (ulong)_buffers[i].Length);
    }

    private bool TryAdd(ulong address, IoBuffer buffer, bool writable)
    {
        if (_count == MaxSegments)
            return false;
        if (_count == _buffers.Length)
        {
            Array.Resize(ref _buffers, _count * 2);
            Array.Resize(ref _addresses, _count * 2);
        }
        _buffers[_count] = buffer;
        _addresses[_count++] = address;
        if (!writable)
            ReadableCount++;
        return true;
    }
}
