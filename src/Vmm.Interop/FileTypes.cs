using System.Text;
using Tmds.Linux;

namespace Vmm.Interop;

/// <summary>What kind of file a path names.</summary>
public static unsafe class FileTypes
{
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
