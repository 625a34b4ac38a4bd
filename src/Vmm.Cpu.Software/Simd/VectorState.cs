using System.Buffers.Binary;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Simd;

/// <summary>The x87, SSE and AVX state as a whole: its initial configuration, and the XSAVE image (SDM vol. 1, 13.4).</summary>
internal static unsafe class VectorState
{
    /// <summary>XCR0 and XSTATE_BV: x87.</summary>
    public const ulong X87 = 1;

    /// <summary>XCR0 and XSTATE_BV: XMM registers and MXCSR.</summary>
    public const ulong Sse = 2;

    /// <summary>XCR0 and XSTATE_BV: the upper halves of the YMM registers.</summary>
    public const ulong Avx = 4;

    /// <summary>MXCSR after reset: all exceptions masked.</summary>
    public const uint DefaultMxcsr = 0x1F80;

    /// <summary>The bits of MXCSR that may be set.</summary>
    public const uint MxcsrMask = 0xFFFF;

    /// <summary>Size of the standard-format image with AVX.</summary>
    public const int XsaveSize = 832;

    /// <summary>Where the header lies in an XSAVE image.</summary>
    public const int HeaderOffset = 512;

    /// <summary>Where the AVX component lies in a standard-format image.</summary>
    public const int AvxOffset = 576;

    private const int LegacyX87Size = 160;
    private const int XmmOffset = 160;
    private const ushort DefaultFcw = 0x37F;

    /// <summary>The components that this processor can have in XCR0.</summary>
    public static ulong SupportedXcr0 => HostFeatures.Avx ? X87 | Sse | Avx : X87 | Sse;

    /// <summary>Copies the state out in the standard XSAVE format.</summary>
    public static void Capture(CpuContext* c, Span<byte> xsave832)
    {
        xsave832[..XsaveSize].Clear();
        new ReadOnlySpan<byte>(&c->Fx, LegacyX87Size).CopyTo(xsave832);
        BinaryPrimitives.WriteUInt32LittleEndian(xsave832[24..], c->Mxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(xsave832[28..], MxcsrMask);
        byte* vectors = &c->Vectors.First;
        for (int i = 0; i < 16; i++)
        {
            new ReadOnlySpan<byte>(vectors + (i * 32), 16).CopyTo(xsave832[(XmmOffset + (i * 16))..]);
            new ReadOnlySpan<byte>(vectors + (i * 32) + 16, 16).CopyTo(xsave832[(AvxOffset + (i * 16))..]);
        }
        ulong inUse = InUse(c) | (c->Mxcsr != DefaultMxcsr ? Sse : 0);
        BinaryPrimitives.WriteUInt64LittleEndian(xsave832[HeaderOffset..], inUse & SupportedXcr0);
    }

    /// <summary>Takes the state from a standard XSAVE image.</summary>
    /// <returns>False when the image is not a state that this processor can be in; then nothing was changed.</returns>
    public static bool TryRestore(CpuContext* c, ReadOnlySpan<byte> xsave832)
    {
        if (xsave832.Length < XsaveSize)
            return false;
        ulong present = BinaryPrimitives.ReadUInt64LittleEndian(xsave832[HeaderOffset..]);
        uint mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(xsave832[24..]);
        if ((present & ~SupportedXcr0) != 0 || BinaryPrimitives.ReadUInt64LittleEndian(xsave832[(HeaderOffset + 8)..]) != 0)
            return false;
        if ((present & (Sse | Avx)) != 0 && (mxcsr & ~MxcsrMask) != 0)
            return false;
        Reset(c);
        if ((present & X87) != 0)
        {
            xsave832[..24].CopyTo(new Span<byte>(&c->Fx, 24));
            xsave832[32..LegacyX87Size].CopyTo(new Span<byte>(&c->Fx.First + 32, LegacyX87Size - 32));
            X87State.Normalize(c);
        }
        if ((present & (Sse | Avx)) != 0)
            c->Mxcsr = mxcsr;
        byte* vectors = &c->Vectors.First;
        for (int i = 0; i < 16; i++)
        {
            if ((present & Sse) != 0)
                xsave832.Slice(XmmOffset + (i * 16), 16).CopyTo(new Span<byte>(vectors + (i * 32), 16));
            if ((present & Avx) != 0)
                xsave832.Slice(AvxOffset + (i * 16), 16).CopyTo(new Span<byte>(vectors + (i * 32) + 16, 16));
        }
        return true;
    }

    /// <summary>Puts x87, SSE and AVX state and MXCSR into their initial configuration, as at power-on with XCR0 = 1 and FNINIT done.</summary>
    public static void Reset(CpuContext* c)
    {
        ResetX87(c);
        new Span<byte>(&c->Vectors, sizeof(VectorFile)).Clear();
        c->Mxcsr = DefaultMxcsr;
    }

    /// <summary>Puts the x87 state into its initial configuration. The rest of the image stays what FXRSTOR accepts.</summary>
    public static void ResetX87(CpuContext* c)
    {
        byte* fx = &c->Fx.First;
        new Span<byte>(fx, sizeof(FxImage)).Clear();
        *(ushort*)fx = DefaultFcw;
        *(uint*)(fx + 24) = DefaultMxcsr;
    }

    /// <summary>XINUSE: the components that are not in their initial configuration (MXCSR does not count, SDM vol. 1, 13.6).</summary>
    public static ulong InUse(CpuContext* c)
    {
        byte* fx = &c->Fx.First;
        bool x87 = *(ulong*)fx != DefaultFcw || new ReadOnlySpan<byte>(fx + 8, 16).ContainsAnyExcept((byte)0)
            || new ReadOnlySpan<byte>(fx + 32, 128).ContainsAnyExcept((byte)0);
        ulong low = 0;
        ulong high = 0;
        ulong* vectors = (ulong*)&c->Vectors;
        for (int i = 0; i < 64; i += 4)
        {
            low |= vectors[i] | vectors[i + 1];
            high |= vectors[i + 2] | vectors[i + 3];
        }
        return (x87 ? X87 : 0) | (low != 0 ? Sse : 0) | (high != 0 ? Avx : 0);
    }
}
