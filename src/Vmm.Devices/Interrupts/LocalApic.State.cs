using System.Buffers.Binary;
using System.Collections.Immutable;

namespace Vmm.Devices.Interrupts;

/// <summary>State of a local APIC.</summary>
/// <param name="Registers">
/// The first 1024 bytes of the register page, a register every 16 bytes, as KVM_GET_LAPIC gives them; in x2APIC mode with the 32-bit
/// ID and the upper half of ICR at 0x310.
/// </param>
/// <param name="ApicBase">IA32_APIC_BASE.</param>
/// <param name="TscDeadline">IA32_TSC_DEADLINE.</param>
/// <param name="TscOffset">IA32_TSC_ADJUST as the timer sees it.</param>
/// <param name="Errors">Errors collected since ESR was written last.</param>
/// <param name="ExtIntMessage">Whether an ExtINT message waits for its INTA cycle.</param>
/// <param name="Lint0">Level of LINT0.</param>
/// <param name="Lint1">Level of LINT1.</param>
public sealed record LocalApicState(
    ImmutableArray<byte> Registers, ulong ApicBase, ulong TscDeadline, long TscOffset, uint Errors, bool ExtIntMessage, bool Lint0,
    bool Lint1);

// Snapshots.
public sealed partial class LocalApic
{
    private const int StateSize = 0x400;

    /// <inheritdoc/>
    public LocalApicState Capture()
    {
        var page = new byte[StateSize];
        for (uint register = RegisterId; register <= RegisterDivide; register++)
        {
            // Reading an unimplemented register would count as an error of the guest.
            if (IsReadableX2(register) || register is RegisterArbitrationPriority or RegisterDestinationFormat or RegisterCommandHigh)
                BinaryPrimitives.WriteUInt32LittleEndian(page.AsSpan((int)register * 16), ReadRegister(register));
        }
        return new LocalApicState([.. page], _apicBase, _timer.TscDeadline, _timer.TscOffset, Volatile.Read(ref _errors),
            Volatile.Read(ref _extIntMessage) != 0, _lint0, _lint1);
    }

    /// <inheritdoc/>
    public void Restore(LocalApicState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        Validate(state);
        var page = state.Registers.AsSpan();
        SetBase(state.ApicBase);
        _taskPriority = (byte)Get(page, RegisterTaskPriority);
        _logicalId = _x2Apic ? X2LogicalId(Id) : Get(page, RegisterLogicalDestination) & 0xFF000000;
        _destinationFormat = Get(page, RegisterDestinationFormat) | 0x0FFFFFFF;
        _spurious = Get(page, RegisterSpurious) & SpuriousWritable;
        _softwareEnabled = (_spurious & SpuriousEnable) != 0;
        for (int i = 0; i < 8; i++)
        {
            _inService.Write32(i, Get(page, RegisterInService + (uint)i));
            _triggerMode.Write32(i, Get(page, RegisterTriggerMode + (uint)i));
            _requested.Write32(i, Get(page, RegisterRequested + (uint)i));
        }
        UpdateProcessorPriority();
        _attention = true;
        _errorStatus = Get(page, RegisterErrorStatus);
        Volatile.Write(ref _errors, state.Errors);
        Volatile.Write(ref _errorSignalled, state.Errors != 0 ? 1 : 0);
        _interruptCommand = (Get(page, RegisterCommand) | ((ulong)Get(page, RegisterCommandHigh) << 32))
            & (_x2Apic ? CommandWritableX2 : CommandWritable);
        for (int i = 0; i < _lvt.Length; i++)
            _lvt[i] = Get(page, RegisterLvtFirst + (uint)i) & (LvtWritable[i] | (i == LvtLint0 ? LvtRemoteIrr : 0));
        _divideConfiguration = Get(page, RegisterDivide) & 0xB;
        Volatile.Write(ref _extIntMessage, state.ExtIntMessage ? 1 : 0);
        (_lint0, _lint1) = (state.Lint0, state.Lint1);
        _timer.TscOffset = state.TscOffset;
        _timer.Restore((LocalApicTimerMode)((_lvt[LvtTimer] >> 17) & 3), DividerShift(_divideConfiguration),
            Get(page, RegisterInitialCount), Get(page, RegisterCurrentCount), state.TscDeadline);
    }

    private void Validate(LocalApicState state)
    {
        ulong mode = state.ApicBase & (BaseEnable | BaseX2Apic);
        if (state.Registers.IsDefault || state.Registers.Length != StateSize || mode == BaseX2Apic
            || (state.ApicBase & ~(BaseAddressMask | BaseEnable | BaseX2Apic | BaseBootstrap)) != 0
            || ((state.ApicBase & BaseBootstrap) != 0) != IsBootstrap)
            throw new InvalidDataException($"The saved state of local APIC {Id} is not one that it can have.");
        var page = state.Registers.AsSpan();
        uint id = Get(page, RegisterId);
        if ((mode == (BaseEnable | BaseX2Apic) ? id : id >> 24) != (mode == (BaseEnable | BaseX2Apic) ? Id : Id & 0xFF))
            throw new InvalidDataException($"The saved state of local APIC {Id} is that of another APIC ID.");
        if (Get(page, RegisterCurrentCount) > Get(page, RegisterInitialCount))
            throw new InvalidDataException($"The saved timer of local APIC {Id} is beyond its initial count.");
        if (((Get(page, RegisterRequested) | Get(page, RegisterInService)) & 0xFFFF) != 0)
            throw new InvalidDataException($"The saved state of local APIC {Id} has a reserved vector pending.");
    }

    private static uint Get(ReadOnlySpan<byte> page, uint register) =>
        BinaryPrimitives.ReadUInt32LittleEndian(page[((int)register * 16)..]);
}
