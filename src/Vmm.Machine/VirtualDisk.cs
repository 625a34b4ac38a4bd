using Vmm.Block;

namespace Vmm.Machine;

/// <summary>A disk of a machine.</summary>
/// <param name="Backend">Its contents, opened by the host; the machine disposes it. A read-only backend makes a read-only disk.</param>
/// <param name="Id">What the guest sees as the disk's serial number: at most 20 ASCII characters; may be empty.</param>
public sealed record VirtualDisk(IBlockBackend Backend, string Id = "")
{
    /// <summary>Most characters of <see cref="Id"/> (Virtio 1.2, 5.2.6: VIRTIO_BLK_T_GET_ID).</summary>
    public const int MaximumIdLength = 20;
}
