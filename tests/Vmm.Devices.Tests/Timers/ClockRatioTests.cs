using Vmm.Devices.Timers;

namespace Vmm.Devices.Tests.Timers;

[TestFixture]
internal sealed class ClockRatioTests
{
    [Test]
    public void Conversions_AreExact([Values(1, 32_768, 1_193_182, 3_579_545, 1_000_000_000, 2_999_999_999)] long frequency)
    {
        var random = new Random(5);
        for (int i = 0; i < 10_000; i++)
        {
            long time = random.NextInt64(1L << random.Next(1, 60));
            long ticks = (long)((Int128)time * frequency / 1_000_000_000);
            Assert.That(ClockRatio.TicksAt(time, frequency), Is.EqualTo(ticks));
            long first = (long)(((Int128)ticks * 1_000_000_000 + (frequency - 1)) / frequency);
            Assert.That(ClockRatio.TimeOf(ticks, frequency), Is.EqualTo(first));
        }
        Assert.That(ClockRatio.TimeOf(long.MaxValue, 1), Is.EqualTo(long.MaxValue));
    }
}
