using System.Globalization;
using System.Text;

namespace Vmm.Hosting.Quickstart;

/// <summary>
/// Writes a cpio archive in the "newc" format that Linux unpacks as an initramfs (Documentation/driver-api/early-userspace/
/// buffer-format.rst of the kernel). Everything belongs to root; times are zero, so that equal input gives equal bytes.
/// </summary>
internal sealed class CpioWriter : IDisposable
{
    private const uint TypeDirectory = 0x4000;
    private const uint TypeRegular = 0x8000;
    private const uint TypeLink = 0xA000;
    private const uint TypeCharacter = 0x2000;

    private readonly Stream _output;
    private readonly HashSet<string> _directories = [];
    private uint _inode = 1;
    private long _written;

    internal CpioWriter(Stream output)
    {
        _output = output;
    }

    /// <summary>Adds a directory and those above it, once.</summary>
    internal void AddDirectory(string path, uint permissions = 0x1ED)
    {
        int slash = path.LastIndexOf('/');
        if (slash > 0)
            AddDirectory(path[..slash]);
        if (_directories.Add(path))
            AddEntry(path, TypeDirectory | permissions, []);
    }

    /// <summary>Adds a file, and the directories above it.</summary>
    internal void AddFile(string path, ReadOnlySpan<byte> content, bool executable = false)
    {
        AddParent(path);
        AddEntry(path, TypeRegular | (executable ? 0x1EDu : 0x1A4u), content);
    }

    /// <summary>Adds a text file, and the directories above it.</summary>
    internal void AddText(string path, string content, bool executable = false) => AddFile(path, Encoding.UTF8.GetBytes(content), executable);

    /// <summary>Adds a symbolic link.</summary>
    internal void AddLink(string path, string target)
    {
        AddParent(path);
        AddEntry(path, TypeLink | 0x1FF, Encoding.UTF8.GetBytes(target));
    }

    /// <summary>Adds a character device. The kernel needs <c>/dev/console</c> before anything can mount devtmpfs.</summary>
    internal void AddCharacterDevice(string path, uint major, uint minor)
    {
        AddParent(path);
        AddEntry(path, TypeCharacter | 0x180, [], major, minor);
    }

    /// <summary>Writes the trailer.</summary>
    public void Dispose()
    {
        AddEntry("TRAILER!!!", 0, []);
        _output.Flush();
    }

    private void AddParent(string path)
    {
        int slash = path.LastIndexOf('/');
        if (slash > 0)
            AddDirectory(path[..slash]);
    }

    private void AddEntry(string path, uint mode, ReadOnlySpan<byte> content, uint major = 0, uint minor = 0)
    {
        byte[] name = Encoding.UTF8.GetBytes(path);
        StringBuilder header = new("070701", 110);
        ReadOnlySpan<uint> fields =
        [
            _inode++, mode, 0, 0, (mode & TypeDirectory) != 0 && (mode & TypeRegular) == 0 ? 2u : 1u, 0, (uint)content.Length,
            0, 0, major, minor, (uint)name.Length + 1, 0,
        ];
        foreach (uint field in fields)
            header.Append(field.ToString("X8", CultureInfo.InvariantCulture));
        Write(Encoding.ASCII.GetBytes(header.ToString()));
        Write(name);
        Write([0]);
        Pad();
        Write(content);
        Pad();
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        _output.Write(bytes);
        _written += bytes.Length;
    }

    private void Pad() => Write("\0\0\0"u8[..(int)(-_written & 3)]);
}
