using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Aml;

namespace Vmm.Machine.Tests.Firmware.Aml;

/// <summary>Encodings as the ACPI specification's grammar gives them (ACPI 6.5, 20.2).</summary>
internal sealed class AmlBuilderTests
{
    [TestCase(0UL, "00")]
    [TestCase(1UL, "01")]
    [TestCase(2UL, "0A02")]
    [TestCase(0xFFUL, "0AFF")]
    [TestCase(0x100UL, "0B0001")]
    [TestCase(0x12345UL, "0C45230100")]
    [TestCase(0x1_0000_0000UL, "0E0000000001000000")]
    public void IntegersTakeTheirShortestForm(ulong value, string expected) =>
        Assert.That(Convert.ToHexString(new AmlBuilder().Integer(value).Written), Is.EqualTo(expected));

    [TestCase(0, "01")]
    [TestCase(62, "3F")]
    [TestCase(63, "4104")]
    [TestCase(4093, "4FFF")]
    [TestCase(4094, "810001")]
    [TestCase(0xFFFFF - 3, "8FFFFF")]
    [TestCase(0xFFFFF - 2, "C1000001")]
    [TestCase(0xFFFFFFF - 4, "CFFFFFFF")]
    public void PackageLengthCountsItself(int body, string expected)
    {
        var writer = new ByteWriter();
        AmlPackageLength.Write(writer, body);
        Assert.That(Convert.ToHexString(writer.Written), Is.EqualTo(expected));
    }

    [Test]
    public void PackageLengthEndsAt28Bits() =>
        Assert.That(() => AmlPackageLength.Write(new ByteWriter(), 0xFFFFFFF), Throws.InstanceOf<ArgumentOutOfRangeException>());

    [TestCase("_CRS", "5F435253")]
    [TestCase("A", "415F5F5F")]
    [TestCase(@"\", "5C00")]
    [TestCase(@"\_SB", "5C5F53425F")]
    [TestCase(@"\_SB.PCI0", "5C2E5F53425F50434930")]
    [TestCase("^^X", "5E5E585F5F5F")]
    [TestCase("A.B.C", "2F03415F5F5F425F5F5F435F5F5F")]
    public void NamePaths(string path, string expected) =>
        Assert.That(Convert.ToHexString(new AmlBuilder().Path(path).Written), Is.EqualTo(expected));

    [TestCase("TOOLONG")]
    [TestCase("1ABC")]
    [TestCase("ab")]
    [TestCase("A..B")]
    public void BadNamesAreRefused(string path) =>
        Assert.That(() => new AmlBuilder().Path(path), Throws.ArgumentException);

    [TestCase("PNP0A03", 0x030AD041u)]
    [TestCase("PNP0501", 0x0105D041u)]
    public void EisaIds(string id, uint expected) => Assert.That(AmlName.EisaId(id), Is.EqualTo(expected));

    [Test]
    public void DeviceWithAName() => Assert.That(
        Convert.ToHexString(new AmlBuilder().Device("DEV0", d => d.Name("_UID", 1)).Written),
        Is.EqualTo("5B82" + "0B" + "44455630" + "08" + "5F554944" + "01"));

    [Test]
    public void SerializedMethodWithArguments() => Assert.That(
        Convert.ToHexString(new AmlBuilder().Method("MTH0", 2, m => m.Return(a => a.Arg(1)), serialized: true).Written),
        Is.EqualTo("14" + "08" + "4D544830" + "0A" + "A4" + "69"));

    [Test]
    public void IfElse() => Assert.That(
        Convert.ToHexString(new AmlBuilder().If(c => c.LEqual(a => a.Local(0), a => a.Integer(1)), t => t.Return(a => a.Integer(0)), o => o.Return(a => a.Integer(1))).Written),
        Is.EqualTo("A0" + "06" + "936001" + "A400" + "A1" + "03" + "A401"));

    [Test]
    public void FieldOfAPortRegion() => Assert.That(
        Convert.ToHexString(new AmlBuilder().SystemIoRegion("REG0", 0x505, 1).ByteField("REG0", ("FLD0", 8)).Written),
        Is.EqualTo("5B80" + "52454730" + "01" + "0B0505" + "01" + "5B81" + "0B" + "52454730" + "01" + "464C4430" + "08"));

    [Test]
    public void ResourceTemplateOfASerialPort() => Assert.That(
        Convert.ToHexString(new AmlBuilder().Resources(r => r.Io(0x3F8, 8).Irq(4)).Written),
        Is.EqualTo("11" + "10" + "0A0D" + "4701F803F8030108" + "221000" + "7900"));

    [Test]
    public void UuidsAreInMixedByteOrder() => Assert.That(
        Convert.ToHexString(new AmlBuilder().Uuid("33DB4D5B-1FF7-401C-9657-7441C03DD766").Written),
        Is.EqualTo("11" + "13" + "0A10" + "5B4DDB33F71F1C4096577441C03DD766"));
}
