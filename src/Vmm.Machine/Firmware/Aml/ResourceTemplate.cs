namespace Vmm.Machine.Firmware.Aml;

/// <summary>Resource descriptors (ACPI 6.5, 6.4), in the order in which they are added; the end tag is added last.</summary>
internal sealed class ResourceTemplate
{
    private const byte ResourceTypeMemory = 0;
    private const byte ResourceTypeIo = 1;
    private const byte ResourceTypeBus = 2;

    // General flags (6.4.3.5): minimum and maximum fixed, positive decode, resource producer.
    private const byte FixedRange = 0x0C;

    private readonly ByteWriter _writer = new();

    /// <summary>I/O Port Descriptor with a fixed, 16-bit-decoded range (6.4.2.5).</summary>
    public ResourceTemplate Io(ushort port, byte length)
    {
        _writer.U8(0x47).U8(1).U16(port).U16(port).U8(1).U8(length);
        return this;
    }

    /// <summary>IRQ Descriptor without flags: edge-triggered, active high, exclusive (6.4.2.1).</summary>
    public ResourceTemplate Irq(int irq)
    {
        _writer.U8(0x22).U16((ushort)(1 << irq));
        return this;
    }

    /// <summary>32-Bit Fixed Memory Range Descriptor (6.4.3.4).</summary>
    public ResourceTemplate Memory32Fixed(ulong address, ulong length, bool writable = true)
    {
        _writer.U8(0x86).U16(9).U8(writable ? (byte)1 : (byte)0).U32(checked((uint)address)).U32(checked((uint)length));
        return this;
    }

    /// <summary>Word Address Space Descriptor of bus numbers (6.4.3.5.3).</summary>
    public ResourceTemplate WordBusNumber(ushort first, ushort last) => Word(ResourceTypeBus, 0, first, last);

    /// <summary>Word Address Space Descriptor of I/O ports, the entire range decoded.</summary>
    public ResourceTemplate WordIo(ushort first, ushort last) => Word(ResourceTypeIo, 3, first, last);

    /// <summary>DWord Address Space Descriptor of non-cacheable, writable memory (6.4.3.5.2).</summary>
    public ResourceTemplate DWordMemory(ulong address, ulong length)
    {
        uint first = checked((uint)address);
        _writer.U8(0x87).U16(23).U8(ResourceTypeMemory).U8(FixedRange).U8(1)
            .U32(0).U32(first).U32(checked((uint)(address + length - 1))).U32(0).U32((uint)length);
        return this;
    }

    /// <summary>QWord Address Space Descriptor of prefetchable, writable memory (6.4.3.5.1).</summary>
    public ResourceTemplate QWordMemory(ulong address, ulong length)
    {
        _writer.U8(0x8A).U16(43).U8(ResourceTypeMemory).U8(FixedRange).U8(1 | (3 << 1))
            .U64(0).U64(address).U64(address + length - 1).U64(0).U64(length);
        return this;
    }

    /// <summary>The descriptors and the end tag, whose checksum of 0 counts as valid (6.4.2.9).</summary>
    public byte[] ToArray() => [.. _writer.Written, 0x79, 0x00];

    private ResourceTemplate Word(byte type, byte typeFlags, ushort first, ushort last)
    {
        // A range of all 65,536 has no length in 16 bits; none is used.
        _writer.U8(0x88).U16(13).U8(type).U8(FixedRange).U8(typeFlags)
            .U16(0).U16(first).U16(last).U16(0).U16(checked((ushort)(last - first + 1)));
        return this;
    }
}
