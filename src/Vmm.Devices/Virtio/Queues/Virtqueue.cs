using Vmm.Core.Memory;

namespace Vmm.Devices.Virtio.Queues;

/// <summary>What a snapshot holds of a queue.</summary>
/// <param name="Size">Entries.</param>
/// <param name="Enabled">Whether the driver enabled it.</param>
/// <param name="Descriptors">Guest address of the descriptor area.</param>
/// <param name="Driver">Guest address of the driver area.</param>
/// <param name="Device">Guest address of the device area.</param>
/// <param name="Vector">MSI-X vector, or 0xFFFF.</param>
/// <param name="Available">Position in the available ring.</param>
/// <param name="Used">Position in the used ring.</param>
public sealed record VirtqueueState(
    ushort Size,
    bool Enabled,
    ulong Descriptors,
    ulong Driver,
    ulong Device,
    ushort Vector,
    ushort Available,
    ushort Used);

/// <summary>
/// A virtqueue: the registers by which the driver places it, and its ring once enabled. The registers and counters are guarded by the
/// device's lock; the ring has one popping thread and <see cref="Push"/> takes a lock of its own.
/// </summary>
internal sealed class Virtqueue(int index, ushort queueSizeMax)
{
    public const ushort NoVector = 0xFFFF;

    private readonly Lock _pushLock = new();

    public int Index => index;

    public ushort MaxSize { get; } = queueSizeMax;

    public ushort Size { get; set; } = queueSizeMax;

    public ulong Descriptors { get; set; }

    public ulong Driver { get; set; }

    public ulong Device { get; set; }

    public ushort Vector { get; set; } = NoVector;

    public VirtqueueRing? Ring { get; private set; }

    /// <summary>Chains in flight and threads at work on the queue.</summary>
    public int Active { get; set; }

    /// <summary>The driver asked for a reset that waits for <see cref="Active"/> to become 0.</summary>
    public bool ResetPending { get; set; }

    /// <summary>Takes the ring into use.</summary>
    /// <returns>False when the driver placed it where it cannot be.</returns>
    public bool TryEnable(GuestMemory memory, ulong features)
    {
        var layout = new RingLayout(Size, Descriptors, Driver, Device, features);
        Ring = (features & VirtioFeatures.RingPacked) != 0 ? PackedRing.Create(memory, layout) : SplitRing.Create(memory, layout);
        return Ring is not null;
    }

    /// <summary>Gives a chain back.</summary>
    /// <returns>Whether to interrupt the driver.</returns>
    public bool Push(DescriptorChain chain, uint written)
    {
        lock (_pushLock)
            return Ring!.Push(chain, written);
    }

    public void Reset()
    {
        Ring = null;
        ResetPending = false;
        Size = MaxSize;
        Descriptors = Driver = Device = 0;
        Vector = NoVector;
    }

    public VirtqueueState Capture()
    {
        var (available, used) = Ring?.Positions ?? default;
        return new VirtqueueState(Size, Ring is not null, Descriptors, Driver, Device, Vector, available, used);
    }

    public bool TryRestore(VirtqueueState state, GuestMemory memory, ulong features)
    {
        Reset();
        if (state.Size == 0 || state.Size > MaxSize)
            return false;
        (Size, Descriptors, Driver, Device, Vector) = (state.Size, state.Descriptors, state.Driver, state.Device, state.Vector);
        if (!state.Enabled)
            return true;
        if (!TryEnable(memory, features) || !Ring!.IsValidPosition(state.Available, state.Used))
            return false;
        Ring.Positions = (state.Available, state.Used);
        return true;
    }
}
