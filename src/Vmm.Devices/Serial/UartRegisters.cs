namespace Vmm.Devices.Serial;

// Register and bit names are those of the National Semiconductor PC16550D data sheet (1995), section 8 and table II.

/// <summary>Interrupt Enable Register, RW, offset 1 with DLAB = 0 (8.8).</summary>
[Flags]
internal enum InterruptEnable : byte
{
    ReceivedDataAvailable = 0x01,
    TransmitterHoldingRegisterEmpty = 0x02,
    ReceiverLineStatus = 0x04,
    ModemStatus = 0x08,
    All = 0x0F,
}

/// <summary>Interrupt Identification Register bits 3:0, RO, offset 2 (8.6, table IV), by falling priority.</summary>
internal enum InterruptIdentification : byte
{
    ReceiverLineStatus = 0x06,
    ReceivedDataAvailable = 0x04,
    CharacterTimeout = 0x0C,
    TransmitterHoldingRegisterEmpty = 0x02,
    ModemStatus = 0x00,
    None = 0x01,
}

/// <summary>FIFO Control Register, WO, offset 2 (8.5).</summary>
[Flags]
internal enum FifoControl : byte
{
    Enable = 0x01,
    ReceiverReset = 0x02,
    TransmitterReset = 0x04,
    DmaMode = 0x08,
    TriggerMask = 0xC0,
}

/// <summary>Line Control Register, RW, offset 3 (8.1).</summary>
[Flags]
internal enum LineControl : byte
{
    WordLengthMask = 0x03,
    TwoStopBits = 0x04,
    ParityEnable = 0x08,
    SetBreak = 0x40,
    DivisorLatchAccess = 0x80,
}

/// <summary>Modem Control Register, RW, offset 4 (8.7). Bits 7:5 read as 0.</summary>
[Flags]
internal enum ModemControl : byte
{
    DataTerminalReady = 0x01,
    RequestToSend = 0x02,
    Out1 = 0x04,
    Out2 = 0x08,
    Loop = 0x10,
    All = 0x1F,
}

/// <summary>Line Status Register, RO, offset 5 (8.4).</summary>
[Flags]
internal enum LineStatus : byte
{
    None = 0,
    DataReady = 0x01,
    OverrunError = 0x02,
    ParityError = 0x04,
    FramingError = 0x08,
    BreakInterrupt = 0x10,
    TransmitterHoldingRegisterEmpty = 0x20,
    TransmitterEmpty = 0x40,
    ErrorInReceiverFifo = 0x80,
    CharacterErrors = ParityError | FramingError | BreakInterrupt,
    Errors = OverrunError | CharacterErrors,
}

/// <summary>Modem Status Register, RO, offset 6 (8.9): deltas in bits 3:0, the inputs in bits 7:4.</summary>
[Flags]
internal enum ModemStatus : byte
{
    None = 0,
    DeltaClearToSend = 0x01,
    DeltaDataSetReady = 0x02,
    TrailingEdgeRingIndicator = 0x04,
    DeltaDataCarrierDetect = 0x08,
    Deltas = 0x0F,
    ClearToSend = 0x10,
    DataSetReady = 0x20,
    RingIndicator = 0x40,
    DataCarrierDetect = 0x80,
    Inputs = 0xF0,
}
