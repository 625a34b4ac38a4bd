using System.Buffers.Binary;
using System.Text;

namespace Vmm.Machine.Firmware;

/// <summary>Appends little-endian values; what firmware tables are written with.</summary>
internal sealed class ByteWriter
{
    private byte[] _bytes = new byte[256];

    /// <summary>Bytes written.</summary>
    public int Length { get; private set; }

    /// <summary>What was written so far.</summary>
    public Span<byte> Written => _bytes.AsSpan(0, Length);

    public ByteWriter U8(byte value)
    {
        Reserve(1)[0] = value;
        return this;
    }

    public ByteWriter U16(ushort value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(Reserve(2), value);
        return this;
    }

    public ByteWriter U32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(Reserve(4), value);
        return this;
    }

    public ByteWriter U64(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(Reserve(8), value);
        return this;
    }

    public ByteWriter Bytes(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        return this;
    }

    public ByteWriter Zeros(int count)
    {
        Reserve(count).Clear();
        return this;
    }

    /// <summary>ASCII characters, cut or padded with spaces to <paramref name="width"/>.</summary>
    public ByteWriter Ascii(string text, int width)
    {
        var target = Reserve(width);
        target.Fill((byte)' ');
        Encoding.ASCII.GetBytes(text.AsSpan(0, Math.Min(text.Length, width)), target);
        return this;
    }

    /// <summary>ASCII characters and a NUL.</summary>
    public ByteWriter AsciiZ(string text)
    {
        Encoding.ASCII.GetBytes(text, Reserve(text.Length));
        return U8(0);
    }

    public byte[] ToArray() => Written.ToArray();

    private Span<byte> Reserve(int count)
    {
        if (Length + count > _bytes.Length)
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + count));
        Length += count;
        return _bytes.AsSpan(Length - count, count);
    }
}
