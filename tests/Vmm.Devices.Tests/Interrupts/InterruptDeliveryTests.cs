using Vmm.Core.Cpu;
using Vmm.Core.Interrupts;
using Vmm.Core.Time;
using Vmm.Devices.Interrupts;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>Devices on threads of their own against a processor that sleeps when nothing is pending: nothing may get lost.</summary>
[TestFixture]
internal sealed class InterruptDeliveryTests
{
    private const int Rounds = 3_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [Test]
    public void SharedLevelLinesAndMessages_AreAllHandled()
    {
        var pc = new PcInterruptControllers();
        using var cpu = new SleepingCpu();
        var clock = new ManualVmClock();
        using var apic = new LocalApic(pc.Apics, 0, true, clock, 1_000_000_000);
        apic.Attach(cpu);
        apic.WritePage(0xF0, 4, 0x1FF);
        // Three level devices, two of them on one pin, and two that send messages.
        int[] pins = [16, 16, 17];
        var devices = pins.Select(pin => new LevelDevice(pc.Router.CreateLine(pin))).ToArray();
        foreach (int pin in pins)
            WriteRedirection(pc.IoApic, pin, 0x8000UL | VectorOf(pin));
        using var messageHandled = new SemaphoreSlim(0);
        int messages = 0;
        var threads = devices.Select(device => new Thread(device.Run)).ToList();
        threads.Add(new Thread(() =>
        {
            for (int i = 0; i < Rounds; i++)
            {
                pc.Apics.Send(new MsiMessage(0xFEE00000, 0x90));
                if (!messageHandled.Wait(Limit))
                    return;
            }
        }));
        foreach (var thread in threads)
            thread.Start();
        while (threads.Any(t => t.IsAlive))
        {
            if (!apic.InterruptPending)
            {
                cpu.Sleep(apic);
                continue;
            }
            if (!apic.TryAcknowledge(out byte vector))
                continue;
            if (vector == 0x90)
            {
                messages++;
                apic.WritePage(0xB0, 4, 0);
                messageHandled.Release();
                continue;
            }
            for (int i = 0; i < devices.Length; i++)
            {
                if (VectorOf(pins[i]) == vector)
                    devices[i].Handle();
            }
            apic.WritePage(0xB0, 4, 0);
        }
        Assert.That(cpu.LostSignals, Is.Zero);
        Assert.That(messages, Is.EqualTo(Rounds));
        Assert.That(devices.Select(d => d.Handled), Is.All.EqualTo(Rounds));
    }

    [Test]
    public void TimersOfTheRealClock_WakeTheProcessor()
    {
        var bus = new ApicBus();
        using var clock = new SystemVmClock();
        using var cpu = new SleepingCpu();
        using var apic = new LocalApic(bus, 0, true, clock, 1_000_000_000);
        apic.Attach(cpu);
        apic.WritePage(0xF0, 4, 0x1FF);
        apic.WritePage(0x320, 4, 0x40040);
        clock.Resume();
        for (int i = 0; i < 50; i++)
        {
            long deadline = clock.Now + 200_000;
            apic.TryWriteMsr(0x6E0, (ulong)deadline);
            long giveUp = clock.Now + 30_000_000_000;
            while (!apic.InterruptPending && clock.Now < giveUp)
                cpu.Sleep(apic);
            Assert.That(apic.TryAcknowledge(out byte vector), $"deadline {i}");
            Assert.That(vector, Is.EqualTo(0x40));
            Assert.That(clock.Now, Is.GreaterThanOrEqualTo(deadline));
            apic.WritePage(0xB0, 4, 0);
        }
        Assert.That(cpu.LostSignals, Is.Zero);
    }

    private static uint VectorOf(int pin) => 0x40 + (uint)pin;

    private static void WriteRedirection(IoApic io, int pin, ulong entry)
    {
        io.Write(0, 4, (ulong)(0x10 + 2 * pin));
        io.Write(0x10, 4, entry);
    }

    /// <summary>A device that asserts its line until it is handled.</summary>
    private sealed class LevelDevice(IInterruptLine line)
    {
        private readonly SemaphoreSlim _handled = new(0);
        private int _active;

        public int Handled { get; private set; }

        public void Run()
        {
            for (int i = 0; i < Rounds; i++)
            {
                Volatile.Write(ref _active, 1);
                line.SetLevel(true);
                if (!_handled.Wait(Limit))
                    return;
            }
        }

        // On the processor's thread, before its EOI.
        public void Handle()
        {
            if (Volatile.Read(ref _active) == 0)
                return;
            Volatile.Write(ref _active, 0);
            line.SetLevel(false);
            Handled++;
            _handled.Release();
        }
    }

    /// <summary>A processor in HLT: sleeps until it is signalled.</summary>
    private sealed class SleepingCpu : ICpuSignals, IDisposable
    {
        private readonly AutoResetEvent _wake = new(false);

        public int LostSignals { get; private set; }

        // The bound lets the last thread end; whoever is asleep with an interrupt pending was not told of it.
        public void Sleep(LocalApic apic)
        {
            if (!_wake.WaitOne(TimeSpan.FromMilliseconds(500)) && apic.InterruptPending && !_wake.WaitOne(TimeSpan.FromSeconds(1)))
                LostSignals++;
        }

        public void InterruptRequested() => _wake.Set();

        public void Nmi() => _wake.Set();

        public void Init() => _wake.Set();

        public void Startup(byte vector) => _wake.Set();

        public void Dispose() => _wake.Dispose();
    }
}
