using Vmm.Interop;

namespace Vmm.Block.Protocols;

/// <summary>
/// The byte-range locks by which QEMU keeps two programs from using one image (QEMU block/file-posix.c: RAW_LOCK_PERM_BASE,
/// RAW_LOCK_SHARED_BASE; docs/system/images "image locking"). For each permission that a user has, it holds a shared
/// lock on byte 100+i; for each that it does not grant to others, on byte 200+i. It may go on if nobody refuses what it has, and
/// nobody has what it refuses. The locks vanish with the open file.
/// </summary>
internal static class ImageLock
{
    private const long PermissionBase = 100;
    private const long RefusalBase = 200;

    // Bit numbers of BLK_PERM_* (QEMU include/block/block-common.h).
    private const int ConsistentRead = 0;
    private const int Write = 1;
    private const int Resize = 3;

    /// <summary>Takes the locks of a reader, or of the only writer.</summary>
    /// <returns>0, EAGAIN when another program uses the image in a way that excludes this one, or another error number.</returns>
    public static int TryTake(HostFile file, bool writer)
    {
        int errno = Take(file, PermissionBase + ConsistentRead);
        if (errno == 0 && writer)
            errno = Take(file, PermissionBase + Write);
        if (errno == 0)
            errno = Take(file, RefusalBase + Write);
        if (errno == 0)
            errno = Take(file, RefusalBase + Resize);
        // First take, then look: of two that start at once at least one sees the other.
        if (errno == 0)
            errno = Test(file, RefusalBase + ConsistentRead);
        if (errno == 0 && writer)
            errno = Test(file, RefusalBase + Write);
        if (errno == 0)
            errno = Test(file, PermissionBase + Write);
        if (errno == 0)
            errno = Test(file, PermissionBase + Resize);
        return errno;
    }

    /// <summary>Whether an error number says that the file system knows no such locks, not that the image is in use.</summary>
    public static bool IsUnsupported(int errno) => errno is Errno.EINVAL or Errno.ENOSYS or Errno.EOPNOTSUPP or Errno.ENOLCK;

    private static int Take(HostFile file, long offset) => Normalize(file.SetLock(offset, 1, HostFileLock.Shared));

    // A lock of this very open never conflicts with a test through it, so own locks need no exception.
    private static int Test(HostFile file, long offset) => Normalize(file.TestExclusiveLock(offset, 1));

    private static int Normalize(int errno) => errno == Errno.EACCES ? Errno.EAGAIN : errno;
}
