using System.Runtime.InteropServices;
using Vmm.Interop;

namespace Vmm.Block;

/// <summary>
/// One piece of native memory in a scatter-gather request, guest memory for instance. Whoever makes it keeps the memory mapped
/// until the request completes.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly unsafe struct IoBuffer
{
    // Laid out as struct iovec, so that a request goes to preadv(2) as it is.
    private readonly IoVector _vector;

    /// <summary>Describes a piece of memory.</summary>
    /// <param name="pointer">Address of the first byte.</param>
    /// <param name="length">Bytes; not negative.</param>
    public IoBuffer(nint pointer, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        _vector = new IoVector(pointer, (nuint)length);
    }

    /// <summary>Address of the first byte.</summary>
    public nint Pointer => _vector.Pointer;

    /// <summary>Bytes.</summary>
    public int Length => (int)_vector.Length;

    /// <summary>The memory as a span.</summary>
    // SAFETY: the maker of the buffer vouches for Length bytes at Pointer until the request completes.
    public Span<byte> Span => new((void*)Pointer, Length);
}
