using Vmm.Core.Time;

namespace Vmm.Core.Tests.Time;

public sealed class VmClockTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    [Test]
    public void TimersFireInOrderAtTheirDeadlines()
    {
        var clock = new ManualVmClock();
        var log = new List<(string, long)>();
        var a = clock.CreateTimer(() => log.Add(("a", clock.Now)));
        var b = clock.CreateTimer(() => log.Add(("b", clock.Now)));
        a.Arm(200);
        b.Arm(100);
        clock.Advance(99);
        Assert.That(log, Is.Empty);
        clock.Advance(500);
        Assert.That(log, Is.EqualTo(new[] { ("b", 100L), ("a", 200L) }));
        Assert.That(clock.Now, Is.EqualTo(599));
    }

    [Test]
    public void RearmingReplacesAndDisarmingTakesAway()
    {
        var clock = new ManualVmClock();
        int fired = 0;
        var timer = clock.CreateTimer(() => fired++);
        timer.Arm(10);
        timer.Arm(20);
        clock.Advance(15);
        Assert.That(fired, Is.Zero);
        clock.Advance(10);
        Assert.That(fired, Is.EqualTo(1));
        timer.Arm(30);
        timer.Disarm();
        clock.Advance(100);
        Assert.That(fired, Is.EqualTo(1));
    }

    [Test]
    public void ATimerMayRearmItselfFromItsCallback()
    {
        var clock = new ManualVmClock();
        int fired = 0;
        IVmTimer? timer = null;
        timer = clock.CreateTimer(() =>
        {
            if (++fired < 5)
                timer!.Arm(clock.Now + 10);
        });
        timer.Arm(10);
        clock.Advance(1000);
        Assert.That(fired, Is.EqualTo(5));
    }

    [Test]
    public void RearmingForEverKeepsMemoryBounded()
    {
        var clock = new ManualVmClock();
        var timer = clock.CreateTimer(() => { });
        for (int i = 0; i < 10_000; i++)
            timer.Arm(1_000_000 + i);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int i = 0; i < 200_000; i++)
            timer.Arm(1_000_000 + i);
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(1 << 20));
    }

    [Test]
    public void SystemClockStandsStillWhilePaused()
    {
        using var clock = new SystemVmClock("test");
        Assert.That(clock.IsPaused);
        Assert.That(clock.Now, Is.Zero);
        clock.Resume();
        Assert.That(SpinWait.SpinUntil(() => clock.Now > 1_000_000, Limit));
        clock.Pause();
        long stopped = clock.Now;
        Assert.That(SpinWait.SpinUntil(() => clock.Now != stopped, TimeSpan.FromMilliseconds(20)), Is.False);
        clock.Resume();
        Assert.That(clock.Now, Is.GreaterThanOrEqualTo(stopped));
        Assert.That(clock.Now - stopped, Is.LessThan(Limit.Ticks * 100));
    }

    [Test]
    public void SystemClockFiresNotBeforeTheDeadlineAndNotWhilePaused()
    {
        using var clock = new SystemVmClock("test");
        long fired = -1;
        using var done = new ManualResetEventSlim();
        using var timer = clock.CreateTimer(() =>
        {
            Volatile.Write(ref fired, clock.Now);
            done.Set();
        });
        timer.Arm(2_000_000);
        Assert.That(done.Wait(20), Is.False, "fired while paused");
        clock.Resume();
        Assert.That(done.Wait(Limit));
        Assert.That(Volatile.Read(ref fired), Is.GreaterThanOrEqualTo(2_000_000));
    }
}
