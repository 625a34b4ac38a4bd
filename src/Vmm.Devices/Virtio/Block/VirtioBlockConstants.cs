namespace Vmm.Devices.Virtio.Block;

/// <summary>Feature bits of the block device (virtio 1.2, 5.2.3).</summary>
internal static class VirtioBlockFeatures
{
    public const ulong SizeMax = 1UL << 1;
    public const ulong SegMax = 1UL << 2;
    public const ulong ReadOnly = 1UL << 5;
    public const ulong BlockSize = 1UL << 6;
    public const ulong Flush = 1UL << 9;
    public const ulong Topology = 1UL << 10;
    public const ulong ConfigWce = 1UL << 11;
    public const ulong MultiQueue = 1UL << 12;
    public const ulong Discard = 1UL << 13;
    public const ulong WriteZeroes = 1UL << 14;
}

/// <summary>Request types (virtio 1.2, 5.2.6).</summary>
internal enum VirtioBlockRequestType : uint
{
    In = 0,
    Out = 1,
    Flush = 4,
    GetId = 8,
    Discard = 11,
    WriteZeroes = 13,
}

/// <summary>Request status (virtio 1.2, 5.2.6).</summary>
internal enum VirtioBlockStatus : byte
{
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}
