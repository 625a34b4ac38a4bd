using Vmm.Core.Interrupts;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>Registers, priorities and delivery of one local APIC in xAPIC mode (SDM vol. 3, chapter 11).</summary>
[TestFixture]
internal sealed class LocalApicTests
{
    private readonly ManualVmClock _clock = new();
    private ApicBus _bus = null!;
    private LocalApic _apic = null!;
    private RecordingSignals _signals = null!;
    private EoiRecorder _eois = null!;

    [SetUp]
    public void SetUp()
    {
        _bus = new ApicBus();
        _apic = new LocalApic(_bus, 3, bootstrap: true, _clock, 1_000_000_000);
        _signals = new RecordingSignals();
        _apic.Attach(_signals);
        _eois = new EoiRecorder();
        _bus.AddEoiListener(_eois);
    }

    private void Enable() => Write(0xF0, 0x1FF);

    private void Write(uint offset, uint value) => _apic.WritePage(offset, 4, value);

    private uint Read(uint offset) => (uint)_apic.ReadPage(offset, 4);

    private void SendMsi(byte vector, bool level = false, int mode = 0) =>
        _bus.Send(new MsiMessage(0xFEE03000, (uint)(vector | mode << 8 | (level ? 0xC000 : 0))));

    [Test]
    public void Reset_GivesTheDocumentedValues()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Read(0x20), Is.EqualTo(3u << 24), "ID");
            Assert.That(Read(0x30) & 0xFF, Is.EqualTo(0x14), "version");
            Assert.That(Read(0x30) >> 16 & 0xFF, Is.EqualTo(5), "max LVT entry");
            Assert.That(Read(0xE0), Is.EqualTo(0xFFFFFFFF), "DFR");
            Assert.That(Read(0xD0), Is.Zero, "LDR");
            Assert.That(Read(0xF0), Is.EqualTo(0xFF), "SVR");
            for (uint lvt = 0x320; lvt <= 0x370; lvt += 0x10)
                Assert.That(Read(lvt), Is.EqualTo(0x10000), $"LVT 0x{lvt:x}");
            Assert.That(Read(0x3E0), Is.Zero, "DCR");
            Assert.That(_apic.ApicBase, Is.EqualTo(0xFEE00900), "IA32_APIC_BASE");
        });
    }

    [Test]
    public void SoftwareDisabledApic_TakesNoFixedInterrupts_ButNmi()
    {
        SendMsi(0x50);
        SendMsi(0, mode: 4);
        Assert.That(_apic.InterruptPending, Is.False);
        Assert.That(Read(0x220), Is.Zero);
        Assert.That(_signals.Nmis, Is.EqualTo(1));
    }

    [Test]
    public void HighestVector_IsServedFirst_AndLowerOnesNest()
    {
        Enable();
        SendMsi(0x41);
        SendMsi(0x81);
        SendMsi(0x82);
        Assert.That(_apic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x82));
        // 0x81 is in the same priority class and waits; so does everything below.
        Assert.That(_apic.InterruptPending, Is.False);
        Assert.That(_apic.TryAcknowledge(out _), Is.False);
        SendMsi(0x91);
        Assert.That(_apic.TryAcknowledge(out vector));
        Assert.That(vector, Is.EqualTo(0x91));
        Assert.That(Read(0xA0), Is.EqualTo(0x90));
        Assert.That(Read(0x140), Is.EqualTo(1u << 2 | 1u << 17), "ISR 0x80 to 0x9F");
        Write(0xB0, 0);
        Assert.That(_apic.InterruptPending, Is.False);
        Write(0xB0, 0);
        Assert.That(_apic.TryAcknowledge(out vector));
        Assert.That(vector, Is.EqualTo(0x81));
        Write(0xB0, 0);
        Assert.That(_apic.TryAcknowledge(out vector));
        Assert.That(vector, Is.EqualTo(0x41));
        Write(0xB0, 0);
        Assert.That(Read(0xA0), Is.Zero);
    }

    [Test]
    public void TaskPriority_HoldsItsClassBack()
    {
        Enable();
        _apic.Cr8 = 8;
        Assert.That(Read(0x80), Is.EqualTo(0x80));
        SendMsi(0x8F);
        Assert.That(_apic.InterruptPending, Is.False);
        int before = _signals.Requests;
        _apic.Cr8 = 7;
        Assert.That(_signals.Requests, Is.GreaterThan(before), "the processor hears of it");
        Assert.That(_apic.InterruptPending);
        Write(0x80, 0x8A);
        Assert.That(_apic.Cr8, Is.EqualTo(8));
        Assert.That(Read(0xA0), Is.EqualTo(0x8A));
    }

    [Test]
    public void SecondRequestOfAVector_MergesWithTheFirst()
    {
        Enable();
        SendMsi(0x60);
        SendMsi(0x60);
        Assert.That(_signals.Requests, Is.EqualTo(1));
        Assert.That(_apic.TryAcknowledge(out _));
        SendMsi(0x60);
        Write(0xB0, 0);
        Assert.That(_apic.TryAcknowledge(out _), "one more was latched while in service");
        Write(0xB0, 0);
        Assert.That(_apic.InterruptPending, Is.False);
    }

    [Test]
    public void EoiOfLevelVector_IsBroadcast_UnlessSuppressed()
    {
        Enable();
        SendMsi(0x61, level: true);
        Assert.That(Read(0x1B0), Is.EqualTo(1u << 1), "TMR");
        _apic.TryAcknowledge(out _);
        Write(0xB0, 0);
        Assert.That(_eois.Vectors, Is.EqualTo(new byte[] { 0x61 }));
        SendMsi(0x61);
        Assert.That(Read(0x1B0), Is.Zero, "the same vector as an edge");
        _apic.TryAcknowledge(out _);
        Write(0xB0, 0);
        Assert.That(_eois.Vectors, Has.Count.EqualTo(1));
        Write(0xF0, 0x11FF);
        SendMsi(0x61, level: true);
        _apic.TryAcknowledge(out _);
        Write(0xB0, 0);
        Assert.That(_eois.Vectors, Has.Count.EqualTo(1));
    }

    [Test]
    public void EoiWithNothingInService_DoesNothing()
    {
        Enable();
        Write(0xB0, 0);
        Assert.That(_eois.Vectors, Is.Empty);
        Assert.That(Read(0xA0), Is.Zero);
    }

    [Test]
    public void DisablingBySvr_MasksTheLocalVectorTable()
    {
        Enable();
        Write(0x350, 0x0031);
        Assert.That(Read(0x350), Is.EqualTo(0x31));
        Write(0xF0, 0xFF);
        Assert.That(Read(0x350), Is.EqualTo(0x10031));
        Write(0x350, 0x0031);
        Assert.That(Read(0x350), Is.EqualTo(0x10031), "stays masked while disabled");
    }

    [Test]
    public void IllegalVectors_AreReportedInEsr_AndByTheErrorInterrupt()
    {
        Enable();
        Write(0x370, 0x3F);
        SendMsi(5);
        Assert.That(Read(0x280), Is.Zero, "not visible before a write");
        Assert.That(_apic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x3F));
        Write(0xB0, 0);
        SendMsi(6);
        Assert.That(_apic.InterruptPending, Is.False, "signalled once until ESR is written");
        Write(0x280, 0);
        Assert.That(Read(0x280), Is.EqualTo(0x40));
        Write(0x310, 3u << 24);
        Write(0x300, 0x4007);
        Write(0x280, 0);
        Assert.That(Read(0x280), Is.EqualTo(0x20), "send illegal vector");
        Read(0x3D0);
        Write(0x280, 0);
        Assert.That(Read(0x280), Is.EqualTo(0x80), "illegal register address");
        Write(0x280, 0);
        Assert.That(Read(0x280), Is.Zero);
    }

    [Test]
    public void ReadOnlyRegisters_KeepTheirValues()
    {
        Enable();
        uint version = Read(0x30);
        Write(0x20, 0xAB000000);
        Write(0x30, 0);
        Write(0x100, 0xFFFFFFFF);
        Write(0x200, 0xFFFFFFFF);
        Assert.That(Read(0x20), Is.EqualTo(3u << 24));
        Assert.That(Read(0x30), Is.EqualTo(version));
        Assert.That(Read(0x100), Is.Zero);
        Assert.That(Read(0x200), Is.Zero);
    }

    [Test]
    public void NarrowAndMisalignedAccesses_AreHarmless()
    {
        Enable();
        Assert.That(_apic.ReadPage(0x23, 1), Is.EqualTo(3));
        Assert.That(_apic.ReadPage(0x24, 4), Is.Zero);
        _apic.WritePage(0x80, 1, 0x50);
        _apic.WritePage(0x84, 4, 0x50);
        Assert.That(Read(0x80), Is.Zero);
    }

    [Test]
    public void GloballyDisabledApic_IsDeaf_AndComesBackReset()
    {
        Enable();
        Assert.That(_apic.TryWriteMsr(0x1B, 0xFEE00000));
        SendMsi(0x50);
        SendMsi(0, mode: 4);
        Assert.That(_apic.InterruptPending, Is.False);
        Assert.That(_signals.Nmis, Is.Zero);
        Assert.That(Read(0x20), Is.EqualTo(0xFFFFFFFF));
        Assert.That(_apic.TryWriteMsr(0x1B, 0xFEE00800));
        Assert.That(Read(0xF0), Is.EqualTo(0xFF));
        Assert.That(_apic.ApicBase, Is.EqualTo(0xFEE00900), "the BSP bit stays");
    }

    [Test]
    public void LintPins_FollowTheirEntries()
    {
        Enable();
        Write(0x350, 0x55);
        Write(0x360, 0x400);
        _bus.SetLevel(true);
        _bus.SetLevel(false);
        Assert.That(_apic.TryAcknowledge(out byte vector));
        Assert.That(vector, Is.EqualTo(0x55));
        Write(0xB0, 0);
        _bus.SetNmi(true);
        _bus.SetNmi(true);
        Assert.That(_signals.Nmis, Is.EqualTo(1));
    }

    [Test]
    public void LevelLint0_RepeatsAfterEoi_WhileThePinIsHigh()
    {
        Enable();
        Write(0x350, 0x8055);
        _bus.SetLevel(true);
        Assert.That(Read(0x350), Is.EqualTo(0xC055), "remote IRR");
        Assert.That(_apic.TryAcknowledge(out _));
        Write(0xB0, 0);
        Assert.That(_apic.TryAcknowledge(out _), "again");
        _bus.SetLevel(false);
        Write(0xB0, 0);
        Assert.That(_apic.InterruptPending, Is.False);
        Assert.That(Read(0x350), Is.EqualTo(0x8055));
    }

    [Test]
    public void PerformanceInterrupt_MasksItsEntry()
    {
        Enable();
        Write(0x340, 0x400);
        _apic.TriggerPerformanceInterrupt();
        _apic.TriggerPerformanceInterrupt();
        Assert.That(_signals.Nmis, Is.EqualTo(1));
        Assert.That(Read(0x340), Is.EqualTo(0x10400));
    }

    [Test]
    public void Init_KeepsIdAndBase()
    {
        Enable();
        SendMsi(0x50);
        Write(0x80, 0x40);
        _apic.TryWriteMsr(0x1B, 0xFEE00C00);
        _apic.Init();
        Assert.That(_apic.InterruptPending, Is.False);
        Assert.That(_apic.ApicBase, Is.EqualTo(0xFEE00D00));
        Assert.That(_apic.TryReadMsr(0x802, out ulong id));
        Assert.That(id, Is.EqualTo(3));
        Assert.That(_apic.TryReadMsr(0x80F, out ulong spurious));
        Assert.That(spurious, Is.EqualTo(0xFF));
    }

    [Test]
    public void ConcurrentRequests_AreAllDelivered()
    {
        Enable();
        const int Rounds = 20_000;
        var sent = new int[2];
        int received = 0;
        var threads = Enumerable.Range(0, 2).Select(t => new Thread(() =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                byte vector = (byte)(0x40 + t * 0x40 + (i & 15));
                _bus.Send(new MsiMessage(0xFEE03000, vector));
                Interlocked.Increment(ref sent[t]);
            }
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();
        while (threads.Any(t => t.IsAlive) || _apic.InterruptPending)
        {
            if (_apic.TryAcknowledge(out byte vector))
            {
                Assert.That(vector is >= 0x40 and < 0x50 or >= 0x80 and < 0x90);
                received++;
                Write(0xB0, 0);
            }
        }
        Assert.That(sent, Is.EqualTo(new[] { Rounds, Rounds }));
        Assert.That(received, Is.GreaterThanOrEqualTo(32).And.LessThanOrEqualTo(2 * Rounds));
        Assert.That(Read(0xA0), Is.Zero);
    }

    [Test]
    public void HotPath_AllocatesNothing()
    {
        Enable();
        Write(0x310, 3u << 24);
        void Round()
        {
            Write(0x300, 0x4050);
            _apic.TryAcknowledge(out _);
            _apic.Cr8 = 2;
            _apic.Cr8 = 0;
            Write(0xB0, 0);
            _apic.TryWriteMsr(0x6E0, 1);
        }
        Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            Round();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private sealed class EoiRecorder : IEoiListener
    {
        public List<byte> Vectors { get; } = [];

        public void EndOfInterrupt(byte vector) => Vectors.Add(vector);
    }
}
