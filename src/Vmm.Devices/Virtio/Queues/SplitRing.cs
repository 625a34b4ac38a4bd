using Vmm.Core.Memory;

namespace Vmm.Devices.Virtio.Queues;

/// <summary>A split virtqueue (virtio 1.2, 2.7).</summary>
internal sealed unsafe class SplitRing : VirtqueueRing
{
    private const ushort NoInterrupt = 1;
    private const ushort NoNotify = 1;

    // SAFETY: Create checked that each area lies whole within guest memory, which outlives the device.
    private readonly byte* _descriptors;
    private readonly ushort* _available;
    private readonly byte* _used;
    private readonly int _mask;
    private ushort _nextAvailable;
    private ushort _nextUsed;

    private SplitRing(GuestMemory memory, RingLayout layout, byte* descriptors, byte* available, byte* used)
        : base(memory, layout)
    {
        _descriptors = descriptors;
        _available = (ushort*)available;
        _used = used;
        _mask = layout.Size - 1;
    }

    public override (ushort Available, ushort Used) Positions
    {
        get => (_nextAvailable, _nextUsed);
        set => (_nextAvailable, _nextUsed) = value;
    }

    private ushort* UsedEvent => _available + 2 + Layout.Size;

    private ushort* AvailableEvent => (ushort*)(_used + 4 + 8 * Layout.Size);

    /// <summary>Makes the ring, or null when the areas are misaligned or not in RAM.</summary>
    public static SplitRing? Create(GuestMemory memory, RingLayout layout)
    {
        ulong size = layout.Size;
        if (size == 0 || (size & (size - 1)) != 0 || (layout.Descriptors & 15) != 0 || (layout.Driver & 1) != 0 || (layout.Device & 3) != 0)
            return null;
        if (!memory.TryGetPointer(layout.Descriptors, 16 * size, forWrite: false, out byte* descriptors)
            || !memory.TryGetPointer(layout.Driver, 6 + 2 * size, forWrite: false, out byte* available)
            || !memory.TryGetPointer(layout.Device, 6 + 8 * size, forWrite: true, out byte* used))
            return null;
        return new SplitRing(memory, layout, descriptors, available, used);
    }

    public override bool IsValidPosition(ushort available, ushort used) => true;

    public override PopResult TryPop(DescriptorChain chain)
    {
        ushort pending = (ushort)(Volatile.Read(ref _available[1]) - _nextAvailable);
        if (pending == 0)
            return PopResult.Empty;
        if (pending > Layout.Size)
            return Break("the available index jumped");
        if (Outstanding >= Layout.Size)
            return Break("more buffers are available than the ring has");
        ushort head = _available[2 + (_nextAvailable & _mask)];
        chain.Clear();
        chain.Id = head;
        if (Walk(chain, head) is string error)
            return Break(error);
        _nextAvailable++;
        AddOutstanding(1);
        return PopResult.Taken;
    }

    public override bool Push(DescriptorChain chain, uint written)
    {
        uint* element = (uint*)(_used + 4 + 8 * (_nextUsed & _mask));
        element[0] = chain.Id;
        element[1] = written;
        Memory.NotifyWritten(Layout.Device + 4 + 8UL * (uint)(_nextUsed & _mask), 8);
        ushort before = _nextUsed++;
        AddOutstanding(-1);
        Volatile.Write(ref *(ushort*)(_used + 2), _nextUsed);
        Memory.NotifyWritten(Layout.Device + 2, 2);
        // The index must be seen before the driver's wish is read, or both sides might wait (2.7.7.1).
        Interlocked.MemoryBarrier();
        return EventIndex
            ? PassesEvent(Volatile.Read(ref *UsedEvent), _nextUsed, before)
            : (Volatile.Read(ref _available[0]) & NoInterrupt) == 0;
    }

    public override void DisableNotification()
    {
        // With event indices the driver stays quiet until the index below is reached.
        if (!EventIndex)
            SetFlags(NoNotify);
    }

    public override bool EnableNotification()
    {
        if (EventIndex)
        {
            Volatile.Write(ref *AvailableEvent, _nextAvailable);
            Memory.NotifyWritten(Layout.Device + 4 + 8UL * Layout.Size, 2);
        }
        else
        {
            SetFlags(0);
        }
        // The wish must be seen before the index is read again (2.7.10).
        Interlocked.MemoryBarrier();
        return Volatile.Read(ref _available[1]) != _nextAvailable;
    }

    private void SetFlags(ushort flags)
    {
        Volatile.Write(ref *(ushort*)_used, flags);
        Memory.NotifyWritten(Layout.Device, 2);
    }

    private string? Walk(DescriptorChain chain, ushort index)
    {
        for (int steps = 0; steps < Layout.Size; steps++)
        {
            if (index >= Layout.Size)
                return "a descriptor index is out of range";
            byte* descriptor = _descriptors + DescriptorSize * index;
            ulong address = *(ulong*)descriptor;
            uint length = *(uint*)(descriptor + 8);
            ushort flags = *(ushort*)(descriptor + 12);
            ushort next = *(ushort*)(descriptor + 14);
            if ((flags & FlagIndirect) != 0)
                return AppendIndirect(chain, address, length, flags, linked: true);
            if (chain.Append(Memory, address, length, (flags & FlagWrite) != 0) is string error)
                return error;
            if ((flags & FlagNext) == 0)
                return null;
            index = next;
        }
        return "a descriptor chain loops";
    }
}
