using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>Mode changes and the x2APIC registers (SDM vol. 3, 11.12).</summary>
[TestFixture]
internal sealed class LocalApicX2Tests
{
    private const ulong Base = 0xFEE00000;

    private readonly ManualVmClock _clock = new();
    private ApicBus _bus = null!;
    private LocalApic _apic = null!;

    [SetUp]
    public void SetUp()
    {
        _bus = new ApicBus();
        _apic = new LocalApic(_bus, 0x25, bootstrap: false, _clock, 1_000_000_000);
    }

    // From, to: disabled 0, xAPIC 2, x2APIC 3 (bits EN and EXTD).
    [TestCase(0, 0, true)]
    [TestCase(0, 2, true)]
    [TestCase(0, 3, false)]
    [TestCase(0, 1, false)]
    [TestCase(2, 0, true)]
    [TestCase(2, 2, true)]
    [TestCase(2, 3, true)]
    [TestCase(2, 1, false)]
    [TestCase(3, 0, true)]
    [TestCase(3, 2, false)]
    [TestCase(3, 3, true)]
    [TestCase(3, 1, false)]
    public void ModeTransition(int from, int to, bool allowed)
    {
        if (from != 2)
            Assert.That(_apic.TryWriteMsr(0x1B, Base | (ulong)from << 10));
        Assert.That(_apic.TryWriteMsr(0x1B, Base | (ulong)to << 10), Is.EqualTo(allowed));
        Assert.That(_apic.ApicBase, Is.EqualTo(Base | (ulong)(allowed ? to : from) << 10));
    }

    [TestCase(Base | 0x800 | 1)]
    [TestCase(Base | 0x800 | 0x200)]
    [TestCase(Base | 0x800 | 1UL << 52)]
    public void ReservedBitsOfBase_Fault(ulong value) => Assert.That(_apic.TryWriteMsr(0x1B, value), Is.False);

    [Test]
    public void BaseAddress_Moves()
    {
        Assert.That(_apic.TryWriteMsr(0x1B, 0xF_1234_5000 | 0x800));
        Assert.That(_apic.ApicBase, Is.EqualTo(0xF_1234_5800));
    }

    [Test]
    public void X2Registers_AreThereInX2ModeOnly()
    {
        Assert.That(_apic.TryReadMsr(0x802, out _), Is.False);
        EnterX2();
        Assert.That(_apic.TryReadMsr(0x802, out ulong id));
        Assert.That(id, Is.EqualTo(0x25));
        Assert.That(_apic.TryReadMsr(0x80D, out ulong logical));
        Assert.That(logical, Is.EqualTo(2u << 16 | 1u << 5));
        Assert.That(_apic.ReadPage(0x20, 4), Is.EqualTo(0xFFFFFFFF), "the page is gone");
    }

    [Test]
    public void AccessRights_AreAsInTheTable()
    {
        EnterX2();
        int[] readable =
        [
            0x02, 0x03, 0x08, 0x0A, 0x0D, 0x0F, .. Enumerable.Range(0x10, 24), 0x28, 0x30, .. Enumerable.Range(0x32, 8), 0x3E,
        ];
        int[] writable = [0x08, 0x0B, 0x0F, 0x28, 0x30, .. Enumerable.Range(0x32, 7), 0x3E];
        for (int register = 0; register < 0x100; register++)
        {
            Assert.That(_apic.TryReadMsr(0x800 + (uint)register, out _), Is.EqualTo(readable.Contains(register)), $"read 0x{register:x}");
            // A self IPI of vector 0 is a send error, not a fault.
            bool accepted = writable.Contains(register) || register == 0x3F;
            Assert.That(_apic.TryWriteMsr(0x800 + (uint)register, 0), Is.EqualTo(accepted), $"write 0x{register:x}");
        }
    }

    [TestCase(0x808u, 0x100UL)]
    [TestCase(0x80Bu, 1UL)]
    [TestCase(0x80Fu, 0x800UL)]
    [TestCase(0x828u, 1UL)]
    [TestCase(0x830u, 0x2000UL)]
    [TestCase(0x830u, 0x100000UL)]
    [TestCase(0x832u, 0x80000UL)]
    [TestCase(0x837u, 0x100UL)]
    [TestCase(0x838u, 0x1_0000_0000UL)]
    [TestCase(0x83Eu, 4UL)]
    [TestCase(0x83Fu, 0x100UL)]
    public void ReservedBits_Fault(uint msr, ulong value)
    {
        EnterX2();
        Assert.That(_apic.TryWriteMsr(msr, value), Is.False);
    }

    [Test]
    public void SelfIpi_Arrives()
    {
        EnterX2();
        _apic.TryWriteMsr(0x80F, 0x1FF);
        Assert.That(_apic.TryWriteMsr(0x83F, 0x44));
        Assert.That(_apic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x44));
        Assert.That(_apic.TryWriteMsr(0x80B, 0));
        Assert.That(_apic.InterruptPending, Is.False);
    }

    private void EnterX2() => Assert.That(_apic.TryWriteMsr(0x1B, Base | 0xC00));
}
