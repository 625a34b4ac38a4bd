using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>An 8-byte segment or system descriptor (SDM vol. 3, 3.4.5 and 3.5), or the low half of a 16-byte one.</summary>
/// <param name="Raw">The eight bytes.</param>
internal readonly record struct Descriptor(ulong Raw)
{
    public const int TssAvailable16 = 1;
    public const int Ldt = 2;
    public const int TssBusy16 = 3;
    public const int CallGate16 = 4;
    public const int TaskGate = 5;
    public const int InterruptGate16 = 6;
    public const int TrapGate16 = 7;
    public const int TssAvailable = 9;
    public const int TssBusy = 11;
    public const int CallGate = 12;
    public const int InterruptGate = 14;
    public const int TrapGate = 15;

    /// <summary>Attribute bit: accessed (segments), busy bit is bit 1 of the type (TSS).</summary>
    public const ushort Accessed = 1;

    /// <summary>Attribute bit: code rather than data.</summary>
    public const ushort Code = 8;

    /// <summary>Attribute bit: conforming (code) or expand-down (data).</summary>
    public const ushort Conforming = 4;

    /// <summary>Attribute bit: readable (code) or writable (data).</summary>
    public const ushort ReadWrite = 2;

    /// <summary>Attribute bit S: a code or data segment.</summary>
    public const ushort Segment = 0x10;

    /// <summary>Attribute bit P.</summary>
    public const ushort PresentBit = 0x80;

    /// <summary>Attribute bit L: 64-bit code.</summary>
    public const ushort LongBit = 0x2000;

    /// <summary>Attribute bit D/B.</summary>
    public const ushort DefaultBit = 0x4000;

    /// <summary>Attribute bit G.</summary>
    public const ushort GranularityBit = 0x8000;

    public ushort Attributes => (ushort)((Raw >> 40) & 0xF0FF);

    public int Type => (int)(Raw >> 40) & 15;

    public int Dpl => (int)(Raw >> 45) & 3;

    public bool Present => (Raw & (1UL << 47)) != 0;

    public bool IsSegment => (Raw & (1UL << 44)) != 0;

    public bool IsCode => IsSegment && (Raw & (1UL << 43)) != 0;

    public bool IsConforming => (Raw & (1UL << 42)) != 0;

    public bool IsWritableData => (Attributes & (Segment | Code | ReadWrite)) == (Segment | ReadWrite);

    public bool IsReadable => IsSegment && (Attributes & (Code | ReadWrite)) != Code;

    public bool IsLong => (Raw & (1UL << 53)) != 0;

    public bool IsDefault32 => (Raw & (1UL << 54)) != 0;

    public ulong Base => ((Raw >> 16) & 0xFFFFFF) | ((Raw >> 32) & 0xFF000000);

    public uint Limit
    {
        get
        {
            uint limit = (uint)(Raw & 0xFFFF) | (uint)((Raw >> 32) & 0xF0000);
            return (Raw & (1UL << 55)) != 0 ? (limit << 12) | 0xFFF : limit;
        }
    }

    /// <summary>Selector of a gate.</summary>
    public ushort GateSelector => (ushort)(Raw >> 16);

    /// <summary>Low 32 bits of a gate's offset.</summary>
    public uint GateOffset => (uint)(Raw & 0xFFFF) | (uint)((Raw >> 32) & 0xFFFF0000);

    /// <summary>The segment register that a load of this descriptor gives.</summary>
    public SegmentCache ToCache(ushort selector)
    {
        var cache = new SegmentCache { Base = Base, Limit = Limit, Selector = selector, Attributes = Attributes };
        cache.Flat = Segments.IsFlat(cache) ? 1 : 0;
        return cache;
    }
}
