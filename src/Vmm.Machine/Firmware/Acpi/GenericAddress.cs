namespace Vmm.Machine.Firmware.Acpi;

/// <summary>Generic Address Structure (ACPI 6.5, 5.2.3.2).</summary>
internal static class GenericAddress
{
    private const byte SystemMemory = 0;
    private const byte SystemIo = 1;

    /// <summary>Access sizes of table 5.1.</summary>
    public enum Access : byte
    {
        /// <summary>Undefined (legacy).</summary>
        Undefined,

        /// <summary>8 bits.</summary>
        Byte,

        /// <summary>16 bits.</summary>
        Word,

        /// <summary>32 bits.</summary>
        DWord,
    }

    public static ByteWriter Io(this ByteWriter writer, ushort port, int bits, Access access) =>
        writer.U8(SystemIo).U8((byte)bits).U8(0).U8((byte)access).U64(port);

    public static ByteWriter Memory(this ByteWriter writer, ulong address, int bits, Access access) =>
        writer.U8(SystemMemory).U8((byte)bits).U8(0).U8((byte)access).U64(address);

    /// <summary>A block that does not exist.</summary>
    public static ByteWriter NoAddress(this ByteWriter writer) => writer.Zeros(12);
}
