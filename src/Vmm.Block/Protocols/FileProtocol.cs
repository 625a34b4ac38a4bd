using Vmm.Core.Lifecycle;
using Vmm.Interop;

namespace Vmm.Block.Protocols;

/// <summary>
/// A file or block device of the host, by positioned vectored system calls on a few threads of its own. Bytes behind the end of the
/// file read as zero, and writing there makes the file longer: a format decides whether that is allowed.
/// </summary>
public sealed unsafe class FileProtocol : IBlockBackend
{
    private const int MaxThreads = 4;
    private const int ZeroBlock = 64 * 1024;

    private readonly HostFile _file;
    private readonly FileWorkers _workers;
    private readonly byte[] _zeroes;
    private volatile bool _punchHoleUnsupported;
    private volatile bool _zeroRangeUnsupported;
    private volatile bool _discardUnsupported;
    private volatile int _flushError;

    private FileProtocol(HostFile file, string path, long length, bool readOnly)
    {
        _file = file;
        _zeroes = GC.AllocateArray<byte>(ZeroBlock, pinned: true);
        (Path, Length, IsReadOnly) = (path, length, readOnly);
        int logical = 512;
        int physical = 4096;
        if (file.TryGetSectorSizes(out int deviceLogical, out int devicePhysical))
            (logical, physical) = (deviceLogical, Math.Max(deviceLogical, devicePhysical));
        Limits = new BlockLimits(1, logical, physical, physical, 0);
        _workers = new FileWorkers($"disk {System.IO.Path.GetFileName(path)}", MaxThreads, Execute);
    }

    /// <inheritdoc/>
    public string Path { get; }

    /// <inheritdoc/>
    public string Description => _file.Kind == HostFileKind.BlockDevice ? $"block device {Path}" : $"file {Path}";

    /// <summary>Bytes of the file when it was opened.</summary>
    public long Length { get; }

    /// <inheritdoc/>
    public bool IsReadOnly { get; }

    /// <inheritdoc/>
    public BlockLimits Limits { get; }

    /// <summary>Opens an existing file or block device and locks it against other programs, QEMU included.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="readOnly">Open for reading; several readers may share it.</param>
    /// <exception cref="VmmException">It cannot be opened or is in use; the message is one line and says what to do.</exception>
    public static FileProtocol Open(string path, bool readOnly)
    {
        int errno = HostFile.TryOpen(path, !readOnly, out var file);
        if (errno != 0)
            throw OpenError(path, readOnly, errno);
        try
        {
            if (file!.Kind == HostFileKind.Directory)
                throw OpenError(path, readOnly, Errno.EISDIR);
            if (file.Kind == HostFileKind.Other)
                throw new VmmException($"Cannot open disk '{path}': it is neither a regular file nor a block device. Give a disk image as path=.");
            errno = ImageLock.TryTake(file, !readOnly);
            if (errno != 0 && !ImageLock.IsUnsupported(errno))
                throw LockError(path, readOnly, errno);
            long length = file.GetLength();
            if (length < 0)
                throw OpenError(path, readOnly, (int)-length);
            return new FileProtocol(file, path, length, readOnly);
        }
        catch
        {
            file!.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offset, ReadOnlyMemory<IoBuffer> buffers) => _workers.Submit(FileOperationKind.Read, offset, 0, buffers);

    /// <inheritdoc/>
    public ValueTask WriteAsync(long offset, ReadOnlyMemory<IoBuffer> buffers, BlockWriteFlags flags = BlockWriteFlags.None) =>
        _workers.Submit(FileOperationKind.Write, offset, 0, buffers, forceUnitAccess: (flags & BlockWriteFlags.ForceUnitAccess) != 0);

    /// <inheritdoc/>
    public ValueTask FlushAsync() => _workers.Submit(FileOperationKind.Flush, 0, 0);

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offset, long length) => _workers.Submit(FileOperationKind.Discard, offset, length);

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offset, long length, BlockZeroFlags flags = BlockZeroFlags.None) => _workers.Submit(
        FileOperationKind.WriteZeroes,
        offset,
        length,
        forceUnitAccess: (flags & BlockZeroFlags.ForceUnitAccess) != 0,
        mayUnmap: (flags & BlockZeroFlags.MayUnmap) != 0);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _workers.Stop();
        _file.Dispose();
        return ValueTask.CompletedTask;
    }

    private static VmmException OpenError(string path, bool readOnly, int errno)
    {
        string advice = errno switch
        {
            Errno.ENOENT => "Create the image or correct path=.",
            Errno.EISDIR => "Give the path of a disk image or block device, not of a directory.",
            Errno.EACCES or Errno.EPERM when readOnly => "Make it readable for this user.",
            Errno.EACCES or Errno.EPERM or Errno.EROFS => "Make it writable for this user, or add 'readonly' to the disk.",
            Errno.EBUSY => "Unmount it, or end the program that uses it.",
            _ => "Check path=.",
        };
        return new VmmException($"Cannot open disk '{path}' for {(readOnly ? "reading" : "writing")}: {Errno.Describe(errno)}. {advice}");
    }

    private static VmmException LockError(string path, bool readOnly, int errno)
    {
        if (errno != Errno.EAGAIN)
            return new VmmException($"Cannot lock disk '{path}': {Errno.Describe(errno)}. Put the image on a file system with locks.");
        string advice = readOnly
            ? "Stop the VM that writes to it first."
            : "Stop the VM that uses it first, or give each VM an image of its own.";
        return new VmmException($"Cannot open disk '{path}': it is locked by another process. {advice}");
    }

    private void Execute(FileOperation operation)
    {
        int errno;
        try
        {
            errno = Run(operation);
        }
        catch (ObjectDisposedException error)
        {
            operation.Fail(error);
            return;
        }
        if (errno == 0)
            operation.Succeed();
        else
            operation.Fail(new BlockIoException(Path, Describe(operation), errno));
    }

    private int Run(FileOperation operation)
    {
        if (IsReadOnly && operation.Kind is not (FileOperationKind.Read or FileOperationKind.Flush))
            return Errno.EROFS;
        int errno = operation.Kind switch
        {
            FileOperationKind.Read => Transfer(operation.Offset, operation.Buffers.Span, write: false),
            FileOperationKind.Write => Transfer(operation.Offset, operation.Buffers.Span, write: true),
            FileOperationKind.Flush => Flush(),
            FileOperationKind.Discard => Discard(operation.Offset, operation.Length),
            _ => WriteZeroes(operation.Offset, operation.Length, operation.MayUnmap),
        };
        return errno == 0 && operation.ForceUnitAccess ? Flush() : errno;
    }

    private static string Describe(FileOperation operation) => operation.Kind switch
    {
        FileOperationKind.Read => $"Reading {BufferLength(operation.Buffers.Span)} bytes at {operation.Offset}",
        FileOperationKind.Write => $"Writing {BufferLength(operation.Buffers.Span)} bytes at {operation.Offset}",
        FileOperationKind.Flush => "Flushing",
        FileOperationKind.Discard => $"Discarding {operation.Length} bytes at {operation.Offset}",
        _ => $"Zeroing {operation.Length} bytes at {operation.Offset}",
    };

    private static long BufferLength(ReadOnlySpan<IoBuffer> buffers)
    {
        long length = 0;
        foreach (ref readonly var buffer in buffers)
            length += buffer.Length;
        return length;
    }

    // Reads or writes it all: a short transfer goes on where it stopped, whatever piece that is in.
    private int Transfer(long offset, ReadOnlySpan<IoBuffer> buffers, bool write)
    {
        // SAFETY: an IoBuffer is laid out as struct iovec; the caller keeps the memory behind the pieces mapped until completion.
        fixed (IoBuffer* first = buffers)
        {
            int index = 0;
            nuint skip = 0;
            while (true)
            {
                while (index < buffers.Length && skip == (nuint)first[index].Length)
                    (index, skip) = (index + 1, 0);
                if (index == buffers.Length)
                    return 0;
                nint n = TransferOnce((IoVector*)first + index, buffers.Length - index, skip, offset, write);
                if (n == -Errno.EINTR || n == -Errno.EAGAIN)
                    continue;
                if (n < 0)
                    return (int)-n;
                if (n == 0)
                    return write ? Errno.ENOSPC : ZeroRest(buffers[index..], skip);
                offset += n;
                skip += (nuint)n;
                while (index < buffers.Length && skip >= (nuint)first[index].Length)
                {
                    skip -= (nuint)first[index].Length;
                    index++;
                }
            }
        }
    }

    private nint TransferOnce(IoVector* vectors, int count, nuint skip, long offset, bool write)
    {
        IoVector rest;
        if (skip != 0)
        {
            rest = new IoVector(vectors->Pointer + (nint)skip, vectors->Length - skip);
            vectors = &rest;
            count = 1;
        }
        count = Math.Min(count, HostFile.MaxVectors);
        return write ? _file.Write(vectors, count, offset) : _file.Read(vectors, count, offset);
    }

    // Behind the end of the file everything is zero.
    private static int ZeroRest(ReadOnlySpan<IoBuffer> buffers, nuint skip)
    {
        foreach (ref readonly var buffer in buffers)
        {
            buffer.Span[(int)skip..].Clear();
            skip = 0;
        }
        return 0;
    }

    // After a failed sync the kernel drops its knowledge of the lost pages, so a later success would say nothing: stay failed.
    private int Flush()
    {
        if (_flushError != 0)
            return _flushError;
        if (IsReadOnly)
            return 0;
        int errno = _file.DataSync();
        // EINVAL and EROFS come from special files that need no sync.
        if (errno is Errno.EINVAL or Errno.EROFS)
            return 0;
        if (errno != 0)
            _flushError = errno;
        return errno;
    }

    private int Discard(long offset, long length)
    {
        if (length == 0 || _discardUnsupported)
            return 0;
        int errno = _file.Kind == HostFileKind.BlockDevice
            ? _file.DiscardSectors(offset, length)
            : _file.Zero(HostFileZeroMode.PunchHole, offset, length);
        if (!IsUnsupported(errno))
            return errno;
        _discardUnsupported = true;
        return 0;
    }

    private int WriteZeroes(long offset, long length, bool mayUnmap)
    {
        if (length == 0)
            return 0;
        if (mayUnmap && !_punchHoleUnsupported)
        {
            int errno = _file.Zero(HostFileZeroMode.PunchHole, offset, length);
            if (!IsUnsupported(errno))
                return errno;
            _punchHoleUnsupported = true;
        }
        if (!_zeroRangeUnsupported)
        {
            int errno = _file.Zero(HostFileZeroMode.ZeroRange, offset, length);
            if (!IsUnsupported(errno))
                return errno;
            _zeroRangeUnsupported = true;
        }
        return WriteZeroBytes(offset, length);
    }

    private int WriteZeroBytes(long offset, long length)
    {
        // SAFETY: the array was allocated pinned.
        nint zeroes = (nint)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _zeroes[0]);
        while (length > 0)
        {
            int n = (int)Math.Min(length, ZeroBlock);
            int errno = Transfer(offset, [new IoBuffer(zeroes, n)], write: true);
            if (errno != 0)
                return errno;
            offset += n;
            length -= n;
        }
        return 0;
    }

    private static bool IsUnsupported(int errno) => errno is Errno.EOPNOTSUPP or Errno.ENOSYS or Errno.ENOTTY or Errno.EINVAL;
}
