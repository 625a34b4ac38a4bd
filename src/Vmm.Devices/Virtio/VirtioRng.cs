using Microsoft.Extensions.Logging;
using Vmm.Core.Memory;
using Vmm.Devices.Virtio.Queues;
using Vmm.Interop;

namespace Vmm.Devices.Virtio;

/// <summary>The entropy device (virtio 1.2, 5.4), fed by the host's getrandom.</summary>
public sealed class VirtioRng : VirtioDevice
{
    private const ushort EntropyDevice = 4;
    private const int MaxBytes = 4096;
    private const int HostBytes = 256;

    private readonly DescriptorChain _chain = new();
    private readonly byte[] _bytes = new byte[MaxBytes];

    /// <summary>Makes the device.</summary>
    /// <param name="memory">Guest memory.</param>
    /// <param name="logger">For messages.</param>
    public VirtioRng(GuestMemory memory, ILogger logger)
        : base("virtio-rng", EntropyDevice, memory, queues: 1, queueSize: 64, logger)
    {
    }

    internal override uint PciClassCode => 0x00_FF_00;

    internal override ulong DeviceFeatures => 0;

    internal override int ConfigLength => 0;

    internal override uint ReadConfig(int offset, int size) => 0;

    private protected override void ProcessQueue(Virtqueue queue)
    {
        while (TryTake(queue, _chain))
        {
            // A driver takes what it gets: a part of the buffer will do (5.4.6.2). It must have writable memory only.
            if (_chain.ReadableCount != 0 || _chain.WritableCount == 0)
                Break("queue 0: an entropy request holds no writable memory alone");
            int length = (int)Math.Min(_chain.WritableLength, MaxBytes);
            int filled = 0;
            while (filled < length && HostRandom.TryFill(_bytes.AsSpan(filled, Math.Min(HostBytes, length - filled))))
                filled += Math.Min(HostBytes, length - filled);
            Complete(queue, _chain, (uint)_chain.Write(Memory, _bytes.AsSpan(0, filled)));
        }
    }
}
