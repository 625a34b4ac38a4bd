using System.Buffers.Binary;
using Vmm.Core.Memory;
using Vmm.Devices.Virtio;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>One piece of a buffer, as a driver describes it.</summary>
internal readonly record struct Piece(ulong Address, uint Length, bool Writable);

/// <summary>The driver's side of a virtqueue, written for these tests from the specification alone.</summary>
internal abstract class TestQueue(VirtioTestMachine machine, int index, ushort size, ulong area, ulong features)
{
    protected VirtioTestMachine Machine => machine;

    protected GuestMemory Memory => machine.Memory;

    public int Index => index;

    public ushort Size => size;

    public ulong Descriptors => area;

    public ulong Driver => area + 0x4000;

    public ulong Device => area + 0x8000;

    protected ulong IndirectArea => area + 0xC000;

    protected bool EventIndex => (features & VirtioFeatures.EventIndex) != 0;

    public static TestQueue Create(VirtioTestMachine machine, int index, ushort size, ulong area, ulong features) =>
        (features & VirtioFeatures.RingPacked) != 0
            ? new PackedTestQueue(machine, index, size, area, features)
            : new SplitTestQueue(machine, index, size, area, features);

    public void Enable(ushort vector = 0xFFFF)
    {
        Memory.TryWrite(area, new byte[0x10000]);
        machine.EnableQueue(index, size, Descriptors, Driver, Device, vector);
    }

    /// <summary>Makes a buffer available and returns its ID.</summary>
    public abstract int Add(Piece[] pieces, bool indirect = false);

    /// <summary>Takes a used buffer, if there is one.</summary>
    public abstract (int Id, uint Written)? TakeUsed();

    /// <summary>Whether the device asked for a notification of what was just added.</summary>
    public abstract bool WantsKick { get; }

    public void Kick() => machine.Kick(index);

    public (int Id, uint Written) WaitUsed()
    {
        (int, uint)? used = null;
        VirtioTestMachine.Wait(() => (used = TakeUsed()) is not null, "a used buffer");
        return used!.Value;
    }

    public (int Id, uint Written) Run(params Piece[] pieces)
    {
        Add(pieces);
        Kick();
        return WaitUsed();
    }

    protected ushort Read16(ulong address)
    {
        Span<byte> bytes = stackalloc byte[2];
        Memory.TryRead(address, bytes);
        return BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    protected uint Read32(ulong address)
    {
        Span<byte> bytes = stackalloc byte[4];
        Memory.TryRead(address, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    protected void Write16(ulong address, ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        Memory.TryWrite(address, bytes);
        Thread.MemoryBarrier();
    }

    protected void WriteDescriptor(ulong address, ulong pointer, uint length, ushort third, ushort fourth)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, pointer);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], length);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[12..], third);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[14..], fourth);
        Memory.TryWrite(address, bytes);
        Thread.MemoryBarrier();
    }
}

/// <summary>Split (2.7). Descriptors are handed out in turn, so at most Size pieces are outstanding.</summary>
internal sealed class SplitTestQueue(VirtioTestMachine machine, int index, ushort size, ulong area, ulong features)
    : TestQueue(machine, index, size, area, features)
{
    private int _nextDescriptor;
    private ushort _available;
    private ushort _used;

    public override bool WantsKick => EventIndex
        ? (ushort)(_available - Read16(Device + 4 + 8UL * Size) - 1) < 1
        : (Read16(Device) & 1) == 0;

    public override int Add(Piece[] pieces, bool indirect = false)
    {
        int head = _nextDescriptor;
        if (indirect)
        {
            ulong table = IndirectArea + (ulong)head * 256;
            for (int i = 0; i < pieces.Length; i++)
                WriteDescriptor(table + 16 * (ulong)i, pieces[i].Address, pieces[i].Length, Flags(pieces, i), (ushort)(i + 1));
            WriteDescriptor(Descriptors + 16 * (ulong)head, table, 16 * (uint)pieces.Length, 4, 0);
            _nextDescriptor = (head + 1) % Size;
        }
        else
        {
            for (int i = 0; i < pieces.Length; i++)
            {
                int next = (_nextDescriptor + 1) % Size;
                WriteDescriptor(Descriptors + 16 * (ulong)_nextDescriptor, pieces[i].Address, pieces[i].Length, Flags(pieces, i), (ushort)next);
                _nextDescriptor = next;
            }
        }
        Publish((ushort)head);
        return head;
    }

    /// <summary>Makes any descriptor index available.</summary>
    public void Publish(ushort head)
    {
        Write16(Driver + 4 + 2UL * (uint)(_available % Size), head);
        Write16(Driver + 2, ++_available);
    }

    public void SetAvailableIndex(ushort value) => Write16(Driver + 2, value);

    public void SetDescriptor(int descriptor, ulong address, uint length, ushort flags, ushort next) =>
        WriteDescriptor(Descriptors + 16 * (ulong)descriptor, address, length, flags, next);

    public override (int Id, uint Written)? TakeUsed()
    {
        if (Read16(Device + 2) == _used)
            return null;
        Thread.MemoryBarrier();
        ulong element = Device + 4 + 8UL * (uint)(_used++ % Size);
        if (EventIndex)
            Write16(Driver + 4 + 2UL * Size, _used);
        return ((int)Read32(element), Read32(element + 4));
    }

    private static ushort Flags(Piece[] pieces, int i) => (ushort)((i + 1 < pieces.Length ? 1 : 0) | (pieces[i].Writable ? 2 : 0));
}

/// <summary>Packed (2.8).</summary>
internal sealed class PackedTestQueue(VirtioTestMachine machine, int index, ushort size, ulong area, ulong features)
    : TestQueue(machine, index, size, area, features)
{
    private readonly Dictionary<int, int> _slots = [];
    private int _next;
    private bool _wrap = true;
    private int _nextUsed;
    private bool _usedWrap = true;
    private ushort _nextId;

    public int NextSlot => _next;

    public ushort AvailableFlags => (ushort)(_wrap ? 0x80 : 0x8000);

    public override bool WantsKick => Read16(Device + 2) switch
    {
        0 => true,
        1 => false,
        _ => true,
    };

    public override int Add(Piece[] pieces, bool indirect = false)
    {
        ushort id = _nextId++;
        Piece[] slots = pieces;
        ushort extra = 0;
        if (indirect)
        {
            ulong table = IndirectArea + (ulong)_next * 256;
            for (int i = 0; i < pieces.Length; i++)
                WriteDescriptor(table + 16 * (ulong)i, pieces[i].Address, pieces[i].Length, 0, (ushort)(pieces[i].Writable ? 2 : 0));
            slots = [new Piece(table, 16 * (uint)pieces.Length, false)];
            extra = 4;
        }
        ulong first = Descriptors + 16 * (ulong)_next;
        ushort firstFlags = 0;
        for (int i = 0; i < slots.Length; i++)
        {
            ushort flags = (ushort)(AvailableFlags | extra | (i + 1 < slots.Length ? 1 : 0) | (slots[i].Writable ? 2 : 0));
            // The first descriptor becomes available last (2.8.6).
            ushort now = i == 0 ? (ushort)(flags ^ 0x8080) : flags;
            if (i == 0)
                firstFlags = flags;
            WriteDescriptor(Descriptors + 16 * (ulong)_next, slots[i].Address, slots[i].Length, id, now);
            Advance(ref _next, ref _wrap, 1);
        }
        _slots[id] = slots.Length;
        Write16(first + 14, firstFlags);
        return id;
    }

    public void SetDescriptor(int slot, ulong address, uint length, ushort id, ushort flags) =>
        WriteDescriptor(Descriptors + 16 * (ulong)slot, address, length, id, flags);

    public override (int Id, uint Written)? TakeUsed()
    {
        ulong descriptor = Descriptors + 16 * (ulong)_nextUsed;
        ushort flags = Read16(descriptor + 14);
        if ((flags & 0x80) != 0 != _usedWrap || (flags & 0x8000) != 0 != _usedWrap)
            return null;
        Thread.MemoryBarrier();
        int id = Read16(descriptor + 12);
        uint written = Read32(descriptor + 8);
        Advance(ref _nextUsed, ref _usedWrap, _slots[id]);
        _slots.Remove(id);
        if (EventIndex)
        {
            Write16(Driver, (ushort)(_nextUsed | (_usedWrap ? 0x8000 : 0)));
            Write16(Driver + 2, 2);
        }
        return (id, written);
    }

    private void Advance(ref int slot, ref bool wrap, int count)
    {
        slot += count;
        if (slot >= Size)
        {
            slot -= Size;
            wrap = !wrap;
        }
    }
}
