using Microsoft.Extensions.Logging;
using Vmm.Core.Memory;
using Vmm.Devices.Virtio.Queues;

namespace Vmm.Devices.Virtio;

/// <summary>What a device needs of the transport that shows it to the guest.</summary>
internal interface IVirtioTransport
{
    /// <summary>Whether the device may access guest memory.</summary>
    bool CanAccessMemory { get; }

    /// <summary>Interrupts the driver for a queue. Any thread, no lock held.</summary>
    void NotifyQueue(Virtqueue queue);

    /// <summary>Interrupts the driver for a change of configuration. Any thread, no lock held.</summary>
    void NotifyConfig();

    /// <summary>The device finished a reset that the driver asked for; its status still reads as before. No lock held.</summary>
    void OnDeviceReset();
}

/// <summary>What a snapshot holds of a virtio device.</summary>
/// <param name="Version">1.</param>
/// <param name="Status">Device status.</param>
/// <param name="Features">Features that the driver accepted.</param>
/// <param name="Queues">Queues in order.</param>
/// <param name="DeviceSpecific">State of the device type.</param>
public sealed record VirtioDeviceState(int Version, byte Status, ulong Features, VirtqueueState[] Queues, byte[] DeviceSpecific);

/// <summary>
/// A virtio 1.2 device without its transport: status, features, queues, and a thread that takes requests off the queues. A
/// notification only wakes that thread. A reset waits, without blocking the driver's vCPU, until nothing is in flight.
/// </summary>
/// <remarks>One lock guards status, features, registers of queues and the count of activities. Nothing is called with it held.</remarks>
public abstract partial class VirtioDevice : IDisposable
{
    private const int MaxQueues = 64;
    private const ulong TransportFeatures = VirtioFeatures.IndirectDescriptors | VirtioFeatures.EventIndex | VirtioFeatures.Version1
        | VirtioFeatures.RingPacked | VirtioFeatures.RingReset;

    private readonly ILogger _logger;
    private readonly object _gate = new();
    private readonly Virtqueue[] _queues;
    private readonly Thread _worker;
    private IVirtioTransport? _transport;
    private byte _status;
    private ulong _driverFeatures;
    private ulong _kicked;
    private int _active;
    private bool _resetPending;
    private bool _resetFinishing;
    private bool _paused;
    private bool _stopping;
    private bool _workerStarted;
    private byte _generation;

    private protected VirtioDevice(string name, ushort deviceType, GuestMemory memory, int queues, ushort queueSize, ILogger logger)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(queues, MaxQueues);
        (Name, DeviceType, Memory, _logger) = (name, deviceType, memory, logger);
        _queues = new Virtqueue[queues];
        for (int i = 0; i < queues; i++)
            _queues[i] = new Virtqueue(i, queueSize);
        _worker = new Thread(Work) { IsBackground = true, Name = name };
    }

    /// <summary>Its name, for messages: "virtio-blk disk0".</summary>
    public string Name { get; }

    /// <summary>Device type (virtio 1.2, 5).</summary>
    public ushort DeviceType { get; }

    internal GuestMemory Memory { get; }

    internal ReadOnlySpan<Virtqueue> Queues => _queues;

    /// <summary>PCI class code that fits the device type.</summary>
    internal abstract uint PciClassCode { get; }

    /// <summary>Features of the device type.</summary>
    internal abstract ulong DeviceFeatures { get; }

    /// <summary>Bytes of device-specific configuration.</summary>
    internal abstract int ConfigLength { get; }

    internal ulong OfferedFeatures => DeviceFeatures | TransportFeatures;

    internal byte Generation => Volatile.Read(ref _generation);

    internal byte Status
    {
        get
        {
            lock (_gate)
                return _status;
        }
    }

    /// <summary>What the driver accepted; final once FEATURES_OK is set.</summary>
    internal ulong Features
    {
        get
        {
            lock (_gate)
                return _driverFeatures;
        }
    }

    internal bool Has(ulong feature) => (Features & feature) != 0;

    /// <summary>Reads device-specific configuration; what lies behind it reads as zero. On a vCPU thread.</summary>
    internal abstract uint ReadConfig(int offset, int size);

    /// <summary>Writes device-specific configuration. On a vCPU thread.</summary>
    internal virtual void WriteConfig(int offset, int size, uint value)
    {
    }

    /// <summary>Takes what is available off a queue. On the worker thread.</summary>
    private protected abstract void ProcessQueue(Virtqueue queue);

    /// <summary>Back to the power-on state. Nothing is in flight.</summary>
    private protected virtual void OnReset()
    {
    }

    private protected virtual byte[] CaptureDevice() => [];

    private protected virtual bool TryRestoreDevice(ReadOnlySpan<byte> state) => state.IsEmpty;

    internal void Attach(IVirtioTransport transport) => _transport = transport;

    internal void WriteDriverFeatures(int select, uint value)
    {
        lock (_gate)
        {
            if ((_status & VirtioStatus.FeaturesOk) != 0 || select > 1)
                return;
            _driverFeatures = select == 0
                ? (_driverFeatures & ~(ulong)uint.MaxValue) | value
                : (_driverFeatures & uint.MaxValue) | (ulong)value << 32;
        }
    }

    internal uint ReadDriverFeatures(int select) => select > 1 ? 0 : (uint)(Features >> (32 * select));

    /// <summary>A driver's write to the status register (2.1, 3.1.1).</summary>
    internal void WriteStatus(byte value)
    {
        if (value == 0)
        {
            RequestReset();
            return;
        }
        lock (_gate)
        {
            if (_resetPending)
                return;
            // FEATURES_OK stays clear when the driver accepted what was not offered, or not what is needed (3.1.1 step 5 and 6).
            bool acceptable = (_driverFeatures & ~OfferedFeatures) == 0 && (_driverFeatures & VirtioFeatures.Version1) != 0;
            if ((value & VirtioStatus.FeaturesOk) != 0 && (_status & VirtioStatus.FeaturesOk) == 0 && !acceptable)
                value &= unchecked((byte)~VirtioStatus.FeaturesOk);
            // Bits are only added until a reset (2.1.1); DRIVER_OK means something only after FEATURES_OK.
            byte status = (byte)(_status | (value & ~VirtioStatus.NeedsReset));
            if ((status & VirtioStatus.FeaturesOk) == 0)
                status &= unchecked((byte)~VirtioStatus.DriverOk);
            _status = status;
        }
        KickAll();
    }

    /// <summary>Takes a queue into use (4.1.4.3, queue_enable). What the driver placed wrongly breaks the device.</summary>
    internal void EnableQueue(Virtqueue queue)
    {
        lock (_gate)
        {
            if (queue.Ring is not null || queue.ResetPending || _resetPending || (_status & VirtioStatus.FeaturesOk) == 0)
                return;
            if (queue.TryEnable(Memory, _driverFeatures))
            {
                WakeWorker(1UL << queue.Index);
                return;
            }
        }
        Break($"queue {queue.Index} is misaligned or outside memory");
    }

    /// <summary>Resets one queue (2.6.1); <see cref="Virtqueue.ResetPending"/> tells until it is done.</summary>
    internal void ResetQueue(Virtqueue queue)
    {
        lock (_gate)
        {
            if ((_driverFeatures & VirtioFeatures.RingReset) == 0 || queue.Ring is null)
                return;
            queue.ResetPending = true;
            if (queue.Active == 0)
                queue.Reset();
        }
    }

    /// <summary>Runs an update of queue registers under the lock, unless the queue is in use.</summary>
    internal void UpdateQueue(Virtqueue queue, Action<Virtqueue, ulong> update, ulong value)
    {
        lock (_gate)
        {
            if (queue.Ring is null && !_resetPending)
                update(queue, value);
        }
    }

    /// <summary>Sets a queue's MSI-X vector; allowed while the queue is in use.</summary>
    internal void SetQueueVector(Virtqueue queue, ushort vector)
    {
        lock (_gate)
            queue.Vector = vector;
    }

    internal T ReadQueue<T>(Virtqueue queue, Func<Virtqueue, T> read)
    {
        lock (_gate)
            return read(queue);
    }

    /// <summary>A driver's notification. Wakes the worker; never blocks.</summary>
    internal void Kick(int queue)
    {
        if ((uint)queue >= (uint)_queues.Length)
            return;
        lock (_gate)
            WakeWorker(1UL << queue);
    }

    internal void KickAll()
    {
        lock (_gate)
            WakeWorker(AllQueues);
    }

    /// <summary>Finishes what is in flight and starts nothing new. Idempotent.</summary>
    public void Pause()
    {
        lock (_gate)
        {
            _paused = true;
            while (_active != 0 || _resetFinishing)
                Monitor.Wait(_gate);
        }
    }

    /// <summary>Goes on after <see cref="Pause"/>. Idempotent.</summary>
    public void Resume()
    {
        lock (_gate)
        {
            _paused = false;
            WakeWorker(AllQueues);
        }
    }

    /// <summary>Resets the device and waits until that is done. While no vCPU runs.</summary>
    internal void ResetAndWait()
    {
        RequestReset();
        lock (_gate)
        {
            while (_resetPending)
                Monitor.Wait(_gate);
        }
    }

    internal VirtioDeviceState Capture()
    {
        lock (_gate)
        {
            if (_active != 0)
                throw new InvalidOperationException($"{Name} must be paused while its state is captured.");
            return new VirtioDeviceState(1, _status, _driverFeatures, [.. _queues.Select(q => q.Capture())], CaptureDevice());
        }
    }

    internal void Restore(VirtioDeviceState state)
    {
        lock (_gate)
        {
            bool valid = _active == 0 && state.Version == 1 && state.Queues.Length == _queues.Length
                && (state.Features & ~OfferedFeatures) == 0 && TryRestoreDevice(state.DeviceSpecific);
            for (int i = 0; valid && i < _queues.Length; i++)
                valid = _queues[i].TryRestore(state.Queues[i], Memory, state.Features);
            if (!valid)
                throw new InvalidDataException($"The state is not one of {Name}.");
            (_status, _driverFeatures) = (state.Status, state.Features);
            WakeWorker(AllQueues);
        }
    }

    /// <summary>Ends the worker after what is in flight. Idempotent.</summary>
    public void Dispose()
    {
        bool join;
        lock (_gate)
        {
            _stopping = true;
            Monitor.PulseAll(_gate);
            while (_active != 0)
                Monitor.Wait(_gate);
            join = _workerStarted && Thread.CurrentThread != _worker;
        }
        if (join)
            _worker.Join();
        GC.SuppressFinalize(this);
    }

    /// <summary>Takes the next chain off a queue. On the worker thread; every chain taken is given to <see cref="Complete"/>.</summary>
    private protected bool TryTake(Virtqueue queue, DescriptorChain chain)
    {
        lock (_gate)
        {
            if (!CanRun(queue))
                return false;
            _active++;
            queue.Active++;
        }
        var result = queue.Ring!.TryPop(chain);
        if (result == PopResult.Taken)
            return true;
        if (result == PopResult.Broken)
            Break($"queue {queue.Index}: {queue.Ring.Error}");
        Leave(queue);
        return false;
    }

    /// <summary>Gives a chain back and interrupts the driver if it wants that. Any thread.</summary>
    private protected void Complete(Virtqueue queue, DescriptorChain chain, uint written)
    {
        if (queue.Push(chain, written))
            _transport?.NotifyQueue(queue);
        Leave(queue);
    }

    /// <summary>The driver broke its side of the contract: the device stops until it is reset (2.1, DEVICE_NEEDS_RESET).</summary>
    private protected void Break(string reason)
    {
        bool driverOk;
        lock (_gate)
        {
            if ((_status & VirtioStatus.NeedsReset) != 0)
                return;
            _status |= VirtioStatus.NeedsReset;
            driverOk = (_status & VirtioStatus.DriverOk) != 0;
        }
        LogBroken(Name, reason);
        if (driverOk)
            _transport?.NotifyConfig();
    }

    /// <summary>The device changed its configuration by itself.</summary>
    private protected void ConfigChanged()
    {
        lock (_gate)
            _generation++;
        _transport?.NotifyConfig();
    }

    private ulong AllQueues => ulong.MaxValue >> (64 - _queues.Length);

    private bool CanRun(Virtqueue queue) => IsRunning && queue is { Ring: not null, ResetPending: false };

    private bool IsRunning => !_paused && !_resetPending && !_stopping
        && (_status & (VirtioStatus.DriverOk | VirtioStatus.NeedsReset)) == VirtioStatus.DriverOk && _transport is { CanAccessMemory: true };

    // Under the lock. What cannot run now is dropped: whatever lets it run kicks all queues.
    private void WakeWorker(ulong queues)
    {
        if (!IsRunning)
            return;
        _kicked |= queues;
        if (!_workerStarted)
        {
            _workerStarted = true;
            _worker.Start();
        }
        Monitor.PulseAll(_gate);
    }

    private void Work()
    {
        while (WaitForKick(out ulong kicked))
        {
            foreach (var queue in _queues)
            {
                if ((kicked >> queue.Index & 1) != 0 && TryEnter(queue))
                {
                    Drain(queue);
                    Leave(queue);
                }
            }
        }
    }

    private bool WaitForKick(out ulong kicked)
    {
        lock (_gate)
        {
            while (!_stopping && (_kicked == 0 || !IsRunning))
                Monitor.Wait(_gate);
            kicked = _kicked;
            _kicked = 0;
            return !_stopping;
        }
    }

    private void Drain(Virtqueue queue)
    {
        var ring = queue.Ring!;
        ring.DisableNotification();
        ProcessQueue(queue);
        // What came between the last look and the switching on is looked at in another round, after the other queues.
        if (ring.EnableNotification())
            Kick(queue.Index);
    }

    private bool TryEnter(Virtqueue queue)
    {
        lock (_gate)
        {
            if (!CanRun(queue))
                return false;
            _active++;
            queue.Active++;
            return true;
        }
    }

    private void Leave(Virtqueue queue)
    {
        lock (_gate)
        {
            _active--;
            if (--queue.Active == 0 && queue.ResetPending)
                queue.Reset();
            if (_active != 0)
                return;
            Monitor.PulseAll(_gate);
            if (!_resetPending || _resetFinishing)
                return;
            _resetFinishing = true;
        }
        FinishReset();
    }

    private void RequestReset()
    {
        lock (_gate)
        {
            if (_resetPending)
                return;
            _resetPending = true;
            if (_active != 0)
                return;
            _resetFinishing = true;
        }
        FinishReset();
    }

    // Status turns 0 last: the driver waits for that, and finds everything else reset then.
    private void FinishReset()
    {
        _transport?.OnDeviceReset();
        OnReset();
        lock (_gate)
        {
            foreach (var queue in _queues)
                queue.Reset();
            _status = 0;
            _driverFeatures = 0;
            _kicked = 0;
            _resetPending = _resetFinishing = false;
            Monitor.PulseAll(_gate);
        }
    }

    [LoggerMessage(EventId = 3001, Level = LogLevel.Warning, Message = "{Device}: the driver broke the device and must reset it: {Reason}.")]
    private partial void LogBroken(string device, string reason);
}
