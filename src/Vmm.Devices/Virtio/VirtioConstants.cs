namespace Vmm.Devices.Virtio;

/// <summary>Device status bits (virtio 1.2, 2.1).</summary>
internal static class VirtioStatus
{
    public const byte Acknowledge = 1;
    public const byte Driver = 2;
    public const byte DriverOk = 4;
    public const byte FeaturesOk = 8;
    public const byte NeedsReset = 64;
    public const byte Failed = 128;
}

/// <summary>Feature bits of every device (virtio 1.2, 6).</summary>
internal static class VirtioFeatures
{
    public const ulong IndirectDescriptors = 1UL << 28;
    public const ulong EventIndex = 1UL << 29;
    public const ulong Version1 = 1UL << 32;
    public const ulong RingPacked = 1UL << 34;
    public const ulong RingReset = 1UL << 40;
}
