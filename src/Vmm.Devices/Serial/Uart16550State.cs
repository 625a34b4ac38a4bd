namespace Vmm.Devices.Serial;

/// <summary>The state of a 16550A for a snapshot.</summary>
public sealed record Uart16550State
{
    /// <summary>Format of the record.</summary>
    public int Version { get; init; } = 1;

    /// <summary>Divisor latches, DLM:DLL.</summary>
    public ushort Divisor { get; init; }

    /// <summary>Interrupt enable register.</summary>
    public byte InterruptEnable { get; init; }

    /// <summary>FIFO control register: enable, DMA mode and trigger bits.</summary>
    public byte FifoControl { get; init; }

    /// <summary>Line control register.</summary>
    public byte LineControl { get; init; }

    /// <summary>Modem control register.</summary>
    public byte ModemControl { get; init; }

    /// <summary>Error bits of the line status register, bit 7 included.</summary>
    public byte LineErrors { get; init; }

    /// <summary>Modem status register.</summary>
    public byte ModemStatus { get; init; }

    /// <summary>Modem input pins, as bits 7:4 of the modem status register.</summary>
    public byte ModemInputs { get; init; }

    /// <summary>Scratch register.</summary>
    public byte Scratch { get; init; }

    /// <summary>Characters in the receiver, oldest first; at most 16.</summary>
    public byte[] Received { get; init; } = [];

    /// <summary>The character last read.</summary>
    public byte LastReceived { get; init; }

    /// <summary>Errors of each of <see cref="Received"/>, as bits of the line status register.</summary>
    public byte[] ReceivedErrors { get; init; } = [];

    /// <summary>Characters in the transmitter's FIFO or holding register, oldest first; at most 16.</summary>
    public byte[] Transmit { get; init; } = [];

    /// <summary>The character in the transmitter shift register, or null when it is empty.</summary>
    public byte? TransmitterShift { get; init; }

    /// <summary>The transmitter-holding-register-empty interrupt is latched.</summary>
    public bool TransmitterEmptyPending { get; init; }

    /// <summary>The character timeout is latched.</summary>
    public bool CharacterTimeoutPending { get; init; }
}
