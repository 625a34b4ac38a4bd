using Microsoft.Extensions.Logging;
using Vmm.Block;
using Vmm.Core.Memory;
using Vmm.Devices.Virtio.Queues;

namespace Vmm.Devices.Virtio.Block;

/// <summary>
/// The block device (virtio 1.2, 5.2). Every request is asynchronous and as many are in flight as the rings hold; data moves between
/// the backend and guest memory without a copy. An error of the backend becomes VIRTIO_BLK_S_IOERR and a log line; the VM goes on.
/// </summary>
public sealed partial class VirtioBlock : VirtioDevice
{
    private const ushort BlockDevice = 2;
    private const int MaxQueues = 16;
    private const int LoudErrors = 10;

    private readonly ILogger _logger;
    private readonly VirtioBlockConfig _config;
    private readonly Lock _freeLock = new();
    private VirtioBlockRequest? _free;
    private int _errors;

    /// <summary>Makes the device. It does not own the backend: dispose the device first, then the backend.</summary>
    /// <param name="memory">Guest memory.</param>
    /// <param name="backend">The disk.</param>
    /// <param name="options">How it shows itself.</param>
    /// <param name="logger">For messages.</param>
    public VirtioBlock(GuestMemory memory, IBlockBackend backend, VirtioBlockOptions options, ILogger logger)
        : base($"virtio-blk {System.IO.Path.GetFileName(backend.Path)}", BlockDevice, memory, options.Queues, options.QueueSize, logger)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Queues, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Queues, MaxQueues);
        if (!ushort.IsPow2(options.QueueSize) || options.QueueSize is < 16 or > 1024)
            throw new ArgumentException("The queue size must be a power of two from 16 to 1024.", nameof(options));
        (Backend, Id, _logger) = (backend, options.Id, logger);
        _config = new VirtioBlockConfig(backend, options.Queues, options.QueueSize);
    }

    internal IBlockBackend Backend { get; }

    internal string Id { get; }

    internal uint MaxDiscard => _config.MaxDiscard;

    internal override uint PciClassCode => 0x01_80_00;

    internal override ulong DeviceFeatures
    {
        get
        {
            ulong features = VirtioBlockFeatures.SizeMax | VirtioBlockFeatures.SegMax | VirtioBlockFeatures.BlockSize | VirtioBlockFeatures.Flush
                | VirtioBlockFeatures.Topology | VirtioBlockFeatures.ConfigWce;
            if (Queues.Length > 1)
                features |= VirtioBlockFeatures.MultiQueue;
            return features | (Backend.IsReadOnly ? VirtioBlockFeatures.ReadOnly : VirtioBlockFeatures.Discard | VirtioBlockFeatures.WriteZeroes);
        }
    }

    internal override int ConfigLength => VirtioBlockConfig.Length;

    /// <summary>Whether writes may stay in a cache (5.2.5 and 5.2.6.2): as the driver says if it can, else whether it can flush.</summary>
    internal bool IsWriteback => Has(VirtioBlockFeatures.ConfigWce) ? _config.IsWriteback : Has(VirtioBlockFeatures.Flush);

    internal override uint ReadConfig(int offset, int size) => _config.Read(offset, size);

    internal override void WriteConfig(int offset, int size, uint value)
    {
        if (offset == VirtioBlockConfig.Writeback && size == 1 && Has(VirtioBlockFeatures.ConfigWce))
            _config.IsWriteback = value != 0;
    }

    /// <summary>Whether a range of whole sectors lies on the disk.</summary>
    internal bool IsInside(ulong sector, long length)
    {
        ulong sectors = (ulong)Backend.Length / 512;
        return length % 512 == 0 && sector <= sectors && (ulong)length / 512 <= sectors - sector;
    }

    internal void Finish(VirtioBlockRequest request, Virtqueue queue, uint written)
    {
        Complete(queue, request.Chain, written);
        Free(request);
    }

    internal void FinishWithoutStatus(VirtioBlockRequest request, Virtqueue queue)
    {
        Break($"queue {queue.Index}: a block request has no header or no status byte");
        Complete(queue, request.Chain, 0);
        Free(request);
    }

    /// <summary>Logs an error of the backend: the first few, then ever fewer, since a guest can cause any number.</summary>
    internal void ReportError(Exception error)
    {
        int count = Interlocked.Increment(ref _errors);
        if (count <= LoudErrors || int.IsPow2(count))
            LogIoError(Name, error.Message, count);
    }

    private protected override void ProcessQueue(Virtqueue queue)
    {
        while (true)
        {
            var request = Rent();
            if (!TryTake(queue, request.Chain))
            {
                Free(request);
                return;
            }
            if (!request.TryStart(queue))
                return;
        }
    }

    private protected override void OnReset() => _config.IsWriteback = true;

    private protected override byte[] CaptureDevice() => [_config.IsWriteback ? (byte)1 : (byte)0];

    private protected override bool TryRestoreDevice(ReadOnlySpan<byte> state)
    {
        if (state.Length != 1 || state[0] > 1)
            return false;
        _config.IsWriteback = state[0] != 0;
        return true;
    }

    private VirtioBlockRequest Rent()
    {
        lock (_freeLock)
        {
            if (_free is not { } request)
                return new VirtioBlockRequest(this);
            _free = request.Next;
            request.Next = null;
            return request;
        }
    }

    // At most as many requests exist as the rings hold chains, so the list needs no bound of its own.
    private void Free(VirtioBlockRequest request)
    {
        lock (_freeLock)
        {
            request.Next = _free;
            _free = request;
        }
    }

    [LoggerMessage(EventId = 3010, Level = LogLevel.Error, Message = "{Device}: {Error} The guest is told an I/O error (error {Count} of this disk).")]
    private partial void LogIoError(string device, string error, int count);
}
