namespace Vmm.Devices.Timers;

/// <summary>Converts between VM time and the ticks of a clock that started with it, exactly and without wide division.</summary>
internal static class ClockRatio
{
    private const long Second = 1_000_000_000;

    /// <summary>Ticks that have passed at a time, rounded down.</summary>
    /// <param name="nanoseconds">VM time; not negative.</param>
    /// <param name="frequency">Hz, at most 9 GHz.</param>
    public static long TicksAt(long nanoseconds, long frequency) =>
        nanoseconds / Second * frequency + nanoseconds % Second * frequency / Second;

    /// <summary>The first nanosecond at which a number of ticks has passed; the highest value where that is never.</summary>
    /// <param name="ticks">Ticks; not negative.</param>
    /// <param name="frequency">Hz, at most 9 GHz.</param>
    public static long TimeOf(long ticks, long frequency)
    {
        long seconds = ticks / frequency;
        if (seconds >= long.MaxValue / Second)
            return long.MaxValue;
        return seconds * Second + (ticks % frequency * Second + (frequency - 1)) / frequency;
    }
}
