using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Acpi;
using Vmm.Devices.Interrupts;
using Vmm.Devices.Tests.Interrupts;
using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

/// <summary>A guest that writes garbage to every register of the board's interrupt controllers and timers.</summary>
[TestFixture]
internal sealed class HostileAccessTests
{
    private static readonly (ulong Start, int Length)[] Ports =
    [
        (0x20, 2), (0x40, 4), (0x61, 1), (0x70, 4), (0xA0, 2), (0xB2, 2), (0x4D0, 2), (0x600, 12), (0x620, 2),
    ];

    [Test]
    public void RandomAccesses_NeitherThrowNorHang([Values(1, 2, 3, 4)] int seed)
    {
        var random = new Random(seed);
        var clock = new ManualVmClock();
        var pc = new PcInterruptControllers();
        var apics = Enumerable.Range(0, 3).Select(i => new LocalApic(pc.Apics, (uint)i, i == 0, clock, 1_000_000_000)).ToArray();
        foreach (var apic in apics)
            apic.Attach(new RecordingSignals());
        var ports = Bus.CreatePortBus();
        var mmio = Bus.CreateMmioBus();
        pc.Map(ports, mmio);
        var pitLine = new GatedInterruptLine(pc.Router.CreateIsaLine(0));
        var rtcLine = new GatedInterruptLine(pc.Router.CreateIsaLine(8));
        using var pit = new Pit8254(clock, pitLine);
        using var rtc = new Mc146818Rtc(clock, TimeProvider.System, rtcLine);
        using var hpet = new Hpet(clock, pc.Router, pc.Apics, pitLine, rtcLine);
        using var pm = new AcpiPm(clock, pc.Router.CreateIsaLine(9), new RecordingControl());
        pit.Map(ports);
        rtc.Map(ports);
        hpet.Map(mmio);
        pm.Map(ports);
        for (int i = 0; i < 200_000; i++)
        {
            ulong value = random.Next(3) == 0 ? (ulong)random.NextInt64() << 1 : (ulong)random.Next(0x200);
            int size = 1 << random.Next(4);
            var apic = apics[random.Next(apics.Length)];
            switch (random.Next(9))
            {
                case 0 or 1:
                    var (start, length) = Ports[random.Next(Ports.Length)];
                    ulong port = start + (ulong)random.Next(length);
                    ports.Write(port, Math.Min(size, 4), value);
                    ports.Read(port, Math.Min(size, 4));
                    break;
                case 2:
                    mmio.Write(IoApic.DefaultBase + (ulong)random.Next(6) * 16, size, value);
                    mmio.Read(IoApic.DefaultBase + (ulong)random.Next(0x50), size);
                    break;
                case 3:
                    ulong offset = (ulong)random.Next(0x180);
                    mmio.Write(Hpet.DefaultBase + offset, size, value);
                    mmio.Read(Hpet.DefaultBase + offset, size);
                    break;
                case 4:
                    apic.WritePage((uint)random.Next(0x100) * 16, 4, value);
                    apic.ReadPage((uint)random.Next(0x1000), size);
                    break;
                case 5:
                    apic.TryWriteMsr(0x800 + (uint)random.Next(0x100), value);
                    apic.TryReadMsr(0x800 + (uint)random.Next(0x100), out _);
                    break;
                case 6:
                    uint msr = random.Next(2) == 0 ? 0x1Bu : 0x6E0u;
                    apic.TryWriteMsr(msr, msr == 0x1B && random.Next(2) == 0 ? 0xFEE00000 | (value & 0xC00) : value);
                    break;
                case 7:
                    if (apic.TryAcknowledge(out _) && random.Next(2) == 0)
                        apic.WritePage(0xB0, 4, 0);
                    break;
                default:
                    clock.Advance(random.Next(100_000));
                    break;
            }
        }
        Assert.That(() =>
        {
            foreach (var apic in apics)
                apic.Restore(apic.Capture());
            pit.Restore(pit.Capture());
            rtc.Restore(rtc.Capture());
            hpet.Restore(hpet.Capture());
            pm.Restore(pm.Capture());
            pc.Pic.Restore(pc.Pic.Capture());
            pc.IoApic.Restore(pc.IoApic.Capture());
        }, Throws.Nothing, "every state that a guest can make is one that can be restored");
    }
}
