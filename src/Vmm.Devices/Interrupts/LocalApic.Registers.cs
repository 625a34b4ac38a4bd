namespace Vmm.Devices.Interrupts;

// The registers, in both their forms: the xAPIC page and the x2APIC MSRs (SDM vol. 3, 11.4.1 and 11.12.1.2).
public sealed partial class LocalApic
{
    private const uint MsrApicBase = 0x1B;
    private const uint MsrTscDeadline = 0x6E0;
    private const uint MsrX2First = 0x800;
    private const uint MsrX2Last = 0x8FF;

    // Register numbers: page offset divided by 16, MSR number less 0x800.
    private const uint RegisterId = 0x02;
    private const uint RegisterVersion = 0x03;
    private const uint RegisterTaskPriority = 0x08;
    private const uint RegisterArbitrationPriority = 0x09;
    private const uint RegisterProcessorPriority = 0x0A;
    private const uint RegisterEoi = 0x0B;
    private const uint RegisterRemoteRead = 0x0C;
    private const uint RegisterLogicalDestination = 0x0D;
    private const uint RegisterDestinationFormat = 0x0E;
    private const uint RegisterSpurious = 0x0F;
    private const uint RegisterInService = 0x10;
    private const uint RegisterTriggerMode = 0x18;
    private const uint RegisterRequested = 0x20;
    private const uint RegisterErrorStatus = 0x28;
    private const uint RegisterCommand = 0x30;
    private const uint RegisterCommandHigh = 0x31;
    private const uint RegisterLvtFirst = 0x32;
    private const uint RegisterLvtLast = 0x37;
    private const uint RegisterInitialCount = 0x38;
    private const uint RegisterCurrentCount = 0x39;
    private const uint RegisterDivide = 0x3E;
    private const uint RegisterSelfIpi = 0x3F;

    // Integrated APIC, six LVT entries, EOI-broadcast suppression (SDM vol. 3, 11.4.8).
    private const uint Version = 0x01050014;

    private const uint SpuriousEnable = 1 << 8;
    private const uint SpuriousSuppressEoi = 1 << 12;
    private const uint SpuriousWritable = 0x13FF;

    private const uint ErrorSendIllegalVector = 1 << 5;
    private const uint ErrorReceiveIllegalVector = 1 << 6;
    private const uint ErrorIllegalRegister = 1 << 7;

    // LVT entries in the order of their registers, 0x32 to 0x37.
    private const int LvtTimer = 0;
    private const int LvtThermal = 1;
    private const int LvtPerformance = 2;
    private const int LvtLint0 = 3;
    private const int LvtLint1 = 4;
    private const int LvtError = 5;

    private const uint LvtDeliveryMode = 7 << 8;
    private const uint LvtDeliveryStatus = 1 << 12;
    private const uint LvtRemoteIrr = 1 << 14;
    private const uint LvtTriggerLevel = 1 << 15;
    private const uint LvtMasked = 1 << 16;

    private const ulong CommandWritable = 0xFF000000_000CCFFF;
    private const ulong CommandWritableX2 = 0xFFFFFFFF_000CCFFF;

    private readonly uint[] _lvt = new uint[6];
    private ulong _interruptCommand;
    private uint _divideConfiguration;
    private uint _errorStatus;
    private uint _errors;
    private int _errorSignalled;

    private static ReadOnlySpan<uint> LvtWritable => [0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF];

    /// <inheritdoc/>
    public ulong ReadPage(uint offset, int size)
    {
        ulong all = size >= 8 ? ulong.MaxValue : (1UL << (size * 8)) - 1;
        if (!_enabled || _x2Apic)
            return all;
        // Other accesses than aligned 32-bit ones are undefined (SDM vol. 3, 11.4.1); within the register they read its bytes.
        int within = (int)(offset & 0xF);
        if (within > 3)
            return 0;
        uint register = (offset >> 4) & 0xFF;
        return ((ulong)ReadRegister(register) >> (within * 8)) & all;
    }

    /// <inheritdoc/>
    public void WritePage(uint offset, int size, ulong value)
    {
        if (!_enabled || _x2Apic || (offset & 0xF) != 0 || size < 4)
            return;
        WriteRegister((offset >> 4) & 0xFF, (uint)value);
    }

    private uint ReadRegister(uint register)
    {
        switch (register)
        {
            case RegisterId:
                return _x2Apic ? Id : Id << 24;
            case RegisterVersion:
                return Version;
            case RegisterTaskPriority:
                return _taskPriority;
            case RegisterArbitrationPriority:
                return ArbitrationPriority();
            case RegisterProcessorPriority:
                return _processorPriority;
            case RegisterEoi:
            case RegisterRemoteRead:
                return 0;
            case RegisterLogicalDestination:
                return _logicalId;
            case RegisterDestinationFormat:
                return _destinationFormat;
            case RegisterSpurious:
                return _spurious;
            case >= RegisterInService and < RegisterTriggerMode:
                return _inService.Read32((int)(register - RegisterInService));
            case >= RegisterTriggerMode and < RegisterRequested:
                return _triggerMode.Read32((int)(register - RegisterTriggerMode));
            case >= RegisterRequested and < RegisterErrorStatus:
                return _requested.Read32((int)(register - RegisterRequested));
            case RegisterErrorStatus:
                return _errorStatus;
            case RegisterCommand:
                return (uint)_interruptCommand;
            case RegisterCommandHigh:
                return (uint)(_interruptCommand >> 32);
            case >= RegisterLvtFirst and <= RegisterLvtLast:
                return Volatile.Read(ref _lvt[register - RegisterLvtFirst]);
            case RegisterInitialCount:
                return _timer.InitialCount;
            case RegisterCurrentCount:
                return _timer.CurrentCount;
            case RegisterDivide:
                return _divideConfiguration;
            default:
                ReportError(ErrorIllegalRegister);
                return 0;
        }
    }

    private void WriteRegister(uint register, uint value)
    {
        switch (register)
        {
            case RegisterEoi:
                EndOfInterrupt();
                break;
            case RegisterTaskPriority:
                SetTaskPriority((byte)value);
                break;
            case RegisterCommand:
                _interruptCommand = ((_interruptCommand & ~0xFFFFFFFFUL) | value) & CommandWritable;
                SendCommand();
                break;
            case RegisterCommandHigh:
                _interruptCommand = ((_interruptCommand & 0xFFFFFFFF) | ((ulong)value << 32)) & CommandWritable;
                break;
            case RegisterLogicalDestination:
                _logicalId = value & 0xFF000000;
                break;
            case RegisterDestinationFormat:
                _destinationFormat = value | 0x0FFFFFFF;
                break;
            case RegisterSpurious:
                WriteSpurious(value);
                break;
            case RegisterErrorStatus:
                // A write moves what was collected into view and arms the error interrupt again (SDM vol. 3, 11.5.3).
                _errorStatus = Interlocked.Exchange(ref _errors, 0);
                Volatile.Write(ref _errorSignalled, 0);
                break;
            case >= RegisterLvtFirst and <= RegisterLvtLast:
                WriteLvt((int)(register - RegisterLvtFirst), value);
                break;
            case RegisterInitialCount:
                _timer.SetInitialCount(value);
                break;
            case RegisterDivide:
                _divideConfiguration = value & 0xB;
                _timer.SetDivider(DividerShift(_divideConfiguration));
                break;
            case RegisterId or RegisterVersion or RegisterArbitrationPriority or RegisterProcessorPriority or RegisterRemoteRead
                or RegisterCurrentCount or (>= RegisterInService and < RegisterErrorStatus):
                break;
            default:
                ReportError(ErrorIllegalRegister);
                break;
        }
    }

    // Divide configuration bits 3, 1 and 0: 0 divides by 2 up to 6 by 128, and 7 by 1 (SDM vol. 3, figure 11-10).
    private static int DividerShift(uint configuration) => (int)((((configuration >> 1) & 4) | (configuration & 3)) + 1) & 7;

    private static uint X2LogicalId(uint id) => ((id >> 4) << 16) | (1u << (int)(id & 0xF));

    private void WriteSpurious(uint value)
    {
        _spurious = value & SpuriousWritable;
        bool enabled = (value & SpuriousEnable) != 0;
        if (!enabled)
        {
            for (int i = 0; i < _lvt.Length; i++)
                Interlocked.Or(ref _lvt[i], LvtMasked);
        }
        _softwareEnabled = enabled;
    }

    private void WriteLvt(int index, uint value)
    {
        value &= LvtWritable[index];
        if (!_softwareEnabled)
            value |= LvtMasked;
        if (index == LvtTimer)
            _timer.SetMode((LocalApicTimerMode)((value >> 17) & 3));
        uint remoteIrr = (value & LvtTriggerLevel) != 0 ? _lvt[index] & LvtRemoteIrr : 0;
        Volatile.Write(ref _lvt[index], value | remoteIrr);
        if (index != LvtLint0 || !_lint0)
            return;
        // The pin is high already: a level-sensitive entry sees it when it is unmasked, and so does ExtINT, which INTR holds.
        if ((value & LvtDeliveryMode) == (uint)ApicDeliveryMode.ExtInt << 8)
            DeliverLocal(LvtLint0, level: true);
        else if ((value & LvtTriggerLevel) != 0 && (value & LvtDeliveryMode) == 0)
            DeliverLevelLint0();
    }

    private void SendCommand()
    {
        uint low = (uint)_interruptCommand;
        var mode = (ApicDeliveryMode)((low >> 8) & 7);
        bool trigger = (low & 0x8000) != 0;
        bool assert = (low & 0x4000) != 0;
        byte vector = (byte)low;
        if (mode is ApicDeliveryMode.Fixed or ApicDeliveryMode.LowestPriority && vector < 16)
        {
            ReportError(ErrorSendIllegalVector);
            return;
        }
        uint destination = _x2Apic ? (uint)(_interruptCommand >> 32) : ApicMessage.Widen((uint)(_interruptCommand >> 56));
        // IPIs are edge triggered whatever the trigger bit says; it only tells INIT de-assert apart (SDM vol. 3, 11.6.1).
        bool isAsserted = mode != ApicDeliveryMode.Init || assert || !trigger;
        var message = new ApicMessage(destination, (low & 0x800) != 0, mode, vector, LevelTriggered: false, Assert: isAsserted);
        switch ((low >> 18) & 3)
        {
            case 0:
                _bus.Deliver(message);
                break;
            case 1 when mode == ApicDeliveryMode.Fixed:
                Accept(message);
                break;
            case 2 when mode == ApicDeliveryMode.Fixed:
                _bus.DeliverToAll(message, except: null);
                break;
            case 3 when mode == ApicDeliveryMode.LowestPriority:
                // May come back to the sender (SDM vol. 3, table 11-3, note 3).
                _bus.Deliver(message with { Destination = ApicMessage.Broadcast });
                break;
            case 3:
                _bus.DeliverToAll(message, except: this);
                break;
            default:
                // Self and all-including-self with another mode than fixed are invalid (SDM vol. 3, table 11-3).
                break;
        }
    }

    private byte ArbitrationPriority()
    {
        int requested = Math.Max(_requested.Highest(), 0) & 0xF0;
        int inService = Math.Max(_inService.Highest(), 0) & 0xF0;
        int task = _taskPriority;
        int highest = Math.Max(requested, inService);
        return (byte)((task & 0xF0) >= requested && (task & 0xF0) > inService ? task : highest);
    }

}
