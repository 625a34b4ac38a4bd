namespace Vmm.Block;

/// <summary>How a write is to be done.</summary>
[Flags]
public enum BlockWriteFlags
{
    /// <summary>The data may stay in a cache until the next flush.</summary>
    None = 0,

    /// <summary>Force unit access: the data is on stable storage when the request completes.</summary>
    ForceUnitAccess = 1,
}

/// <summary>How zeroes are to be written.</summary>
[Flags]
public enum BlockZeroFlags
{
    /// <summary>The range stays allocated where the backend can tell the difference.</summary>
    None = 0,

    /// <summary>The range may be deallocated, as long as it reads as zero.</summary>
    MayUnmap = 1,

    /// <summary>Force unit access: the zeroes are on stable storage when the request completes.</summary>
    ForceUnitAccess = 2,
}

/// <summary>What a backend likes and demands of requests. Units are bytes.</summary>
/// <param name="RequestAlignment">Offsets and lengths must be multiples of this; 1 where any will do.</param>
/// <param name="LogicalBlockSize">The block size to show to a guest: 512 or 4096, or larger.</param>
/// <param name="PhysicalBlockSize">Smallest unit that is written without reading first.</param>
/// <param name="DiscardAlignment">Discards of smaller or unaligned ranges free nothing.</param>
/// <param name="OptimalTransfer">The transfer size that is fastest, or 0 where it does not matter.</param>
public readonly record struct BlockLimits(int RequestAlignment, int LogicalBlockSize, int PhysicalBlockSize, int DiscardAlignment, int OptimalTransfer);

/// <summary>
/// Random, asynchronous access to the bytes of a disk: a protocol (file, NBD) or a format on top of one. Many requests may be in
/// flight; there is no shared position and no order between requests in flight. Any thread may call any member.
/// </summary>
/// <remarks>
/// A request always completes, and completes exactly once. It fails with <see cref="BlockIoException"/> and then leaves the
/// contents of its range undefined; the backend stays usable. The returned task may be awaited once only; its continuation may run
/// on a thread of the backend and must not block. Buffers and the memory that lists them belong to the backend until then.
/// A range outside the disk, a misaligned one, and a change of a read-only backend fail with EINVAL or EROFS.
/// Disposing waits for the requests in flight; a request after that fails with <see cref="ObjectDisposedException"/>.
/// </remarks>
public interface IBlockBackend : IAsyncDisposable
{
    /// <summary>Where the data is, for messages: a path or a URL.</summary>
    string Path { get; }

    /// <summary>What this is, for messages: "raw image /srv/disk.img".</summary>
    string Description { get; }

    /// <summary>Bytes of the disk.</summary>
    long Length { get; }

    /// <summary>Whether nothing can be changed.</summary>
    bool IsReadOnly { get; }

    /// <summary>Alignment and preferred sizes.</summary>
    BlockLimits Limits { get; }

    /// <summary>Reads as many bytes as the buffers hold.</summary>
    /// <param name="offset">First byte of the disk.</param>
    /// <param name="buffers">Where the bytes go, in order.</param>
    ValueTask ReadAsync(long offset, ReadOnlyMemory<IoBuffer> buffers);

    /// <summary>Writes as many bytes as the buffers hold.</summary>
    /// <param name="offset">First byte of the disk.</param>
    /// <param name="buffers">Where the bytes are, in order.</param>
    /// <param name="flags">Whether they must be on stable storage at completion.</param>
    ValueTask WriteAsync(long offset, ReadOnlyMemory<IoBuffer> buffers, BlockWriteFlags flags = BlockWriteFlags.None);

    /// <summary>Puts every write that completed before the call onto stable storage.</summary>
    ValueTask FlushAsync();

    /// <summary>Says that a range is no longer needed. A hint: it succeeds where the backend cannot do it. What the range reads is undefined.</summary>
    ValueTask DiscardAsync(long offset, long length);

    /// <summary>Makes a range read as zero.</summary>
    ValueTask WriteZeroesAsync(long offset, long length, BlockZeroFlags flags = BlockZeroFlags.None);
}
