using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

[TestFixture]
internal sealed class VectorSetTests
{
    [Test]
    public void EveryVector_IsSetFoundAndCleared()
    {
        var set = new VectorSet();
        Assert.That(set.Highest(), Is.EqualTo(-1));
        for (int v = 0; v < 256; v++)
        {
            Assert.That(set.SetAtomic(v));
            Assert.That(set.SetAtomic(v), Is.False);
            Assert.That(set.Test(v));
            Assert.That(set.Highest(), Is.EqualTo(v));
            Assert.That(set.Read32(v / 32) >> (v % 32) & 1, Is.EqualTo(1));
        }
        for (int v = 255; v >= 0; v--)
        {
            Assert.That(set.Highest(), Is.EqualTo(v));
            Assert.That(set.ClearAtomic(v));
            Assert.That(set.ClearAtomic(v), Is.False);
        }
    }

    [Test]
    public void Write32_PutsItsRegisterOnly()
    {
        var set = new VectorSet();
        for (int i = 0; i < 8; i++)
            set.Write32(i, 0x11111111u * (uint)(i + 1));
        set.Write32(3, 0xDEADBEEF);
        for (int i = 0; i < 8; i++)
            Assert.That(set.Read32(i), Is.EqualTo(i == 3 ? 0xDEADBEEF : 0x11111111u * (uint)(i + 1)));
    }
}
