using System.Buffers.Binary;
using System.Runtime.InteropServices;
using K4os.Compression.LZ4;

namespace Vmm.Machine.Loading;

/// <summary>
/// LZ4's legacy frame format (lz4's doc/lz4_Frame_format.md, "Legacy frame"): a magic number, then blocks of a 32-bit size and
/// compressed data, each up to 8 MiB when unpacked. Buffers are native, so that they go back to the host when the kernel is loaded.
/// </summary>
internal sealed unsafe class Lz4LegacyStream : ForwardStream
{
    private const uint Magic = 0x184C_2102;
    private const int BlockSize = 8 << 20;

    private readonly Stream _source;
    private readonly int _maximumCompressed = LZ4Codec.MaximumOutputSize(BlockSize);
    private byte* _compressed;
    private byte* _block;
    private int _blockLength;
    private int _blockRead;
    private bool _ended;

    public Lz4LegacyStream(Stream source)
    {
        _source = source;
        Span<byte> magic = stackalloc byte[4];
        source.ReadExactly(magic);
        if (BinaryPrimitives.ReadUInt32LittleEndian(magic) != Magic)
            throw new InvalidDataException("Not a legacy LZ4 frame.");
        _compressed = (byte*)NativeMemory.Alloc((nuint)_maximumCompressed);
        _block = (byte*)NativeMemory.Alloc(BlockSize);
    }

    ~Lz4LegacyStream()
    {
        Free();
    }

    public override int Read(Span<byte> buffer)
    {
        if (buffer.IsEmpty)
            return 0;
        ObjectDisposedException.ThrowIf(_block is null, this);
        while (_blockRead == _blockLength)
        {
            if (_ended || !ReadBlock())
                return 0;
        }
        int n = Math.Min(buffer.Length, _blockLength - _blockRead);
        // SAFETY: _blockRead + n does not pass _blockLength, which the decoder bounded by the block's size.
        new ReadOnlySpan<byte>(_block + _blockRead, n).CopyTo(buffer);
        _blockRead += n;
        return n;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _source.Dispose();
            GC.SuppressFinalize(this);
        }
        Free();
        base.Dispose(disposing);
    }

    private bool ReadBlock()
    {
        Span<byte> head = stackalloc byte[4];
        int got = _source.ReadAtLeast(head, 4, throwOnEndOfStream: false);
        if (got == 0)
        {
            _ended = true;
            return false;
        }
        if (got < 4)
            throw new InvalidDataException("The size of an LZ4 block is cut off.");
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(head);
        // Frames may be concatenated: another begins with its magic number.
        if (size == Magic)
            return true;
        if (size > (uint)_maximumCompressed)
            throw new InvalidDataException("An LZ4 block is too large.");
        var source = new Span<byte>(_compressed, (int)size);
        _source.ReadExactly(source);
        int length = LZ4Codec.Decode(source, new Span<byte>(_block, BlockSize));
        if (length < 0)
            throw new InvalidDataException("An LZ4 block is damaged.");
        (_blockLength, _blockRead) = (length, 0);
        return true;
    }

    private void Free()
    {
        NativeMemory.Free(_compressed);
        NativeMemory.Free(_block);
        _compressed = null;
        _block = null;
        _blockLength = _blockRead = 0;
    }
}
