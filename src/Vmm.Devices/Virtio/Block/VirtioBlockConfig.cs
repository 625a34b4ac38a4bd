using System.Buffers.Binary;
using Vmm.Block;

namespace Vmm.Devices.Virtio.Block;

/// <summary>The configuration registers of a block device (virtio 1.2, 5.2.4, struct virtio_blk_config).</summary>
internal sealed class VirtioBlockConfig
{
    public const int Length = 72;

    /// <summary>Offset of writeback, the one register that a driver writes.</summary>
    public const int Writeback = 32;

    /// <summary>Largest single piece of data in a request, bytes.</summary>
    public const uint SizeMax = 1 << 22;

    private const int MaxDiscardSectors = 1 << 22;

    private readonly byte[] _bytes = new byte[Length];

    public VirtioBlockConfig(IBlockBackend backend, int queues, ushort queueSize)
    {
        var limits = backend.Limits;
        Set64(0, (ulong)backend.Length / 512);
        Set32(8, SizeMax);
        // Header and status take a descriptor each (5.2.4: seg_max counts data only).
        SegMax = (uint)queueSize - 2;
        Set32(12, SegMax);
        Set32(20, (uint)limits.LogicalBlockSize);
        _bytes[24] = (byte)int.Log2(Math.Max(1, limits.PhysicalBlockSize / limits.LogicalBlockSize));
        Set16(26, (ushort)Math.Max(1, limits.PhysicalBlockSize / limits.LogicalBlockSize));
        Set32(28, (uint)(limits.OptimalTransfer / limits.LogicalBlockSize));
        _bytes[Writeback] = 1;
        Set16(34, (ushort)queues);
        Set32(36, MaxDiscardSectors);
        Set32(40, 1);
        Set32(44, (uint)Math.Max(1, limits.DiscardAlignment / 512));
        Set32(48, MaxDiscardSectors);
        Set32(52, 1);
        _bytes[56] = 1;
    }

    /// <summary>Most pieces of data in a request.</summary>
    public uint SegMax { get; }

    /// <summary>Most sectors of a discard or write-zeroes segment.</summary>
    public uint MaxDiscard => MaxDiscardSectors;

    /// <summary>Whether the driver wants a write-back cache.</summary>
    public bool IsWriteback
    {
        get => Volatile.Read(ref _bytes[Writeback]) != 0;
        set => Volatile.Write(ref _bytes[Writeback], value ? (byte)1 : (byte)0);
    }

    public uint Read(int offset, int size)
    {
        uint value = 0;
        for (int i = 0; i < size && offset + i < Length; i++)
            value |= (uint)_bytes[offset + i] << (8 * i);
        return value;
    }

    private void Set16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(offset), value);

    private void Set32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(offset), value);

    private void Set64(int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(_bytes.AsSpan(offset), value);
}
