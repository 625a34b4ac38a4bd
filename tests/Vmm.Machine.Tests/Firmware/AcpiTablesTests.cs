using System.Buffers.Binary;
using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Acpi;

namespace Vmm.Machine.Tests.Firmware;

internal sealed class AcpiTablesTests
{
    private const ulong End = 0x2000_0000;

    private static AcpiTables Create(int cpus) => AcpiTables.CreateBelow(new FirmwareOptions(End, cpus), End);

    [TestCase(1)]
    [TestCase(4)]
    [TestCase(255)]
    [TestCase(256)]
    [TestCase(4096)]
    public void EveryTableAddsUpToZeroAndKeepsToItsPlace(int cpus)
    {
        var tables = Create(cpus);
        Assert.That(tables.End, Is.EqualTo(End));
        ulong previous = tables.Address;
        foreach (var (address, bytes) in tables.Tables)
        {
            string signature = Encoding.ASCII.GetString(bytes, 0, 4);
            Assert.That(address, Is.GreaterThanOrEqualTo(previous), signature);
            Assert.That(address % 64, Is.Zero, signature);
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)), Is.EqualTo(bytes.Length), signature);
            if (signature != "FACS")
                Assert.That(Checksum.Sum(bytes), Is.Zero, signature);
            previous = address + (ulong)bytes.Length;
        }
        Assert.That(previous, Is.LessThanOrEqualTo(End));
    }

    [Test]
    public void RsdpLeadsToEveryTable()
    {
        var tables = Create(2);
        byte[] rsdp = tables.Rsdp;
        Assert.That(Encoding.ASCII.GetString(rsdp, 0, 8), Is.EqualTo("RSD PTR "));
        Assert.That(Checksum.Sum(rsdp.AsSpan(0, 20)), Is.Zero);
        Assert.That(Checksum.Sum(rsdp), Is.Zero);
        Assert.That(rsdp[15], Is.EqualTo(2));
        byte[] xsdt = At(tables, BinaryPrimitives.ReadUInt64LittleEndian(rsdp.AsSpan(24)));
        byte[] rsdt = At(tables, BinaryPrimitives.ReadUInt32LittleEndian(rsdp.AsSpan(16)));
        var fromXsdt = new List<string>();
        for (int i = AcpiTable.HeaderSize; i < xsdt.Length; i += 8)
            fromXsdt.Add(Signature(At(tables, BinaryPrimitives.ReadUInt64LittleEndian(xsdt.AsSpan(i)))));
        var fromRsdt = new List<string>();
        for (int i = AcpiTable.HeaderSize; i < rsdt.Length; i += 4)
            fromRsdt.Add(Signature(At(tables, BinaryPrimitives.ReadUInt32LittleEndian(rsdt.AsSpan(i)))));
        Assert.That(fromXsdt, Is.EqualTo(new[] { "FACP", "APIC", "MCFG", "HPET" }));
        Assert.That(fromRsdt, Is.EqualTo(fromXsdt));
    }

    [Test]
    public void FadtPointsAtFacsAndDsdtAndNamesTheFixedHardware()
    {
        var tables = Create(1);
        byte[] fadt = Find(tables, "FACP");
        Assert.That(fadt, Has.Length.EqualTo(Fadt.Size));
        Assert.That(fadt[8], Is.EqualTo(6));
        Assert.That(Signature(At(tables, BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(36)))), Is.EqualTo("FACS"));
        Assert.That(Signature(At(tables, BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(40)))), Is.EqualTo("DSDT"));
        Assert.That(Signature(At(tables, BinaryPrimitives.ReadUInt64LittleEndian(fadt.AsSpan(140)))), Is.EqualTo("DSDT"));
        Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(fadt.AsSpan(46)), Is.EqualTo(9), "SCI_INT");
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(48)), Is.EqualTo(0xB2), "SMI_CMD");
        Assert.That((fadt[52], fadt[53]), Is.EqualTo((0xF1, 0xF0)), "ACPI_ENABLE, ACPI_DISABLE");
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(56)), Is.EqualTo(0x600), "PM1a_EVT_BLK");
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(64)), Is.EqualTo(0x604), "PM1a_CNT_BLK");
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(76)), Is.EqualTo(0x608), "PM_TMR_BLK");
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(80)), Is.EqualTo(0x620), "GPE0_BLK");
        Assert.That(fadt[92], Is.EqualTo(2), "GPE0_BLK_LEN");
        uint flags = BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(112));
        Assert.That(flags & (1 << 10), Is.Not.Zero, "RESET_REG_SUP");
        Assert.That(flags & (1 << 4), Is.Zero, "PWR_BUTTON: zero says that there is a fixed power button");
        Assert.That(fadt.AsSpan(116, 12).ToArray(), Is.EqualTo(new byte[] { 1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0 }), "RESET_REG");
        Assert.That(fadt[128], Is.EqualTo(6), "RESET_VALUE");
        Assert.That(fadt[148], Is.EqualTo(1), "X_PM1a_EVT_BLK is in I/O space");
        Assert.That(BinaryPrimitives.ReadUInt64LittleEndian(fadt.AsSpan(212)), Is.EqualTo(0x608), "X_PM_TMR_BLK");
    }

    [Test]
    public void MadtUsesX2ApicEntriesFromId255()
    {
        byte[] madt = Find(Create(300), "APIC");
        var counts = new Dictionary<byte, int>();
        for (int i = 44; i < madt.Length; i += madt[i + 1])
            counts[madt[i]] = counts.GetValueOrDefault(madt[i]) + 1;
        Assert.That(counts, Is.EquivalentTo(new Dictionary<byte, int> { [0] = 255, [9] = 45, [1] = 1, [2] = 2, [4] = 1, [10] = 1 }));
    }

    [TestCase(1)]
    [TestCase(4096)]
    public void CompilerAcceptsTheDisassembledTables(int cpus)
    {
        string directory = Directory.CreateTempSubdirectory("vmm-acpi").FullName;
        try
        {
            foreach (var (_, bytes) in Create(cpus).Tables)
            {
                string signature = Signature(bytes);
                if (signature is "RSDT" or "XSDT" or "FACS")
                    continue;
                File.WriteAllBytes(Path.Combine(directory, signature + ".aml"), bytes);
                string text = Iasl(directory, "-d", signature + ".aml");
                Assert.That(text, Does.Not.Contain("Invalid").And.Not.Contain("Error"), signature);
                string compiled = Iasl(directory, "-we", "-oa", "-p", signature + "_out", signature + ".dsl");
                Assert.That(compiled, Does.Contain("0 Errors"), compiled);
                if (signature is "DSDT")
                {
                    // The header has the compiler's name and a new checksum; the AML must be the same to the byte.
                    byte[] again = File.ReadAllBytes(Path.Combine(directory, signature + "_out.aml"));
                    Assert.That(again.AsSpan(36).SequenceEqual(bytes.AsSpan(36)), Is.True, "AML differs from the compiler's");
                }
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Iasl(string directory, params string[] arguments)
    {
        var start = new ProcessStartInfo("iasl", arguments)
        {
            WorkingDirectory = directory,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        try
        {
            using var process = Process.Start(start)!;
            var error = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd() + error.Result;
            process.WaitForExit();
            return output;
        }
        catch (Win32Exception)
        {
            Assert.Ignore("iasl is not installed (Debian: acpica-tools).");
            throw;
        }
    }

    private static string Signature(byte[] table) => Encoding.ASCII.GetString(table, 0, 4);

    private static byte[] At(AcpiTables tables, ulong address) => tables.Tables.Single(t => t.Address == address).Bytes;

    private static byte[] Find(AcpiTables tables, string signature) => tables.Tables.Single(t => Signature(t.Bytes) == signature).Bytes;
}
