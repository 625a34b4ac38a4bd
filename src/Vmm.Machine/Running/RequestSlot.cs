using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Running;

/// <summary>What is to be done on the control thread.</summary>
/// <param name="Request">What the guest asks; null for the host.</param>
/// <param name="Exit">How the machine is to end, where the host asks.</param>
internal sealed record ControlWork(MachineRequest? Request, VirtualMachineExit? Exit);

/// <summary>
/// Where requests wait for the control thread. Of the guest's only the first is kept until it was handled, so a guest cannot fill it;
/// the host's goes before it.
/// </summary>
internal sealed class RequestSlot
{
    private readonly object _lock = new();
    private MachineRequest? _guest;
    private VirtualMachineExit? _host;

    /// <summary>Leaves a request of the guest.</summary>
    /// <returns>False when one waits already.</returns>
    public bool TryPost(MachineRequest request)
    {
        lock (_lock)
        {
            if (_guest is not null)
                return false;
            _guest = request;
            Monitor.PulseAll(_lock);
            return true;
        }
    }

    /// <summary>Asks for the end; the first to ask decides how.</summary>
    public void PostEnd(VirtualMachineExit exit)
    {
        lock (_lock)
        {
            _host ??= exit;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Waits for work. A request of the guest stays, so that no other is taken, until <see cref="GuestHandled"/>.</summary>
    /// <param name="limit">How long to wait at most; null for ever.</param>
    /// <returns>Null when the time is over.</returns>
    public ControlWork? Take(TimeSpan? limit)
    {
        lock (_lock)
        {
            while (_host is null && _guest is null)
            {
                if (!Monitor.Wait(_lock, limit is { } l ? (int)Math.Min(l.TotalMilliseconds, int.MaxValue) : Timeout.Infinite))
                    return null;
            }
            return _host is not null ? new ControlWork(null, _host) : new ControlWork(_guest, null);
        }
    }

    /// <summary>The guest's request was carried out; another may come.</summary>
    public void GuestHandled()
    {
        lock (_lock)
            _guest = null;
    }
}
