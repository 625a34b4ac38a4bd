using System.Diagnostics;

namespace Vmm.Interop.Tests;

public sealed class EventFdTests
{
    [Test]
    public void ASignalBeforeTheWaitIsNotLost()
    {
        using var e = new EventFd();
        e.Signal();
        e.Signal();
        Assert.That(e.Wait(0));
        Assert.That(e.Wait(0), Is.False, "both signals were taken");
    }

    [Test]
    public void WaitEndsAtItsTimeLimit()
    {
        using var e = new EventFd();
        var watch = Stopwatch.StartNew();
        Assert.That(e.Wait(20_000_000), Is.False);
        Assert.That(watch.Elapsed, Is.GreaterThanOrEqualTo(TimeSpan.FromMilliseconds(20)));
    }

    [Test]
    public void AnotherThreadWakesTheWaiter()
    {
        using var e = new EventFd();
        var waiter = Task.Factory.StartNew(() => e.Wait(60_000_000_000), TaskCreationOptions.LongRunning);
        e.Signal();
        Assert.That(waiter.Wait(TimeSpan.FromSeconds(30)));
        Assert.That(waiter.Result);
    }

    [Test]
    public void SignallingADisposedEventDoesNothing()
    {
        var e = new EventFd();
        e.Dispose();
        Assert.That(e.Signal, Throws.Nothing);
    }
}
