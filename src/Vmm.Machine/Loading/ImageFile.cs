using Microsoft.Win32.SafeHandles;
using Vmm.Core.Lifecycle;
using Vmm.Interop;

namespace Vmm.Machine.Loading;

/// <summary>A source of bytes by offset.</summary>
internal interface IImageReader
{
    /// <summary>What to call it in a message: option and path.</summary>
    string Name { get; }

    /// <summary>Fills a span.</summary>
    /// <exception cref="VmmException">The bytes are not there, cannot be read, or lie before what was read already.</exception>
    void ReadAt(long offset, Span<byte> destination);
}

/// <summary>
/// A file that the guest is booted from, kept open so that a reset loads what the start loaded, even when the path was replaced since.
/// </summary>
internal sealed class ImageFile : IImageReader, IDisposable
{
    private readonly SafeFileHandle _handle;

    private ImageFile(string name, string path, SafeFileHandle handle, long length)
    {
        (Name, Path, _handle, Length) = (name, path, handle, length);
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>The path as it was given.</summary>
    public string Path { get; }

    /// <summary>Bytes of the file.</summary>
    public long Length { get; }

    /// <summary>Opens a file.</summary>
    /// <param name="option">The option that named it, for messages.</param>
    /// <param name="path">Its path.</param>
    /// <exception cref="VmmException">It does not exist, cannot be read, is not a file, or is empty.</exception>
    public static ImageFile Open(string option, string path)
    {
        string name = $"{option} {path}";
        SafeFileHandle? handle = null;
        try
        {
            if (Directory.Exists(path))
                throw new VmmException($"{name}: this is a directory; give a file.");
            // Opening a FIFO or a device could block or have effects.
            if (File.Exists(path) && !FileTypes.IsRegularFile(path))
                throw new VmmException($"{name}: this is a FIFO, a socket or a device; give a regular file.");
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            long length = RandomAccess.GetLength(handle);
            if (length == 0)
                throw new VmmException($"{name}: the file is empty; give another.");
            return new ImageFile(name, path, handle, length);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new VmmException($"{name}: no such file; check the path.", e);
        }
        catch (UnauthorizedAccessException e)
        {
            handle?.Dispose();
            throw new VmmException($"{name}: permission to read it is denied; change its mode or run as a user who may read it.", e);
        }
        catch (Exception e) when (e is IOException or ArgumentException or NotSupportedException)
        {
            handle?.Dispose();
            throw new VmmException($"{name}: cannot be opened: {e.Message.TrimEnd('.')}; give a regular file.", e);
        }
        catch
        {
            handle?.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void ReadAt(long offset, Span<byte> destination)
    {
        if (offset < 0 || destination.Length > Length - offset)
            throw new VmmException($"{Name}: the file is truncated: {Length} bytes where {(ulong)offset + (ulong)destination.Length} are needed; fetch it again.");
        int done = 0;
        while (done < destination.Length)
        {
            int n = ReadSome(offset + done, destination[done..]);
            if (n == 0)
                throw new VmmException($"{Name}: the file became shorter while it was read; load it again when it is complete.");
            done += n;
        }
    }

    /// <summary>Reads up to the end of the file.</summary>
    /// <returns>Bytes read; 0 at the end.</returns>
    public int ReadSome(long offset, Span<byte> destination)
    {
        try
        {
            return RandomAccess.Read(_handle, destination, offset);
        }
        catch (IOException e)
        {
            throw new VmmException($"{Name}: reading failed: {e.Message.TrimEnd('.')}; check the disk that it is on.", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();
}

/// <summary>A part of a file as a forward stream.</summary>
internal sealed class ImageFileStream(ImageFile file, long start, long length) : ForwardStream
{
    private long _position;

    public override int Read(Span<byte> buffer)
    {
        int wanted = (int)Math.Min(buffer.Length, length - _position);
        if (wanted <= 0)
            return 0;
        int n = file.ReadSome(start + _position, buffer[..wanted]);
        _position += n;
        return n;
    }
}
