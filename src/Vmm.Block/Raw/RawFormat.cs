using Vmm.Interop;

namespace Vmm.Block.Raw;

/// <summary>
/// A raw image: byte n of the disk is byte n of the file. A file whose length is no multiple of a sector is shown rounded up; the
/// missing bytes read as zero and the file grows when they are written.
/// </summary>
public sealed class RawFormat : IBlockBackend
{
    private const int SectorSize = 512;

    private readonly IBlockBackend _file;

    /// <summary>Makes a raw disk of a protocol, which it owns from now on.</summary>
    public RawFormat(IBlockBackend file)
    {
        _file = file;
        Length = (file.Length + (SectorSize - 1)) & ~(long)(SectorSize - 1);
    }

    /// <inheritdoc/>
    public string Path => _file.Path;

    /// <inheritdoc/>
    public string Description => $"raw image on {_file.Description}";

    /// <summary>Bytes of the disk: the file's length rounded up to 512.</summary>
    public long Length { get; }

    /// <inheritdoc/>
    public bool IsReadOnly => _file.IsReadOnly;

    /// <inheritdoc/>
    public BlockLimits Limits => _file.Limits;

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offset, ReadOnlyMemory<IoBuffer> buffers)
    {
        long length = BufferLength(buffers.Span);
        return IsInside(offset, length) ? _file.ReadAsync(offset, buffers) : Refuse("Reading", offset, length);
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(long offset, ReadOnlyMemory<IoBuffer> buffers, BlockWriteFlags flags = BlockWriteFlags.None)
    {
        long length = BufferLength(buffers.Span);
        return IsInside(offset, length) ? _file.WriteAsync(offset, buffers, flags) : Refuse("Writing", offset, length);
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync() => _file.FlushAsync();

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offset, long length) =>
        IsInside(offset, length) ? _file.DiscardAsync(offset, length) : Refuse("Discarding", offset, length);

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offset, long length, BlockZeroFlags flags = BlockZeroFlags.None) =>
        IsInside(offset, length) ? _file.WriteZeroesAsync(offset, length, flags) : Refuse("Zeroing", offset, length);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _file.DisposeAsync();

    private bool IsInside(long offset, long length) => offset >= 0 && length >= 0 && offset <= Length && length <= Length - offset;

    private ValueTask Refuse(string action, long offset, long length) =>
        ValueTask.FromException(new BlockIoException(Path, $"{action} {length} bytes at {offset}", Errno.EINVAL));

    private static long BufferLength(ReadOnlySpan<IoBuffer> buffers)
    {
        long length = 0;
        foreach (ref readonly var buffer in buffers)
            length += buffer.Length;
        return length;
    }
}
