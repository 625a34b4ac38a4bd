namespace Vmm.Devices.Interrupts;

// What arrives: messages of the bus, the local interrupt pins and the internal sources.
public sealed partial class LocalApic
{
    /// <summary>Whether a message is addressed to this APIC (SDM vol. 3, 11.6.2).</summary>
    internal bool Matches(in ApicMessage message)
    {
        if (message.Destination == ApicMessage.Broadcast)
            return true;
        if (!message.Logical)
            return message.Destination == Id && (_x2Apic || Id <= 0xFF);
        return _x2Apic ? MatchesX2Logical(message.Destination) : MatchesLogical(message.Destination);
    }

    private bool MatchesX2Logical(uint destination)
    {
        uint id = _logicalId;
        return destination >> 16 == id >> 16 && (destination & id & 0xFFFF) != 0;
    }

    private bool MatchesLogical(uint destination)
    {
        if (destination > 0xFF)
            return false;
        uint id = _logicalId >> 24;
        return (_destinationFormat >> 28) switch
        {
            0xF => (id & destination) != 0,
            0 => (destination >> 4 == id >> 4 || destination >> 4 == 0xF) && (destination & id & 0xF) != 0,
            _ => false,
        };
    }

    /// <summary>Takes a message that is addressed to this APIC. Any thread.</summary>
    internal void Accept(in ApicMessage message)
    {
        if (!_enabled)
            return;
        switch (message.Mode)
        {
            case ApicDeliveryMode.Fixed:
            case ApicDeliveryMode.LowestPriority:
                Request(message.Vector, message.LevelTriggered);
                break;
            case ApicDeliveryMode.Nmi:
                _signals.Nmi();
                break;
            case ApicDeliveryMode.Init:
                // INIT level de-assert only synchronized arbitration IDs (SDM vol. 3, 11.6.1).
                if (message.Assert)
                    _signals.Init();
                break;
            case ApicDeliveryMode.Startup:
                _signals.Startup(message.Vector);
                break;
            case ApicDeliveryMode.ExtInt:
                Volatile.Write(ref _extIntMessage, 1);
                RequestAttention();
                break;
            default:
                // SMI: this platform has no system management mode, as if SMM were locked out. Reserved modes deliver nothing.
                break;
        }
    }

    /// <summary>Sets a vector in IRR.</summary>
    private void Request(byte vector, bool level)
    {
        if (vector < 16)
        {
            ReportError(ErrorReceiveIllegalVector);
            return;
        }
        if (!_softwareEnabled)
            return;
        if (_triggerMode.Test(vector) != level)
        {
            if (level)
                _triggerMode.SetAtomic(vector);
            else
                _triggerMode.ClearAtomic(vector);
        }
        // Whoever set the bit first tells the processor; a second request merges with it.
        if (_requested.SetAtomic(vector))
            RequestAttention();
    }

    private void RequestAttention()
    {
        _attention = true;
        _signals.InterruptRequested();
    }

    /// <summary>Drives the LINT0 pin. Any thread.</summary>
    internal void SetLint0(bool asserted)
    {
        bool rising = asserted && !_lint0;
        _lint0 = asserted;
        if (!rising)
            return;
        if (!_enabled)
        {
            if (IsBootstrap)
                RequestAttention();
            return;
        }
        if ((Volatile.Read(ref _lvt[LvtLint0]) & LvtTriggerLevel) != 0)
            DeliverLevelLint0();
        else
            DeliverLocal(LvtLint0, level: false);
    }

    /// <summary>Drives the LINT1 pin, the NMI pin of a disabled APIC. Any thread.</summary>
    internal void SetLint1(bool asserted)
    {
        bool rising = asserted && !_lint1;
        _lint1 = asserted;
        if (!rising)
            return;
        if (_enabled)
            DeliverLocal(LvtLint1, level: false); // LINT1 is always edge sensitive (SDM vol. 3, 11.5.1).
        else if (IsBootstrap)
            _signals.Nmi();
    }

    /// <summary>The performance counters overflowed. The entry masks itself (SDM vol. 3, 20.6.3.5.8).</summary>
    public void TriggerPerformanceInterrupt()
    {
        DeliverLocal(LvtPerformance, level: false);
        Interlocked.Or(ref _lvt[LvtPerformance], LvtMasked);
    }

    /// <summary>The thermal sensor tripped.</summary>
    public void TriggerThermalInterrupt() => DeliverLocal(LvtThermal, level: false);

    // Fixed and level: remote IRR holds further messages off until EOI.
    private void DeliverLevelLint0()
    {
        uint entry = Volatile.Read(ref _lvt[LvtLint0]);
        if ((entry & LvtDeliveryMode) != 0)
        {
            DeliverLocal(LvtLint0, level: true);
            return;
        }
        if ((entry & (LvtMasked | LvtRemoteIrr)) != 0 || !_lint0)
            return;
        Interlocked.Or(ref _lvt[LvtLint0], LvtRemoteIrr);
        Request((byte)entry, level: true);
    }

    private void EndLevelLint0(int vector)
    {
        uint entry = Volatile.Read(ref _lvt[LvtLint0]);
        if ((entry & LvtRemoteIrr) == 0 || (byte)entry != vector)
            return;
        Interlocked.And(ref _lvt[LvtLint0], ~LvtRemoteIrr);
        DeliverLevelLint0();
    }

    private void DeliverLocal(int index, bool level)
    {
        uint entry = Volatile.Read(ref _lvt[index]);
        if ((entry & LvtMasked) != 0 || !_enabled)
            return;
        switch ((ApicDeliveryMode)((entry >> 8) & 7))
        {
            case ApicDeliveryMode.Fixed:
                Request((byte)entry, level);
                break;
            case ApicDeliveryMode.Nmi:
                _signals.Nmi();
                break;
            case ApicDeliveryMode.Init:
                _signals.Init();
                break;
            case ApicDeliveryMode.ExtInt:
                RequestAttention();
                break;
            default:
                break;
        }
    }

    private void OnTimer()
    {
        uint entry = Volatile.Read(ref _lvt[LvtTimer]);
        if ((entry & LvtMasked) == 0 && _enabled)
            Request((byte)entry, level: false);
    }

    // Collects an error for the next write of ESR, and signals the first one since the last (SDM vol. 3, 11.5.3).
    private void ReportError(uint error)
    {
        Interlocked.Or(ref _errors, error);
        if (Interlocked.Exchange(ref _errorSignalled, 1) != 0)
            return;
        uint entry = Volatile.Read(ref _lvt[LvtError]);
        if ((entry & LvtMasked) == 0 && (byte)entry >= 16)
            Request((byte)entry, level: false);
    }
}
