using System.Buffers.Binary;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Loading;

/// <summary>What several boot protocols share: the GDT and the identity page tables.</summary>
internal static class BootStructures
{
    private const ulong PresentWritable = 0b11;
    private const ulong PageSize2M = 1 << 7;
    private const int EntriesPerTable = 512;
    private const int Directories = 4;

    public static void WriteGdt(BootSpace space, bool longMode)
    {
        var writer = new ByteWriter();
        foreach (ulong descriptor in BootEntry.Gdt(longMode))
            writer.U64(descriptor);
        space.Write(AddressMap.BootGdt, writer.Written);
    }

    /// <summary>Maps the first 4 GiB onto themselves with 2 MiB pages (SDM vol. 3, 4.5).</summary>
    public static void WritePageTables(BootSpace space)
    {
        const int TableSize = EntriesPerTable * 8;
        byte[] tables = new byte[TableSize * (2 + Directories)];
        void Set(int table, int entry, ulong value) =>
            BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan((table * TableSize) + (entry * 8)), value);

        Set(0, 0, (AddressMap.BootPageTables + TableSize) | PresentWritable);
        for (int d = 0; d < Directories; d++)
        {
            Set(1, d, (AddressMap.BootPageTables + (ulong)((2 + d) * TableSize)) | PresentWritable);
            for (int e = 0; e < EntriesPerTable; e++)
                Set(2 + d, e, (((ulong)d * EntriesPerTable) + (ulong)e) << 21 | PageSize2M | PresentWritable);
        }
        space.Write(AddressMap.BootPageTables, tables);
    }
}
