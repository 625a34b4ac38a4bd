namespace Vmm.Devices.Virtio.Block;

/// <summary>How a <see cref="VirtioBlock"/> shows itself.</summary>
public sealed record VirtioBlockOptions
{
    /// <summary>The serial number that GET_ID reports: up to 20 ASCII characters.</summary>
    public string Id { get; init; } = "";

    /// <summary>Request queues: 1 to 16. One per vCPU spares the driver a lock.</summary>
    public int Queues { get; init; } = 1;

    /// <summary>Entries of each queue: a power of two from 16 to 1024.</summary>
    public ushort QueueSize { get; init; } = 256;
}
