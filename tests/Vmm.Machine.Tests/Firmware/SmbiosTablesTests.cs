using System.Buffers.Binary;
using System.ComponentModel;
using System.Diagnostics;
using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Smbios;

namespace Vmm.Machine.Tests.Firmware;

internal sealed class SmbiosTablesTests
{
    private static readonly FirmwareOptions Options = new(6UL << 30, 3, "test");

    [Test]
    public void EntryPointAddsUpToZero()
    {
        byte[] entry = SmbiosTables.EntryPoint(1234);
        Assert.That(entry, Has.Length.EqualTo(SmbiosTables.EntryPointSize));
        Assert.That(Checksum.Sum(entry), Is.Zero);
        Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(entry.AsSpan(12)), Is.EqualTo(1234));
        Assert.That(BinaryPrimitives.ReadUInt64LittleEndian(entry.AsSpan(16)), Is.EqualTo(AddressMap.SmbiosTable));
    }

    [Test]
    public void StructuresHaveTheLengthsOfTheSpecification()
    {
        byte[] table = SmbiosTables.Structures(Options);
        var lengths = new List<(int Type, int Length)>();
        int at = 0;
        while (at < table.Length)
        {
            lengths.Add((table[at], table[at + 1]));
            at += table[at + 1];
            while (table[at] != 0 || table[at + 1] != 0)
                at++;
            at += 2;
        }
        Assert.That(at, Is.EqualTo(table.Length));
        // DSP0134 3.2: 7.1 (26 with extended ROM size), 7.2, 7.4, 7.5, 7.17, 7.18 (40 without the 3.2 additions), 7.20, 7.33, 7.
        Assert.That(lengths, Is.EqualTo(new[]
        {
            (0, 0x1A), (1, 0x1B), (3, 0x16), (4, 0x30), (16, 0x17), (17, 0x28), (19, 0x1F), (19, 0x1F), (32, 0x0B), (127, 4),
        }));
    }

    [Test]
    public void DmidecodeReadsTheTable()
    {
        string directory = Directory.CreateTempSubdirectory("vmm-smbios").FullName;
        try
        {
            // dmidecode's dump format: the entry point with the table's address patched to 32, then the table.
            byte[] table = SmbiosTables.Structures(Options);
            byte[] entry = SmbiosTables.EntryPoint(table.Length);
            BinaryPrimitives.WriteUInt64LittleEndian(entry.AsSpan(16), 32);
            Checksum.Seal(entry, 5);
            string path = Path.Combine(directory, "dump");
            File.WriteAllBytes(path, [.. entry, .. new byte[32 - entry.Length], .. table]);
            string text = Run("dmidecode", "--from-dump", path);
            Assert.That(text, Does.Contain("SMBIOS 3.2.0 present."));
            Assert.That(text, Does.Contain("Core Count: 3"));
            Assert.That(text, Does.Contain("Size: 6 GB"));
            Assert.That(text, Does.Contain("System is a virtual machine"));
            Assert.That(text, Does.Contain("No errors detected"));
            Assert.That(text, Does.Not.Contain("OUT OF SPEC").And.Not.Contain("TRUNCATED").And.Not.Contain("Wrong"));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Run(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return output;
        }
        catch (Win32Exception)
        {
            Assert.Ignore($"{program} is not installed.");
            throw;
        }
    }
}
