using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Acpi;

namespace Vmm.Machine.Tests.Firmware;

internal sealed class E820MapTests
{
    private static E820Entry[] Create(ulong memory) => E820Map.Create(
        memory, AcpiTables.CreateBelow(new FirmwareOptions(memory, 4), AddressMap.LowMemorySize(memory)));

    [TestCase(128UL << 20)]
    [TestCase(512UL << 20)]
    [TestCase(3UL << 30)]
    [TestCase(6UL << 30)]
    public void RangesAscendAndCoverAllMemory(ulong memory)
    {
        var map = Create(memory);
        for (int i = 1; i < map.Length; i++)
            Assert.That(map[i].Address, Is.GreaterThanOrEqualTo(map[i - 1].End));
        ulong ram = 0;
        foreach (var entry in map)
        {
            if (entry.Type is E820Type.Ram or E820Type.AcpiData or E820Type.AcpiNvs)
                ram += entry.Size;
        }
        ulong hole = AddressMap.ExtendedMemory - AddressMap.ExtendedBiosDataArea;
        Assert.That(ram, Is.EqualTo(memory - hole));
    }

    [Test]
    public void LargeMemoryContinuesAbove4GiB()
    {
        var map = Create(6UL << 30);
        Assert.That(map[^1], Is.EqualTo(new E820Entry(0x1_0000_0000, 3UL << 30, E820Type.Ram)));
        Assert.That(map.Where(static e => e.Type == E820Type.Ram && e.Address < 0x1_0000_0000).Max(static e => e.End), Is.LessThanOrEqualTo(0xC000_0000));
        Assert.That(AddressMap.Pci64Window(6UL << 30), Is.GreaterThanOrEqualTo(map[^1].End));
    }

    [Test]
    public void SmallMemoryHasNothingAbove4GiB() =>
        Assert.That(Create(3UL << 30).Max(static e => e.End), Is.LessThanOrEqualTo(0x1_0000_0000));

    [Test]
    public void EcamIsReserved() =>
        Assert.That(Create(128UL << 20), Does.Contain(new E820Entry(0xE000_0000, 256UL << 20, E820Type.Reserved)));

    [Test]
    public void UsableEndStopsAtTheLimit()
    {
        var map = Create(512UL << 20);
        Assert.That(E820Map.UsableEndBelow(map, 0x1000_0000), Is.EqualTo(0x1000_0000));
        Assert.That(E820Map.UsableEndBelow(map, 0xFFFF_FFFF), Is.EqualTo(map.Last(static e => e.Type == E820Type.Ram).End));
    }
}
