using Vmm.Core.Memory;

namespace Vmm.Devices.Virtio.Queues;

/// <summary>A packed virtqueue (virtio 1.2, 2.8).</summary>
internal sealed unsafe class PackedRing : VirtqueueRing
{
    private const ushort FlagAvailable = 1 << 7;
    private const ushort FlagUsed = 1 << 15;
    private const ushort EventEnable = 0;
    private const ushort EventDisable = 1;
    private const ushort EventDescriptor = 2;
    private const ushort WrapBit = 1 << 15;

    // SAFETY: Create checked that each area lies whole within guest memory, which outlives the device.
    private readonly byte* _descriptors;
    private readonly ushort* _driverEvent;
    private readonly ushort* _deviceEvent;
    private ushort _nextAvailable;
    private ushort _nextUsed;
    private bool _availableWrap = true;
    private bool _usedWrap = true;

    private PackedRing(GuestMemory memory, RingLayout layout, byte* descriptors, byte* driverEvent, byte* deviceEvent)
        : base(memory, layout)
    {
        _descriptors = descriptors;
        _driverEvent = (ushort*)driverEvent;
        _deviceEvent = (ushort*)deviceEvent;
    }

    /// <summary>Bits 14:0 the slot, bit 15 the wrap counter.</summary>
    public override (ushort Available, ushort Used) Positions
    {
        get => (Position(_nextAvailable, _availableWrap), Position(_nextUsed, _usedWrap));
        set
        {
            (_nextAvailable, _availableWrap) = ((ushort)(value.Available & ~WrapBit), (value.Available & WrapBit) != 0);
            (_nextUsed, _usedWrap) = ((ushort)(value.Used & ~WrapBit), (value.Used & WrapBit) != 0);
        }
    }

    /// <summary>Makes the ring, or null when the areas are misaligned or not in RAM.</summary>
    public static PackedRing? Create(GuestMemory memory, RingLayout layout)
    {
        ulong size = layout.Size;
        if (size is 0 or > 0x8000 || (layout.Descriptors & 15) != 0 || (layout.Driver & 3) != 0 || (layout.Device & 3) != 0)
            return null;
        if (!memory.TryGetPointer(layout.Descriptors, 16 * size, forWrite: true, out byte* descriptors)
            || !memory.TryGetPointer(layout.Driver, 4, forWrite: false, out byte* driverEvent)
            || !memory.TryGetPointer(layout.Device, 4, forWrite: true, out byte* deviceEvent))
            return null;
        return new PackedRing(memory, layout, descriptors, driverEvent, deviceEvent);
    }

    public override bool IsValidPosition(ushort available, ushort used) =>
        (available & ~WrapBit) < Layout.Size && (used & ~WrapBit) < Layout.Size;

    public override PopResult TryPop(DescriptorChain chain)
    {
        if (!IsAvailable(_nextAvailable, _availableWrap))
            return PopResult.Empty;
        chain.Clear();
        int slots = 0;
        ushort slot = _nextAvailable;
        bool more;
        do
        {
            if (Outstanding + ++slots > Layout.Size)
                return Break("more descriptors are available than the ring has");
            byte* descriptor = _descriptors + DescriptorSize * slot;
            ulong address = *(ulong*)descriptor;
            uint length = *(uint*)(descriptor + 8);
            ushort flags = *(ushort*)(descriptor + 14);
            chain.Id = *(ushort*)(descriptor + 12);
            more = (flags & FlagNext) != 0;
            if ((flags & FlagIndirect) != 0 && (more || slots > 1))
                return Break("an indirect descriptor is part of a chain");
            string? error = (flags & FlagIndirect) != 0
                ? AppendIndirect(chain, address, length, flags, linked: false)
                : chain.Append(Memory, address, length, (flags & FlagWrite) != 0);
            if (error is not null)
                return Break(error);
            slot = slot + 1 == Layout.Size ? (ushort)0 : (ushort)(slot + 1);
        }
        while (more);
        chain.Slots = (ushort)slots;
        Advance(ref _nextAvailable, ref _availableWrap, slots);
        AddOutstanding(slots);
        return PopResult.Taken;
    }

    public override bool Push(DescriptorChain chain, uint written)
    {
        byte* descriptor = _descriptors + DescriptorSize * _nextUsed;
        *(uint*)(descriptor + 8) = written;
        *(ushort*)(descriptor + 12) = chain.Id;
        ushort flags = (ushort)((written != 0 ? FlagWrite : 0) | (_usedWrap ? FlagAvailable | FlagUsed : 0));
        ulong address = Layout.Descriptors + (ulong)DescriptorSize * _nextUsed;
        int before = _nextUsed;
        bool wrapBefore = _usedWrap;
        Advance(ref _nextUsed, ref _usedWrap, chain.Slots);
        AddOutstanding(-chain.Slots);
        Volatile.Write(ref *(ushort*)(descriptor + 14), flags);
        Memory.NotifyWritten(address + 8, 8);
        // The descriptor must be seen before the driver's wish is read, or both sides might wait (2.8.21.3).
        Interlocked.MemoryBarrier();
        ushort wish = (ushort)(Volatile.Read(ref _driverEvent[1]) & 3);
        if (wish != EventDescriptor || !EventIndex)
            return wish != EventDisable;
        return PassesEvent(Volatile.Read(ref _driverEvent[0]), before - (wrapBefore == _usedWrap ? 0 : Layout.Size));
    }

    public override void DisableNotification() => SetEvent(0, EventDisable);

    public override bool EnableNotification()
    {
        if (EventIndex)
            SetEvent(Position(_nextAvailable, _availableWrap), EventDescriptor);
        else
            SetEvent(0, EventEnable);
        // The wish must be seen before the descriptor is read again.
        Interlocked.MemoryBarrier();
        return IsAvailable(_nextAvailable, _availableWrap);
    }

    private static ushort Position(ushort slot, bool wrap) => (ushort)(slot | (wrap ? WrapBit : 0));

    private bool PassesEvent(ushort position, int before)
    {
        int slot = position & ~WrapBit;
        if ((position & WrapBit) != 0 != _usedWrap)
            slot -= Layout.Size;
        return PassesEvent((ushort)slot, _nextUsed, (ushort)before);
    }

    // Available when its available bit is the wrap counter and its used bit is not (2.8.1).
    private bool IsAvailable(ushort slot, bool wrap)
    {
        ushort flags = Volatile.Read(ref *(ushort*)(_descriptors + DescriptorSize * slot + 14));
        return (flags & FlagAvailable) != 0 == wrap && (flags & FlagUsed) != 0 != wrap;
    }

    private void Advance(ref ushort slot, ref bool wrap, int count)
    {
        int next = slot + count;
        if (next >= Layout.Size)
        {
            next -= Layout.Size;
            wrap = !wrap;
        }
        slot = (ushort)next;
    }

    private void SetEvent(ushort position, ushort wish)
    {
        _deviceEvent[0] = position;
        Volatile.Write(ref _deviceEvent[1], wish);
        Memory.NotifyWritten(Layout.Device, 4);
    }
}
