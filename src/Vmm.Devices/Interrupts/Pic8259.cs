using System.Numerics;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// One Intel 8259A programmable interrupt controller (datasheet order number 231468), with the edge/level control register of the
/// PIIX and ICH south bridges. Registers in, the INT output computed from them; knows no bus and no lock.
/// </summary>
/// <param name="isMaster">Whether the SP/EN pin makes this the master of the pair.</param>
/// <param name="levelMask">Inputs that the edge/level control register can make level sensitive.</param>
internal sealed class Pic8259(bool isMaster, byte levelMask)
{
    private const byte Icw1Icw4Needed = 0x01;
    private const byte Icw1Single = 0x02;
    private const byte Icw1LevelTriggered = 0x08;
    private const byte Icw1 = 0x10;
    private const byte Icw4AutoEoi = 0x02;
    private const byte Icw4SpecialFullyNested = 0x10;
    private const byte Ocw3 = 0x08;
    private const int CascadeInput = 2;

    private byte _lines;
    private byte _requested;
    private byte _inService;
    private byte _mask;
    private byte _level;
    private byte _vectorBase;
    private byte _cascade;
    private int _lowestPriority = 7;
    private InitializationStep _step;
    private bool _needsIcw4;
    private bool _single;
    private bool _allLevel;
    private bool _autoEoi;
    private bool _rotateOnAutoEoi;
    private bool _specialFullyNested;
    private bool _specialMask;
    private bool _poll;
    private bool _readInService;

    private enum InitializationStep
    {
        Ready,
        Icw2,
        Icw3,
        Icw4,
    }

    /// <summary>The INT output.</summary>
    public bool Output => _step == InitializationStep.Ready && FindRequest() >= 0;

    /// <summary>ELCR: inputs that are level sensitive.</summary>
    public byte EdgeLevelControl
    {
        get => _level;
        set => _level = (byte)(value & levelMask);
    }

    private byte LevelInputs => _allLevel ? (byte)0xFF : _level;

    /// <summary>Puts the chip into its power-on state; input levels stay.</summary>
    public void Reset()
    {
        _level = 0;
        _vectorBase = 0;
        _cascade = 0;
        _autoEoi = _specialFullyNested = _allLevel = _single = false;
        _step = InitializationStep.Ready;
        Clear();
    }

    /// <summary>
    /// Drives an input. A rising edge latches a request, which stays although the input falls again: pulses shorter than the
    /// interrupt latency of a virtual machine count too.
    /// </summary>
    public void SetInput(int input, bool asserted)
    {
        byte bit = (byte)(1 << (input & 7));
        if (asserted)
        {
            if ((_lines & bit) == 0)
                _requested |= bit;
            _lines |= bit;
        }
        else
        {
            _lines &= (byte)~bit;
            if ((LevelInputs & bit) != 0)
                _requested &= (byte)~bit;
        }
    }

    /// <summary>The INTA sequence of an 8086 system. Without a request the answer is that of input 7, with nothing in service.</summary>
    /// <param name="input">The input in service, 7 if spurious.</param>
    /// <param name="spurious">Whether there was no request.</param>
    /// <returns>The vector.</returns>
    public byte Acknowledge(out int input, out bool spurious)
    {
        input = FindRequest();
        spurious = input < 0;
        if (spurious)
            input = 7;
        else
            TakeIntoService(input);
        return (byte)(_vectorBase | input);
    }

    /// <summary>Reads A0 = 0: poll, ISR or IRR; or A0 = 1: poll or IMR.</summary>
    public byte Read(bool a0)
    {
        if (_poll)
        {
            _poll = false;
            int input = FindRequest();
            if (input < 0)
                return 0;
            TakeIntoService(input);
            return (byte)(0x80 | input);
        }
        if (a0)
            return _mask;
        return _readInService ? _inService : CurrentRequests();
    }

    /// <summary>Writes A0 = 0: ICW1, OCW2 or OCW3; or A0 = 1: ICW2 to ICW4 or OCW1.</summary>
    public void Write(bool a0, byte value)
    {
        if (a0)
            WriteData(value);
        else if ((value & Icw1) != 0)
            WriteIcw1(value);
        else if ((value & Ocw3) != 0)
            WriteOcw3(value);
        else
            WriteOcw2(value);
    }

    public Pic8259State Capture() => new(_lines, _requested, _inService, _mask, _level, _vectorBase, _cascade, (byte)_lowestPriority,
        (byte)_step, _needsIcw4, _single, _allLevel, _autoEoi, _rotateOnAutoEoi, _specialFullyNested, _specialMask, _poll, _readInService);

    public void Restore(Pic8259State s)
    {
        if (s.LowestPriority > 7 || s.Step > (byte)InitializationStep.Icw4 || (s.EdgeLevelControl & ~levelMask) != 0)
            throw new InvalidDataException("The 8259A's saved state is not one that it can have.");
        (_lines, _requested, _inService, _mask, _level) = (s.Lines, s.Requested, s.InService, s.Mask, s.EdgeLevelControl);
        (_vectorBase, _cascade, _lowestPriority, _step) = (s.VectorBase, s.Cascade, s.LowestPriority, (InitializationStep)s.Step);
        (_needsIcw4, _single, _allLevel, _autoEoi) = (s.NeedsIcw4, s.Single, s.AllLevel, s.AutoEoi);
        (_rotateOnAutoEoi, _specialFullyNested, _specialMask) = (s.RotateOnAutoEoi, s.SpecialFullyNested, s.SpecialMask);
        (_poll, _readInService) = (s.Poll, s.ReadInService);
    }

    private void WriteIcw1(byte value)
    {
        _needsIcw4 = (value & Icw1Icw4Needed) != 0;
        _single = (value & Icw1Single) != 0;
        _allLevel = (value & Icw1LevelTriggered) != 0;
        if (!_needsIcw4)
            _autoEoi = _specialFullyNested = false;
        _step = InitializationStep.Icw2;
        Clear();
    }

    // What ICW1 does by itself (datasheet, "Initialization Command Words 1 and 2"): edge sense, mask, priorities and status read.
    private void Clear()
    {
        _requested = (byte)(_lines & LevelInputs);
        _inService = 0;
        _mask = 0;
        _lowestPriority = 7;
        _specialMask = false;
        _readInService = false;
        // Not in the datasheet's list, but nothing of the time before must linger.
        _rotateOnAutoEoi = _poll = false;
    }

    private void WriteData(byte value)
    {
        switch (_step)
        {
            case InitializationStep.Icw2:
                _vectorBase = (byte)(value & 0xF8);
                _step = !_single ? InitializationStep.Icw3 : AfterIcw3();
                break;
            case InitializationStep.Icw3:
                _cascade = value;
                _step = AfterIcw3();
                break;
            case InitializationStep.Icw4:
                _autoEoi = (value & Icw4AutoEoi) != 0;
                _specialFullyNested = (value & Icw4SpecialFullyNested) != 0;
                _step = InitializationStep.Ready;
                break;
            default:
                _mask = value;
                break;
        }
    }

    private InitializationStep AfterIcw3() => _needsIcw4 ? InitializationStep.Icw4 : InitializationStep.Ready;

    // OCW2: R, SL and EOI in bits 7 to 5, a level in 2 to 0.
    private void WriteOcw2(byte value)
    {
        int level = value & 7;
        switch (value >> 5)
        {
            case 0b001:
                EndOfInterrupt(HighestInService(), rotate: false);
                break;
            case 0b011:
                EndOfInterrupt(level, rotate: false);
                break;
            case 0b101:
                EndOfInterrupt(HighestInService(), rotate: true);
                break;
            case 0b111:
                EndOfInterrupt(level, rotate: true);
                break;
            case 0b100:
                _rotateOnAutoEoi = true;
                break;
            case 0b000:
                _rotateOnAutoEoi = false;
                break;
            case 0b110:
                _lowestPriority = level;
                break;
            default:
                break;
        }
    }

    private void WriteOcw3(byte value)
    {
        _poll = (value & 0x04) != 0;
        if ((value & 0x02) != 0)
            _readInService = (value & 0x01) != 0;
        if ((value & 0x40) != 0)
            _specialMask = (value & 0x20) != 0;
    }

    private void EndOfInterrupt(int input, bool rotate)
    {
        if (input < 0)
            return;
        _inService &= (byte)~(1 << input);
        if (rotate)
            _lowestPriority = input;
    }

    private void TakeIntoService(int input)
    {
        byte bit = (byte)(1 << input);
        if ((LevelInputs & bit) == 0)
            _requested &= (byte)~bit;
        if (!_autoEoi)
            _inService |= bit;
        else if (_rotateOnAutoEoi)
            _lowestPriority = input;
    }

    private byte CurrentRequests() => (byte)(_requested | (_lines & LevelInputs));

    // The request that INT signals: the highest unmasked one above everything in service, or -1.
    private int FindRequest()
    {
        int request = HighestOf(CurrentRequests() & ~_mask);
        if (request < 0)
            return -1;
        int blocking = _inService;
        // In special mask mode only what is in service and not masked holds others off.
        if (_specialMask)
            blocking &= ~_mask;
        // In special fully nested mode a slave in service may interrupt again.
        if (_specialFullyNested && isMaster)
            blocking &= ~(1 << CascadeInput);
        int current = HighestOf(blocking);
        return current < 0 || Rank(request) < Rank(current) ? request : -1;
    }

    // With the special mask set, a non-specific EOI does not clear levels that are masked.
    private int HighestInService() => HighestOf(_specialMask ? _inService & ~_mask : _inService);

    // The input of highest priority in a set, or -1. Priority 0 is the input after the lowest.
    private int HighestOf(int set)
    {
        if ((set & 0xFF) == 0)
            return -1;
        int first = (_lowestPriority + 1) & 7;
        int rotated = ((set & 0xFF) >> first) | ((set << (8 - first)) & 0xFF);
        return (BitOperations.TrailingZeroCount(rotated) + first) & 7;
    }

    private int Rank(int input) => (input - _lowestPriority - 1) & 7;
}

/// <summary>State of an 8259A.</summary>
public sealed record Pic8259State(
    byte Lines, byte Requested, byte InService, byte Mask, byte EdgeLevelControl, byte VectorBase, byte Cascade, byte LowestPriority,
    byte Step, bool NeedsIcw4, bool Single, bool AllLevel, bool AutoEoi, bool RotateOnAutoEoi, bool SpecialFullyNested, bool SpecialMask,
    bool Poll, bool ReadInService);
