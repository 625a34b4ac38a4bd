using Vmm.Core.Interrupts;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>Who gets a message: destinations, shorthands, arbitration (SDM vol. 3, 11.6 and 11.11).</summary>
[TestFixture]
internal sealed class ApicBusTests
{
    private const int Count = 8;

    private readonly ManualVmClock _clock = new();
    private ApicBus _bus = null!;
    private LocalApic[] _apics = null!;
    private RecordingSignals[] _signals = null!;

    [SetUp]
    public void SetUp()
    {
        _bus = new ApicBus();
        _apics = [.. Enumerable.Range(0, Count).Select(i => new LocalApic(_bus, (uint)i, i == 0, _clock, 1_000_000_000))];
        _signals = [.. _apics.Select(_ => new RecordingSignals())];
        for (int i = 0; i < Count; i++)
        {
            _apics[i].Attach(_signals[i]);
            _apics[i].WritePage(0xF0, 4, 0x1FF);
        }
    }

    private void SetFlat()
    {
        for (int i = 0; i < Count; i++)
            _apics[i].WritePage(0xD0, 4, 1u << (24 + i));
    }

    // Two clusters of four.
    private void SetCluster()
    {
        for (int i = 0; i < Count; i++)
        {
            _apics[i].WritePage(0xE0, 4, 0x0FFFFFFF);
            _apics[i].WritePage(0xD0, 4, (uint)(i / 4 << 4 | 1 << i % 4) << 24);
        }
    }

    private void SetX2()
    {
        foreach (var apic in _apics)
            Assert.That(apic.TryWriteMsr(0x1B, apic.ApicBase | 0x400));
    }

    // The processors that have the vector, which they then have taken.
    private int[] TakeReceivers(byte vector)
    {
        var receivers = new List<int>();
        for (int i = 0; i < Count; i++)
        {
            if (!_apics[i].TryAcknowledge(out byte taken))
                continue;
            Assert.That(taken, Is.EqualTo(vector));
            receivers.Add(i);
            if ((_apics[i].ApicBase & 0x400) != 0)
                _apics[i].TryWriteMsr(0x80B, 0);
            else
                _apics[i].WritePage(0xB0, 4, 0);
        }
        return [.. receivers];
    }

    private void SendIpi(int from, uint destination, uint low)
    {
        _apics[from].WritePage(0x310, 4, destination << 24);
        _apics[from].WritePage(0x300, 4, low);
    }

    private static readonly int[] All = [0, 1, 2, 3, 4, 5, 6, 7];

    [Test]
    public void PhysicalMsi_ReachesItsApic()
    {
        for (int i = 0; i < Count; i++)
        {
            _bus.Send(new MsiMessage(0xFEE00000 | (ulong)i << 12, 0x51));
            Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { i }));
        }
        _bus.Send(new MsiMessage(0xFEE00000 | 0xFE << 12, 0x51));
        Assert.That(TakeReceivers(0x51), Is.Empty);
        _bus.Send(new MsiMessage(0xFEEFF000, 0x51));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(All));
        _bus.Send(new MsiMessage(0xFED00000, 0x51));
        _bus.Send(new MsiMessage(0x1_FEE00000, 0x51));
        Assert.That(TakeReceivers(0x51), Is.Empty);
    }

    [Test]
    public void FlatLogicalDestination_IsABitMask()
    {
        SetFlat();
        _bus.Send(new MsiMessage(0xFEE00004 | 0b10100101 << 12, 0x51));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 0, 2, 5, 7 }));
    }

    [Test]
    public void ClusterLogicalDestination_IsClusterAndMask()
    {
        SetCluster();
        _bus.Send(new MsiMessage(0xFEE00004 | 0x1A << 12, 0x51));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 5, 7 }));
        _bus.Send(new MsiMessage(0xFEE00004 | 0xF1 << 12, 0x51));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 0, 4 }), "cluster 15 is all clusters");
    }

    [Test]
    public void X2LogicalDestination_IsClusterAndMaskOf16()
    {
        SetX2();
        _apics[1].TryWriteMsr(0x830, 0b1100_0000UL << 32 | 0x4800 | 0x51);
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 6, 7 }));
        _apics[1].TryWriteMsr(0x830, 0x1_0001UL << 32 | 0x4800 | 0x51);
        Assert.That(TakeReceivers(0x51), Is.Empty, "another cluster");
        _apics[1].TryWriteMsr(0x830, 0xFFFFFFFFUL << 32 | 0x4000 | 0x51);
        Assert.That(TakeReceivers(0x51), Is.EqualTo(All), "broadcast");
        _apics[1].TryWriteMsr(0x830, 0xFFUL << 32 | 0x4000 | 0x51);
        Assert.That(TakeReceivers(0x51), Is.Empty, "0xFF is an ordinary ID of 32 bits");
        _bus.Send(new MsiMessage(0xFEEFF000, 0x51));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(All), "but a broadcast of 8 bits");
    }

    [Test]
    public void Shorthands()
    {
        SendIpi(2, 0, 0x44051);
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 2 }), "self");
        SendIpi(2, 0, 0x84051);
        Assert.That(TakeReceivers(0x51), Is.EqualTo(All), "all");
        SendIpi(2, 0, 0xC4051);
        Assert.That(TakeReceivers(0x51), Is.EqualTo(All.Where(i => i != 2)), "all but self");
        SendIpi(2, 0, 0x84400);
        Assert.That(_signals.Sum(s => s.Nmis), Is.Zero, "an NMI to all including self is invalid");
        SendIpi(2, 0, 0xC4400);
        Assert.That(_signals.Select(s => s.Nmis), Is.EqualTo(All.Select(i => i == 2 ? 0 : 1)));
    }

    [Test]
    public void StartUpSequence_ReachesTheApplicationProcessor()
    {
        SendIpi(0, 3, 0xC500);
        SendIpi(0, 3, 0x8500);
        SendIpi(0, 3, 0x4609);
        Assert.That(_signals[3].Inits, Is.EqualTo(1), "the de-assert does nothing");
        Assert.That(_signals[3].Startups, Is.EqualTo(new byte[] { 9 }));
        Assert.That(_signals[0].Inits, Is.Zero);
    }

    [Test]
    public void LowestPriority_PicksTheLeastBusy_AndTakesTurns()
    {
        SetFlat();
        for (int i = 0; i < Count; i++)
            _apics[i].WritePage(0x80, 4, i == 4 ? 0x10u : 0x20u);
        _bus.Send(new MsiMessage(0xFEEFF004, 0x151));
        Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 4 }));
        _apics[4].WritePage(0x80, 4, 0x20);
        var hit = new HashSet<int>();
        for (int i = 0; i < 3 * Count; i++)
        {
            _bus.Send(new MsiMessage(0xFEEFF00C, 0x51));
            hit.UnionWith(TakeReceivers(0x51));
        }
        Assert.That(hit, Is.EquivalentTo(All), "the redirection hint spreads");
    }

    [Test]
    public void LowestPriority_SkipsDisabledApics()
    {
        SetFlat();
        for (int i = 0; i < Count; i++)
        {
            if (i != 6)
                _apics[i].WritePage(0xF0, 4, 0xFF);
        }
        for (int i = 0; i < Count; i++)
        {
            _bus.Send(new MsiMessage(0xFEEFF004, 0x151));
            Assert.That(TakeReceivers(0x51), Is.EqualTo(new[] { 6 }));
        }
    }

    [Test]
    public void IdsMustDiffer() =>
        Assert.That(() => new LocalApic(_bus, 3, false, _clock, 1), Throws.ArgumentException);

    [Test]
    public void IdsBeyond255_AreReachedInX2ModeOnly()
    {
        var far = new LocalApic(_bus, 300, false, _clock, 1_000_000_000);
        far.WritePage(0xF0, 4, 0x1FF);
        SetX2();
        _apics[0].TryWriteMsr(0x830, 300UL << 32 | 0x4051);
        Assert.That(far.InterruptPending, Is.False);
        far.TryWriteMsr(0x1B, far.ApicBase | 0x400);
        _apics[0].TryWriteMsr(0x830, 300UL << 32 | 0x4051);
        Assert.That(far.InterruptPending);
    }
}
