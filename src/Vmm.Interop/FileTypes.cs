using System.Text;
using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>What kind of file a path names.</summary>
public static unsafe class FileTypes
{
    private const uint TypeMask = 0xF000; // S_IFMT (inode(7))
    private const uint RegularType = 0x8000; // S_IFREG

    /// <summary>Whether a path, links followed, names a regular file. A path that names nothing does not.</summary>
    public static bool IsRegularFile(string path)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + '\0');
        stat status;
        // SAFETY: the name is terminated and pinned for the call; the kernel fills the structure.
        fixed (byte* p = name)
        {
            if (LibC.stat(p, &status) != 0)
                return false;
        }
        return ((uint)status.st_mode & TypeMask) == RegularType;
    }

    /// <summary>Whether the path itself, no link followed, is a socket.</summary>
    public static bool IsSocket(string path)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + '\0');
        stat status;
        // SAFETY: the name is terminated and pinned for the call; the kernel fills the structure.
        fixed (byte* p = name)
        {
            if (LibC.lstat(p, &status) != 0)
                return false;
        }
        return ((uint)status.st_mode & 0xF000) == 0xC000; // S_IFMT, S_IFSOCK (inode(7))
    }
}
