using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Vmm.Block;
using Vmm.Devices.Virtio.Queues;

namespace Vmm.Devices.Virtio.Block;

/// <summary>One request of a driver (virtio 1.2, 5.2.6), from its chain to its status. Reused.</summary>
internal sealed class VirtioBlockRequest
{
    private const int HeaderLength = 16;
    private const int RangeLength = 16;
    private const int IdLength = 20;
    private const uint UnmapFlag = 1;

    private readonly VirtioBlock _device;
    private readonly Action _finish;
    private ValueTaskAwaiter _pending;
    private Virtqueue? _queue;
    private ulong _statusAddress;
    private VirtioBlockRequestType _type;

    public VirtioBlockRequest(VirtioBlock device)
    {
        _device = device;
        _finish = Finish;
    }

    /// <summary>Next in the list of free requests; guarded by the device.</summary>
    public VirtioBlockRequest? Next { get; set; }

    public DescriptorChain Chain { get; } = new();

    /// <summary>Starts the request whose chain was taken off a queue.</summary>
    /// <returns>False when the chain is no request at all; it then was given back.</returns>
    public bool TryStart(Virtqueue queue)
    {
        _queue = queue;
        Span<byte> header = stackalloc byte[HeaderLength];
        if (!Chain.TryTakeReadable(header) || !Chain.TryTakeLastWritable(out _statusAddress))
        {
            _device.FinishWithoutStatus(this, queue);
            return false;
        }
        _type = (VirtioBlockRequestType)BinaryPrimitives.ReadUInt32LittleEndian(header);
        ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        switch (_type)
        {
            case VirtioBlockRequestType.In:
                StartTransfer(sector, Chain.WritableLength, write: false);
                break;
            case VirtioBlockRequestType.Out:
                StartTransfer(sector, Chain.ReadableLength, write: true);
                break;
            case VirtioBlockRequestType.Flush:
                Await(_device.Backend.FlushAsync());
                break;
            case VirtioBlockRequestType.GetId:
                WriteId();
                break;
            case VirtioBlockRequestType.Discard or VirtioBlockRequestType.WriteZeroes:
                StartRange();
                break;
            default:
                Finish(VirtioBlockStatus.Unsupported, 0);
                break;
        }
        return true;
    }

    private void StartTransfer(ulong sector, long length, bool write)
    {
        if ((write && _device.Backend.IsReadOnly) || length == 0 || !_device.IsInside(sector, length))
        {
            Finish(VirtioBlockStatus.IoError, 0);
            return;
        }
        long offset = (long)sector * 512;
        Await(write
            ? _device.Backend.WriteAsync(offset, Chain.Readable, _device.IsWriteback ? BlockWriteFlags.None : BlockWriteFlags.ForceUnitAccess)
            : _device.Backend.ReadAsync(offset, Chain.Writable));
    }

    // struct virtio_blk_discard_write_zeroes: sector, num_sectors, flags (5.2.6).
    private void StartRange()
    {
        bool discard = _type == VirtioBlockRequestType.Discard;
        Span<byte> range = stackalloc byte[RangeLength];
        if (!_device.Has(discard ? VirtioBlockFeatures.Discard : VirtioBlockFeatures.WriteZeroes))
        {
            Finish(VirtioBlockStatus.Unsupported, 0);
            return;
        }
        if (Chain.ReadableLength != RangeLength || !Chain.TryTakeReadable(range))
        {
            Finish(VirtioBlockStatus.IoError, 0);
            return;
        }
        ulong sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
        uint sectors = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(range[12..]);
        // "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP for discard with unmap, or if an unknown flag is set" (5.2.6.2).
        if ((flags & ~UnmapFlag) != 0 || (discard && flags != 0))
            Finish(VirtioBlockStatus.Unsupported, 0);
        else if (sectors > _device.MaxDiscard || !_device.IsInside(sector, sectors * 512L))
            Finish(VirtioBlockStatus.IoError, 0);
        else if (discard)
            Await(_device.Backend.DiscardAsync((long)sector * 512, sectors * 512L));
        else
            Await(_device.Backend.WriteZeroesAsync((long)sector * 512, sectors * 512L, ZeroFlags(flags)));
    }

    private BlockZeroFlags ZeroFlags(uint flags) =>
        ((flags & UnmapFlag) != 0 ? BlockZeroFlags.MayUnmap : 0) | (_device.IsWriteback ? 0 : BlockZeroFlags.ForceUnitAccess);

    private void WriteId()
    {
        if (Chain.WritableLength < IdLength)
        {
            Finish(VirtioBlockStatus.IoError, 0);
            return;
        }
        Span<byte> id = stackalloc byte[IdLength];
        id.Clear();
        System.Text.Encoding.ASCII.TryGetBytes(_device.Id, id, out _);
        Finish(VirtioBlockStatus.Ok, (uint)Chain.Write(_device.Memory, id));
    }

    private void Await(ValueTask task)
    {
        _pending = task.GetAwaiter();
        if (_pending.IsCompleted)
            Finish();
        else
            _pending.UnsafeOnCompleted(_finish);
    }

    private void Finish()
    {
        var status = VirtioBlockStatus.Ok;
        try
        {
            _pending.GetResult();
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            status = VirtioBlockStatus.IoError;
            _device.ReportError(error);
        }
        _pending = default;
        uint written = 0;
        if (_type == VirtioBlockRequestType.In)
        {
            // A failed read may have written parts; observers must know them all.
            Chain.NotifyWritten(_device.Memory);
            written = (uint)Chain.WritableLength;
        }
        Finish(status, written);
    }

    private void Finish(VirtioBlockStatus status, uint written)
    {
        // The status byte is in RAM: the chain was checked when it was taken.
        _device.Memory.TryWrite(_statusAddress, [(byte)status]);
        _device.Finish(this, _queue!, written + 1);
    }
}
