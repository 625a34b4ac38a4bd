using System.Buffers.Binary;
using Vmm.Core.Memory;

namespace Vmm.Devices.Virtio.Queues;

/// <summary>What came of looking for a buffer.</summary>
internal enum PopResult
{
    /// <summary>Nothing is available.</summary>
    Empty,

    /// <summary>A chain was taken.</summary>
    Taken,

    /// <summary>The driver broke the ring: the device needs a reset.</summary>
    Broken,
}

/// <summary>Where a driver put a ring, and what it negotiated.</summary>
/// <param name="Size">Entries.</param>
/// <param name="Descriptors">Guest address of the descriptor area.</param>
/// <param name="Driver">Guest address of the driver area: available ring, or driver event suppression.</param>
/// <param name="Device">Guest address of the device area: used ring, or device event suppression.</param>
/// <param name="Features">Negotiated features.</param>
internal readonly record struct RingLayout(ushort Size, ulong Descriptors, ulong Driver, ulong Device, ulong Features);

/// <summary>
/// The device's side of a virtqueue in guest memory. One thread at a time pops and switches notifications; one at a time (another
/// perhaps) pushes. Nothing in the ring is trusted; each step is bounded by the ring's size.
/// </summary>
internal abstract class VirtqueueRing
{
    protected const ushort FlagNext = 1;
    protected const ushort FlagWrite = 2;
    protected const ushort FlagIndirect = 4;
    protected const int DescriptorSize = 16;

    private readonly bool _indirect;
    private int _outstanding;

    protected VirtqueueRing(GuestMemory memory, RingLayout layout)
    {
        (Memory, Layout) = (memory, layout);
        _indirect = (layout.Features & VirtioFeatures.IndirectDescriptors) != 0;
        EventIndex = (layout.Features & VirtioFeatures.EventIndex) != 0;
    }

    /// <summary>What was wrong when <see cref="TryPop"/> said <see cref="PopResult.Broken"/>.</summary>
    public string Error { get; private set; } = "";

    protected GuestMemory Memory { get; }

    protected RingLayout Layout { get; }

    protected bool EventIndex { get; }

    protected int Outstanding => Volatile.Read(ref _outstanding);

    /// <summary>Takes the next available buffer.</summary>
    public abstract PopResult TryPop(DescriptorChain chain);

    /// <summary>Gives a buffer back.</summary>
    /// <param name="chain">The chain that was popped.</param>
    /// <param name="written">Bytes written to it.</param>
    /// <returns>Whether the driver wants an interrupt.</returns>
    public abstract bool Push(DescriptorChain chain, uint written);

    /// <summary>Asks the driver not to notify; a hint.</summary>
    public abstract void DisableNotification();

    /// <summary>Asks the driver to notify, and looks once more.</summary>
    /// <returns>Whether a buffer became available meanwhile.</returns>
    public abstract bool EnableNotification();

    /// <summary>The positions in the ring, for a snapshot.</summary>
    public abstract (ushort Available, ushort Used) Positions { get; set; }

    /// <summary>Whether <see cref="Positions"/> can be these.</summary>
    public abstract bool IsValidPosition(ushort available, ushort used);

    protected PopResult Break(string error)
    {
        Error = error;
        return PopResult.Broken;
    }

    protected void AddOutstanding(int n) => Interlocked.Add(ref _outstanding, n);

    // Appends a table of descriptors (virtio 1.2, 2.7.5.3 and 2.8.8). In a split ring they are linked, in a packed one in order.
    protected string? AppendIndirect(DescriptorChain chain, ulong address, uint length, ushort flags, bool linked)
    {
        if (!_indirect)
            return "an indirect descriptor was not negotiated";
        if (linked && (flags & FlagNext) != 0)
            return "an indirect descriptor has a successor";
        if (length == 0 || length % DescriptorSize != 0)
            return "an indirect table has no whole number of descriptors";
        uint count = length / DescriptorSize;
        if (count > DescriptorChain.MaxSegments)
            return "an indirect table is too long";
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        uint index = 0;
        for (uint steps = 0; steps < count; steps++)
        {
            if (!Memory.TryRead(address + index * DescriptorSize, descriptor))
                return "an indirect table lies outside memory";
            ushort tableFlags = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[(linked ? 12 : 14)..]);
            if ((tableFlags & FlagIndirect) != 0)
                return "an indirect table holds an indirect descriptor";
            string? error = chain.Append(
                Memory,
                BinaryPrimitives.ReadUInt64LittleEndian(descriptor),
                BinaryPrimitives.ReadUInt32LittleEndian(descriptor[8..]),
                (tableFlags & FlagWrite) != 0);
            if (error is not null)
                return error;
            if (linked && (tableFlags & FlagNext) == 0)
                return null;
            index = linked ? BinaryPrimitives.ReadUInt16LittleEndian(descriptor[14..]) : index + 1;
            if (linked && index >= count)
                return "an indirect table links outside itself";
        }
        return linked ? "an indirect table loops" : null;
    }

    /// <summary>Whether passing from one index to another passed the event (virtio 1.2, 2.7.10, vring_need_event).</summary>
    protected static bool PassesEvent(ushort eventIndex, ushort after, ushort before) =>
        (ushort)(after - eventIndex - 1) < (ushort)(after - before);
}
