using Vmm.Core.Interrupts;

namespace Vmm.Devices.Interrupts;

/// <summary>The 8259 side of a local APIC: what answers an INTA cycle for an ExtINT.</summary>
public interface IExternalInterruptController
{
    /// <summary>The INTA cycle. With nothing pending it returns the spurious vector.</summary>
    byte Acknowledge();

    /// <summary>The INTA cycle, if INTR is asserted.</summary>
    bool TryAcknowledge(out byte vector);
}

/// <summary>An I/O APIC as the local APICs see it: it hears of every EOI of a level-triggered vector.</summary>
public interface IEoiListener
{
    /// <summary>A local APIC broadcasts the EOI of a level-triggered vector. On the vCPU's thread.</summary>
    void EndOfInterrupt(byte vector);
}

/// <summary>
/// Connects the local APICs of a machine: routes MSIs, I/O APIC messages and IPIs to them (Intel SDM vol. 3, 11.6.2 and 11.11).
/// Everything may be called from any thread; delivery takes no lock and allocates nothing. APICs and listeners are added while the
/// machine is put together.
/// </summary>
public sealed class ApicBus : IMsiSink, IInterruptLine
{
    private const ulong MessageAddressBase = 0xFEE00000;
    private const ulong MessageAddressMask = 0xFFFFFFFFFFF00000;

    private readonly Lock _lock = new();
    private LocalApic[] _apics = [];
    private LocalApic?[] _byId = [];
    private IEoiListener[] _listeners = [];
    private int _rotation;

    /// <summary>What answers the INTA cycle of an ExtINT; null on a machine without 8259s.</summary>
    public IExternalInterruptController? ExternalController { get; set; }

    /// <summary>The local APICs in the order they were made.</summary>
    public IReadOnlyList<LocalApic> Apics => Volatile.Read(ref _apics);

    /// <summary>Adds an I/O APIC that hears of EOIs.</summary>
    public void AddEoiListener(IEoiListener listener)
    {
        lock (_lock)
            Volatile.Write(ref _listeners, [.. _listeners, listener]);
    }

    internal void Add(LocalApic apic)
    {
        lock (_lock)
        {
            if (_apics.Any(a => a.Id == apic.Id))
                throw new ArgumentException($"There already is a local APIC with ID {apic.Id}.", nameof(apic));
            var byId = _byId;
            Array.Resize(ref byId, Math.Max(byId.Length, checked((int)apic.Id + 1)));
            byId[apic.Id] = apic;
            Volatile.Write(ref _byId, byId);
            Volatile.Write(ref _apics, [.. _apics, apic]);
        }
    }

    /// <summary>
    /// Delivers an MSI. An address outside of 0xFEExxxxx is dropped: it is an ordinary memory write that no APIC sees.
    /// </summary>
    public void Send(MsiMessage message)
    {
        if ((message.Address & MessageAddressMask) != MessageAddressBase)
            return;
        uint address = (uint)message.Address;
        var mode = (ApicDeliveryMode)((message.Data >> 8) & 7);
        bool logical = (address & 4) != 0;
        // The redirection hint asks for one processor of a logical group, the one of lowest priority (SDM vol. 3, 11.11.1).
        if ((address & 8) != 0 && logical && mode == ApicDeliveryMode.Fixed)
            mode = ApicDeliveryMode.LowestPriority;
        bool level = (message.Data & 0x8000) != 0;
        if (level && (message.Data & 0x4000) == 0)
            return; // Deassert messages of level-triggered MSIs change nothing in a local APIC.
        Deliver(new ApicMessage(ApicMessage.Widen((address >> 12) & 0xFF), logical, mode, (byte)message.Data, level));
    }

    /// <summary>Drives LINT0 of all processors: the INTR output of the 8259s.</summary>
    public void SetLevel(bool asserted)
    {
        foreach (var apic in Volatile.Read(ref _apics))
            apic.SetLint0(asserted);
    }

    /// <summary>Drives LINT1 of all processors: the board's NMI.</summary>
    public void SetNmi(bool asserted)
    {
        foreach (var apic in Volatile.Read(ref _apics))
            apic.SetLint1(asserted);
    }

    internal void Deliver(in ApicMessage message)
    {
        if (message.Mode == ApicDeliveryMode.LowestPriority)
        {
            FindLowestPriority(message)?.Accept(message);
            return;
        }
        if (!message.Logical && message.Destination != ApicMessage.Broadcast)
        {
            var byId = Volatile.Read(ref _byId);
            if (message.Destination < (uint)byId.Length && byId[message.Destination] is { } apic && apic.Matches(message))
                apic.Accept(message);
            return;
        }
        foreach (var apic in Volatile.Read(ref _apics))
        {
            if (apic.Matches(message))
                apic.Accept(message);
        }
    }

    internal void DeliverToAll(in ApicMessage message, LocalApic? except)
    {
        foreach (var apic in Volatile.Read(ref _apics))
        {
            if (!ReferenceEquals(apic, except))
                apic.Accept(message);
        }
    }

    internal void BroadcastEoi(byte vector)
    {
        foreach (var listener in Volatile.Read(ref _listeners))
            listener.EndOfInterrupt(vector);
    }

    // Arbitration: the lowest processor priority wins; among equals the turn goes round, so that load spreads (SDM vol. 3, 11.6.2.4).
    private LocalApic? FindLowestPriority(in ApicMessage message)
    {
        var apics = Volatile.Read(ref _apics);
        int start = (int)((uint)Interlocked.Increment(ref _rotation) % (uint)Math.Max(1, apics.Length));
        LocalApic? best = null;
        int bestPriority = int.MaxValue;
        for (int i = 0; i < apics.Length; i++)
        {
            int index = start + i;
            var apic = apics[index < apics.Length ? index : index - apics.Length];
            if (!apic.IsSoftwareEnabled || !apic.Matches(message))
                continue;
            int priority = apic.ProcessorPriority;
            if (priority < bestPriority)
                (best, bestPriority) = (apic, priority);
        }
        return best;
    }
}
