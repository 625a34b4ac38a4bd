using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>
/// What is compressed inside a bzImage, unpacked while it is read: from front to back, but for the first bytes, which are kept.
/// </summary>
internal sealed class PayloadReader : IImageReader, IDisposable
{
    private const int HeadSize = 64 << 10;
    private const int SkipBuffer = 64 << 10;

    private readonly Stream _stream;
    private readonly ulong _limit;
    private readonly byte[] _head;
    private readonly int _headLength;
    private long _position;

    private PayloadReader(string name, string format, Stream stream, ulong limit)
    {
        (Name, Format, _stream, _limit) = (name, format, stream, limit);
        _head = new byte[HeadSize];
        _headLength = Guard(() => _stream.ReadAtLeast(_head, HeadSize, throwOnEndOfStream: false));
        _position = _headLength;
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <summary>The compression's name, for the log.</summary>
    public string Format { get; }

    /// <summary>Opens the payload.</summary>
    /// <param name="file">The bzImage.</param>
    /// <param name="image">Its header.</param>
    /// <param name="memory">Bytes of guest memory; nothing much larger is unpacked.</param>
    /// <returns>Null when there is none, or in a format that only the guest can unpack.</returns>
    /// <exception cref="VmmException">It is cut off or damaged.</exception>
    public static PayloadReader? TryOpen(ImageFile file, BzImage image, ulong memory)
    {
        var (offset, length) = image.Payload;
        if (length < 16)
            return null;
        long start = image.ProtectedModeOffset + offset;
        if (start + length > file.Length)
            throw new VmmException($"{file.Name}: the kernel is truncated: {file.Length} bytes where its header tells of {start + length}; fetch it again.");
        Span<byte> head = stackalloc byte[16];
        file.ReadAt(start, head);
        var format = PayloadFormat.Recognize(head);
        if (format is null)
            return null;
        Stream? stream;
        try
        {
            stream = format.Open(new ImageFileStream(file, start, length - format.TrailerSize));
        }
        catch (Exception e) when (e is not (VmmException or OutOfMemoryException))
        {
            throw Damaged(file.Name, format.Name, e);
        }
        return stream is null ? null : new PayloadReader(file.Name, format.Name, stream, Math.Max(memory * 2, 1UL << 26));
    }

    /// <summary>Copies the first bytes, as many as there are; the rest becomes zero.</summary>
    public void Peek(Span<byte> destination)
    {
        destination.Clear();
        int n = Math.Min(destination.Length, _headLength);
        _head.AsSpan(0, n).CopyTo(destination);
    }

    /// <inheritdoc/>
    public void ReadAt(long offset, Span<byte> destination)
    {
        if ((ulong)offset + (ulong)destination.Length > _limit)
            throw new VmmException($"{Name}: the kernel inside is larger than the guest's memory; give more --memory.");
        if (offset < _headLength)
        {
            int n = (int)Math.Min(destination.Length, _headLength - offset);
            _head.AsSpan((int)offset, n).CopyTo(destination);
            destination = destination[n..];
            offset += n;
        }
        if (destination.IsEmpty)
            return;
        Skip(offset - _position);
        ReadExactly(destination);
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();

    private void Skip(long count)
    {
        if (count < 0)
            throw new VmmException($"{Name}: the segments of the kernel inside overlap; use --boot-protocol linux64.");
        byte[] buffer = new byte[Math.Min(count, SkipBuffer)];
        while (count > 0)
        {
            int n = (int)Math.Min(count, buffer.Length);
            ReadExactly(buffer.AsSpan(0, n));
            count -= n;
        }
    }

    private unsafe void ReadExactly(Span<byte> destination)
    {
        // SAFETY: the lambda runs within this call, while the span's memory is pinned.
        fixed (byte* start = destination)
        {
            byte* p = start;
            int length = destination.Length;
            int n = Guard(() => _stream.ReadAtLeast(new Span<byte>(p, length), length, throwOnEndOfStream: false));
            _position += n;
            if (n < length)
                throw new VmmException($"{Name}: the {Format}-compressed kernel inside ends early; fetch it again.");
        }
    }

    // Decompressors report damage by whatever exception they come across; all of them mean the same here.
    private int Guard(Func<int> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is not (VmmException or OutOfMemoryException))
        {
            throw Damaged(Name, Format, e);
        }
    }

    private static VmmException Damaged(string name, string format, Exception e) =>
        new($"{name}: the {format}-compressed kernel inside is damaged; fetch it again.", e);
}
