using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Core.Time;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// The local APIC of one processor, in xAPIC and x2APIC mode (Intel SDM vol. 3, chapter 11). Registers are read and written on the
/// vCPU's thread; <see cref="InterruptPending"/> reads no lock, and other threads deliver by atomic operations on IRR.
/// </summary>
public sealed partial class LocalApic : ILocalInterruptController, IResettable, ISnapshotable<LocalApicState>, IDisposable
{
    /// <summary>Input clock of the APIC timer, Hz: one count a nanosecond before the divider.</summary>
    public const ulong TimerFrequency = 1_000_000_000;

    /// <summary>Physical address of the register page after reset.</summary>
    public const ulong DefaultBase = 0xFEE00000;

    private const ulong BaseBootstrap = 1UL << 8;
    private const ulong BaseX2Apic = 1UL << 10;
    private const ulong BaseEnable = 1UL << 11;
    private const ulong BaseAddressMask = 0x000FFFFFFFFFF000;

    private readonly ApicBus _bus;
    private readonly LocalApicTimer _timer;
    private ICpuSignals _signals = NoSignals.Instance;

    // Written by the vCPU's thread only, read by any.
    private ulong _apicBase;
    private volatile bool _enabled;
    private volatile bool _softwareEnabled;
    private volatile bool _x2Apic;
    private volatile uint _logicalId;
    private volatile uint _destinationFormat;
    private volatile byte _taskPriority;
    private volatile byte _processorPriority;
    private volatile uint _spurious;

    // IRR and TMR are set by any thread; ISR belongs to the vCPU's.
    private VectorSet _requested;
    private VectorSet _inService;
    private VectorSet _triggerMode;

    // False only while nothing is deliverable, so that the processor's look costs one read. Any thread sets it, after what it
    // announces; only the vCPU's thread clears it, and looks again.
    private volatile bool _attention;

    // An ExtINT message is waiting for its INTA cycle.
    private int _extIntMessage;
    private volatile bool _lint0;
    private volatile bool _lint1;

    /// <summary>Makes an APIC in its reset state and connects it to the bus.</summary>
    /// <param name="bus">What connects the APICs of the machine.</param>
    /// <param name="id">APIC ID.</param>
    /// <param name="bootstrap">Whether this is the bootstrap processor's.</param>
    /// <param name="clock">VM time.</param>
    /// <param name="tscFrequency">Hz of the time-stamp counter, for TSC-deadline mode.</param>
    /// <exception cref="ArgumentException">The ID is taken.</exception>
    public LocalApic(ApicBus bus, uint id, bool bootstrap, VmClock clock, ulong tscFrequency)
    {
        ArgumentNullException.ThrowIfNull(bus);
        ArgumentNullException.ThrowIfNull(clock);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(id, 0xFFFFu);
        (_bus, Id, IsBootstrap) = (bus, id, bootstrap);
        _timer = new LocalApicTimer(clock, tscFrequency, OnTimer);
        Reset();
        bus.Add(this);
    }

    /// <summary>The APIC ID.</summary>
    public uint Id { get; }

    /// <summary>Whether this is the bootstrap processor's APIC.</summary>
    public bool IsBootstrap { get; }

    /// <inheritdoc/>
    public ulong ApicBase => Volatile.Read(ref _apicBase);

    /// <summary>IA32_TSC_ADJUST as the timer sees it: the TSC is VM time times its frequency plus this. vCPU's thread.</summary>
    public long TscOffset
    {
        get => _timer.TscOffset;
        set => _timer.TscOffset = value;
    }

    /// <summary>SVR bit 8 of a globally enabled APIC: it takes fixed and lowest-priority messages.</summary>
    internal bool IsSoftwareEnabled => _enabled && _softwareEnabled;

    internal byte ProcessorPriority => _processorPriority;

    /// <inheritdoc/>
    public bool InterruptPending => _attention && IsDeliverable;

    /// <inheritdoc/>
    public byte Cr8
    {
        get => (byte)(_taskPriority >> 4);
        set => SetTaskPriority((byte)(value << 4));
    }

    private bool IsDeliverable
    {
        get
        {
            int highest = _requested.Highest();
            return (highest >= 0 && (highest & 0xF0) > (_processorPriority & 0xF0)) || ExternalPending;
        }
    }

    private bool ExternalPending => Volatile.Read(ref _extIntMessage) != 0 || (_lint0 && Lint0IsExternalInterrupt);

    // With the APIC globally disabled LINT0 is the processor's INTR pin (SDM vol. 3, 11.4.3).
    private bool Lint0IsExternalInterrupt => _enabled
        ? (_lvt[LvtLint0] & (LvtMasked | LvtDeliveryMode)) == ((uint)ApicDeliveryMode.ExtInt << 8)
        : IsBootstrap;

    /// <summary>Connects the processor's inputs. Before the machine runs.</summary>
    public void Attach(ICpuSignals signals)
    {
        ArgumentNullException.ThrowIfNull(signals);
        _signals = signals;
    }

    /// <summary>
    /// Does what a PC's firmware does on the bootstrap processor: APIC enabled, LINT0 as ExtINT from the 8259s, LINT1 as NMI (virtual
    /// wire mode, MultiProcessor Specification 3.6.2.2). For a board that starts a kernel without firmware.
    /// </summary>
    public void ConfigureVirtualWire()
    {
        WriteSpurious(0x1FF);
        WriteLvt(LvtLint0, (uint)ApicDeliveryMode.ExtInt << 8);
        WriteLvt(LvtLint1, (uint)ApicDeliveryMode.Nmi << 8);
    }

    /// <inheritdoc/>
    public void Reset()
    {
        SetBase(DefaultBase | BaseEnable | (IsBootstrap ? BaseBootstrap : 0));
        _timer.TscOffset = 0;
        Init();
    }

    /// <inheritdoc/>
    public void Init()
    {
        _requested.ClearAll();
        _inService.ClearAll();
        _triggerMode.ClearAll();
        Volatile.Write(ref _extIntMessage, 0);
        _taskPriority = 0;
        _processorPriority = 0;
        _destinationFormat = 0xFFFFFFFF;
        _logicalId = _x2Apic ? X2LogicalId(Id) : 0;
        _interruptCommand = 0;
        _errorStatus = 0;
        Volatile.Write(ref _errors, 0);
        Volatile.Write(ref _errorSignalled, 0);
        _divideConfiguration = 0;
        _lvt.AsSpan().Fill(LvtMasked);
        _spurious = 0xFF;
        _softwareEnabled = false;
        _timer.Reset();
    }

    /// <inheritdoc/>
    public bool TryAcknowledge(out byte vector)
    {
        int highest = _requested.Highest();
        if (highest >= 0 && (highest & 0xF0) > (_processorPriority & 0xF0))
        {
            _requested.ClearAtomic(highest);
            _inService.Set(highest);
            _processorPriority = (byte)(highest & 0xF0);
            vector = (byte)highest;
            return true;
        }
        return TryAcknowledgeExternal(out vector);
    }

    /// <summary>Stops the timer.</summary>
    public void Dispose() => _timer.Dispose();

    private bool TryAcknowledgeExternal(out byte vector)
    {
        vector = 0;
        if (_bus.ExternalController is not { } controller)
        {
            Volatile.Write(ref _extIntMessage, 0);
            return false;
        }
        bool taken = true;
        if (Interlocked.Exchange(ref _extIntMessage, 0) != 0)
            vector = controller.Acknowledge();
        else
            taken = _lint0 && Lint0IsExternalInterrupt && controller.TryAcknowledge(out vector);
        LookAgain();
        return taken;
    }

    private void SetTaskPriority(byte value)
    {
        byte before = _processorPriority;
        _taskPriority = value;
        UpdateProcessorPriority();
        if (_processorPriority < before && LookAgain())
            _signals.InterruptRequested();
    }

    // After a change on the vCPU's thread: whether something is deliverable now.
    private bool LookAgain()
    {
        _attention = false;
        Interlocked.MemoryBarrier();
        if (!IsDeliverable)
            return false;
        _attention = true;
        return true;
    }

    // PPR (SDM vol. 3, 11.8.3.1): the higher class of TPR and the highest vector in service.
    private void UpdateProcessorPriority()
    {
        int inService = Math.Max(_inService.Highest(), 0) & 0xF0;
        int task = _taskPriority;
        _processorPriority = (byte)((task & 0xF0) >= inService ? task : inService);
    }

    private void EndOfInterrupt()
    {
        int vector = _inService.Highest();
        if (vector < 0)
            return;
        _inService.Clear(vector);
        UpdateProcessorPriority();
        if (_triggerMode.Test(vector))
        {
            EndLevelLint0(vector);
            if ((_spurious & SpuriousSuppressEoi) == 0)
                _bus.BroadcastEoi((byte)vector);
        }
        if (LookAgain())
            _signals.InterruptRequested();
    }

    private sealed class NoSignals : ICpuSignals
    {
        public static readonly NoSignals Instance = new();

        public void InterruptRequested()
        {
        }

        public void Nmi()
        {
        }

        public void Init()
        {
        }

        public void Startup(byte vector)
        {
        }
    }
}
