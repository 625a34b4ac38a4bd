using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Vmm.Interop;

/// <summary>What a path leads to.</summary>
public enum HostFileKind
{
    /// <summary>A regular file.</summary>
    Regular,

    /// <summary>A block device.</summary>
    BlockDevice,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>Anything else: a pipe, socket or character device.</summary>
    Other,
}

/// <summary>How <see cref="HostFile.Zero"/> makes a range read as zero.</summary>
public enum HostFileZeroMode
{
    /// <summary>fallocate(2) FALLOC_FL_PUNCH_HOLE: frees the blocks.</summary>
    PunchHole,

    /// <summary>fallocate(2) FALLOC_FL_ZERO_RANGE: keeps the blocks allocated.</summary>
    ZeroRange,
}

/// <summary>
/// An open file or block device with positioned, vectored access. Every operation returns an error number (0 is success) or a
/// byte count, negative for an error number; nothing throws on what the system says. Any thread, several at once.
/// </summary>
public sealed unsafe class HostFile : IDisposable
{
    /// <summary>Most vectors that one call takes (IOV_MAX of Linux).</summary>
    public const int MaxVectors = 1024;

    private const int O_RDONLY = 0, O_RDWR = 2, O_NOCTTY = 0x100, O_NONBLOCK = 0x800, O_CLOEXEC = 0x80000;
    private const int F_OFD_GETLK = 36, F_OFD_SETLK = 37;
    private const short F_RDLCK = 0, F_WRLCK = 1, F_UNLCK = 2;
    private const int FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2, FALLOC_FL_ZERO_RANGE = 16;
    private const int AT_EMPTY_PATH = 0x1000;
    private const uint STATX_BASIC_STATS = 0x7FF;
    private const nuint BLKDISCARD = 0x1277, BLKSSZGET = 0x1268, BLKPBSZGET = 0x127B;

    private readonly SafeFileHandle _handle;

    private HostFile(SafeFileHandle handle, HostFileKind kind)
    {
        (_handle, Kind) = (handle, kind);
    }

    /// <summary>What the file is.</summary>
    public HostFileKind Kind { get; }

    /// <summary>Opens an existing file. Never blocks, not even on a pipe.</summary>
    /// <param name="path">Path of the file.</param>
    /// <param name="writable">Open for reading and writing, else for reading only.</param>
    /// <param name="file">The open file, or null.</param>
    /// <returns>0 or the error number.</returns>
    public static int TryOpen(string path, bool writable, out HostFile? file)
    {
        file = null;
        int fd;
        int errno;
        do
        {
            fd = LibCFile.Open(path, (writable ? O_RDWR : O_RDONLY) | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);
            errno = fd < 0 ? Marshal.GetLastPInvokeError() : 0;
        }
        while (errno == Errno.EINTR);
        if (errno != 0)
            return errno;
        var handle = new SafeFileHandle(fd, ownsHandle: true);
        errno = TryGetKind(handle, out var kind);
        if (errno != 0)
        {
            handle.Dispose();
            return errno;
        }
        file = new HostFile(handle, kind);
        return 0;
    }

    /// <summary>Bytes of the file or device now; negative for an error number.</summary>
    public long GetLength()
    {
        const int SEEK_END = 2;
        long length = LibCFile.Seek(_handle, 0, SEEK_END);
        return length < 0 ? -Marshal.GetLastPInvokeError() : length;
    }

    /// <summary>Logical and physical sector size of a block device; false for anything else.</summary>
    public bool TryGetSectorSizes(out int logical, out int physical)
    {
        int l = 0;
        int p = 0;
        bool known = Kind == HostFileKind.BlockDevice
            && LibCFile.DeviceControl(_handle, BLKSSZGET, &l) == 0 && LibCFile.DeviceControl(_handle, BLKPBSZGET, &p) == 0;
        (logical, physical) = (l, p);
        return known;
    }

    /// <summary>Reads once, as preadv(2).</summary>
    /// <returns>Bytes read, 0 at the end of the file, negative for an error number.</returns>
    public nint Read(IoVector* vectors, int count, long offset)
    {
        nint n = LibCFile.ReadVector(_handle, vectors, count, offset);
        return n < 0 ? -Marshal.GetLastPInvokeError() : n;
    }

    /// <summary>Writes once, as pwritev(2).</summary>
    /// <returns>Bytes written, negative for an error number.</returns>
    public nint Write(IoVector* vectors, int count, long offset)
    {
        nint n = LibCFile.WriteVector(_handle, vectors, count, offset);
        return n < 0 ? -Marshal.GetLastPInvokeError() : n;
    }

    /// <summary>Puts what was written onto stable storage, as fdatasync(2).</summary>
    public int DataSync() => RetryInterrupted(static (h, _, _, _) => LibCFile.DataSync(h), 0, 0, 0);

    /// <summary>Makes a range read as zero without writing it, never changing the file's length.</summary>
    public int Zero(HostFileZeroMode mode, long offset, long length)
    {
        int flags = FALLOC_FL_KEEP_SIZE | (mode == HostFileZeroMode.PunchHole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
        return RetryInterrupted(static (h, m, o, l) => LibCFile.Allocate(h, m, o, l), flags, offset, length);
    }

    /// <summary>Tells a block device that a range is no longer needed (BLKDISCARD); what it reads afterwards is undefined.</summary>
    public int DiscardSectors(long offset, long length)
    {
        return RetryInterrupted(
            static (h, _, o, l) =>
            {
                ulong* range = stackalloc ulong[2] { (ulong)o, (ulong)l };
                return LibCFile.DeviceControl(h, BLKDISCARD, range);
            },
            0,
            offset,
            length);
    }

    /// <summary>
    /// Takes or gives back an open-file-description lock (fcntl(2), F_OFD_SETLK) without waiting. Such a lock conflicts between any
    /// two opens of the file, in one process or two.
    /// </summary>
    /// <returns>0, EAGAIN or EACCES when another open holds a conflicting lock, or another error number.</returns>
    public int SetLock(long start, long length, HostFileLock kind)
    {
        short type = kind switch { HostFileLock.Shared => F_RDLCK, HostFileLock.Exclusive => F_WRLCK, _ => F_UNLCK };
        var request = new FileLock { Type = type, Start = start, Length = length };
        return LibCFile.Control(_handle, F_OFD_SETLK, &request) < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    /// <summary>Whether an exclusive lock on a range could be taken now (F_OFD_GETLK).</summary>
    /// <returns>0, EAGAIN when another open holds a lock there, or another error number.</returns>
    public int TestExclusiveLock(long start, long length)
    {
        var request = new FileLock { Type = F_WRLCK, Start = start, Length = length };
        if (LibCFile.Control(_handle, F_OFD_GETLK, &request) < 0)
            return Marshal.GetLastPInvokeError();
        return request.Type == F_UNLCK ? 0 : Errno.EAGAIN;
    }

    /// <summary>Closes the file and gives back its locks.</summary>
    public void Dispose() => _handle.Dispose();

    private static int TryGetKind(SafeFileHandle handle, out HostFileKind kind)
    {
        // struct statx (statx(2)) is 256 bytes; stx_mode is the 16-bit field at offset 28 (0x1C).
        byte* status = stackalloc byte[256];
        kind = HostFileKind.Other;
        if (LibCFile.Statx(handle, "", AT_EMPTY_PATH, STATX_BASIC_STATS, status) < 0)
            return Marshal.GetLastPInvokeError();
        kind = (BinaryPrimitives.ReadUInt16LittleEndian(new ReadOnlySpan<byte>(status + 0x1C, 2)) & 0xF000) switch
        {
            0x8000 => HostFileKind.Regular,
            0x6000 => HostFileKind.BlockDevice,
            0x4000 => HostFileKind.Directory,
            _ => HostFileKind.Other,
        };
        return 0;
    }

    private int RetryInterrupted(Func<SafeFileHandle, int, long, long, int> call, int mode, long offset, long length)
    {
        while (call(_handle, mode, offset, length) < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            if (errno != Errno.EINTR)
                return errno;
        }
        return 0;
    }
}

/// <summary>Kinds of byte-range lock.</summary>
public enum HostFileLock
{
    /// <summary>No lock.</summary>
    None,

    /// <summary>A read lock: several opens may hold it.</summary>
    Shared,

    /// <summary>A write lock: one open holds it.</summary>
    Exclusive,
}
