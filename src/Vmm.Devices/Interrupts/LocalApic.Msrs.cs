namespace Vmm.Devices.Interrupts;

// IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC registers (SDM vol. 3, 11.12).
public sealed partial class LocalApic
{
    /// <inheritdoc/>
    public bool TryReadMsr(uint msr, out ulong value)
    {
        value = 0;
        switch (msr)
        {
            case MsrApicBase:
                value = _apicBase;
                return true;
            case MsrTscDeadline:
                value = _timer.TscDeadline;
                return true;
            case >= MsrX2First and <= MsrX2Last when _x2Apic:
                uint register = msr - MsrX2First;
                if (!IsReadableX2(register))
                    return false;
                value = register == RegisterCommand ? _interruptCommand : ReadRegister(register);
                return true;
            default:
                return false;
        }
    }

    /// <inheritdoc/>
    public bool TryWriteMsr(uint msr, ulong value)
    {
        switch (msr)
        {
            case MsrApicBase:
                return TryWriteBase(value);
            case MsrTscDeadline:
                _timer.SetTscDeadline(value);
                return true;
            case >= MsrX2First and <= MsrX2Last when _x2Apic:
                return TryWriteX2(msr - MsrX2First, value);
            default:
                return false;
        }
    }

    private static bool IsReadableX2(uint register) => register switch
    {
        RegisterId or RegisterVersion or RegisterTaskPriority or RegisterProcessorPriority or RegisterLogicalDestination
            or RegisterSpurious or (>= RegisterInService and <= RegisterErrorStatus) or RegisterCommand
            or (>= RegisterLvtFirst and <= RegisterCurrentCount) or RegisterDivide => true,
        _ => false,
    };

    // Reserved bits and read-only registers raise #GP (SDM vol. 3, 11.12.1.3).
    private bool TryWriteX2(uint register, ulong value)
    {
        switch (register)
        {
            case RegisterCommand:
                // Bit 12, the xAPIC's delivery status, is ignored for software that writes back what it read there.
                if ((value & ~(CommandWritableX2 | LvtDeliveryStatus)) != 0)
                    return false;
                _interruptCommand = value & CommandWritableX2;
                SendCommand();
                return true;
            case RegisterSelfIpi:
                if (value > 0xFF)
                    return false;
                SendSelfIpi((byte)value);
                return true;
        }
        if ((value & ~WritableX2(register)) != 0 || !IsWritableX2(register))
            return false;
        WriteRegister(register, (uint)value);
        return true;
    }

    private static bool IsWritableX2(uint register) => register is RegisterTaskPriority or RegisterEoi or RegisterSpurious
        or RegisterErrorStatus or (>= RegisterLvtFirst and <= RegisterInitialCount) or RegisterDivide;

    private static ulong WritableX2(uint register) => register switch
    {
        RegisterTaskPriority => 0xFF,
        RegisterSpurious => SpuriousWritable,
        // The read-only status bits are ignored, not reserved.
        >= RegisterLvtFirst and <= RegisterLvtLast =>
            LvtWritable[(int)(register - RegisterLvtFirst)] | LvtDeliveryStatus | LvtRemoteIrr,
        RegisterInitialCount => 0xFFFFFFFF,
        RegisterDivide => 0xB,
        _ => 0,
    };

    private void SendSelfIpi(byte vector)
    {
        if (vector < 16)
            ReportError(ErrorSendIllegalVector);
        else
            Request(vector, level: false);
    }

    // The transitions of SDM vol. 3, figure 11-27: x2APIC mode is entered from xAPIC mode only and left to disabled only.
    private bool TryWriteBase(ulong value)
    {
        if ((value & ~(BaseAddressMask | BaseEnable | BaseX2Apic | BaseBootstrap)) != 0)
            return false;
        bool enable = (value & BaseEnable) != 0;
        bool x2 = (value & BaseX2Apic) != 0;
        if ((x2 && !enable) || (x2 && !_enabled) || (!x2 && enable && _x2Apic))
            return false;
        bool wasEnabled = _enabled;
        bool wasX2 = _x2Apic;
        // Which processor is the bootstrap processor was settled at reset.
        SetBase((value & ~BaseBootstrap) | (IsBootstrap ? BaseBootstrap : 0));
        if (enable != wasEnabled)
        {
            Init();
            // The 8259's interrupt may be waiting at what is the INTR pin now.
            if (LookAgain())
                _signals.InterruptRequested();
        }
        else if (x2 && !wasX2)
        {
            _logicalId = X2LogicalId(Id);
            _interruptCommand &= 0xFFFFFFFF;
        }
        return true;
    }

    private void SetBase(ulong value)
    {
        Volatile.Write(ref _apicBase, value);
        _x2Apic = (value & (BaseEnable | BaseX2Apic)) == (BaseEnable | BaseX2Apic);
        _enabled = (value & BaseEnable) != 0;
    }
}
