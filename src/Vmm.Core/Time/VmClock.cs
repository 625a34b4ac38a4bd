namespace Vmm.Core.Time;

/// <summary>
/// The time that a guest's hardware runs on: nanoseconds since the VM was created, monotonic, standing still while the VM is
/// paused. Every timer chip and the TSC of the software CPU derive from it, so that they agree.
/// </summary>
public abstract class VmClock
{
    /// <summary>Nanoseconds of VM time. Any thread.</summary>
    public abstract long Now { get; }

    /// <summary>Creates a disarmed one-shot timer.</summary>
    /// <param name="callback">
    /// Called on the clock's thread at or after the deadline, with no lock held. It must be short and not block. It may still be
    /// called once after <see cref="IVmTimer.Disarm"/> from another thread returns, so it must look at its own state again.
    /// </param>
    public abstract IVmTimer CreateTimer(Action callback);
}

/// <summary>A one-shot timer on a <see cref="VmClock"/>. All members may be called from any thread and from the callback.</summary>
public interface IVmTimer : IDisposable
{
    /// <summary>Fires once at an absolute time, replacing any earlier deadline. A time in the past fires at once.</summary>
    /// <param name="deadline">Nanoseconds on the clock's <see cref="VmClock.Now"/>.</param>
    void Arm(long deadline);

    /// <summary>Takes the deadline away.</summary>
    void Disarm();
}
