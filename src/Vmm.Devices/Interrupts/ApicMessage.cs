namespace Vmm.Devices.Interrupts;

/// <summary>Delivery modes of APIC messages, LVT entries and I/O APIC redirection entries (Intel SDM vol. 3, 11.5.1 and 11.6.1).</summary>
internal enum ApicDeliveryMode
{
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Nmi = 4,
    Init = 5,
    Startup = 6,
    ExtInt = 7,
}

/// <summary>A message on the (virtual) APIC bus.</summary>
/// <param name="Destination">Physical APIC ID or logical destination; <see cref="Broadcast"/> addresses all.</param>
/// <param name="Logical">Whether the destination is logical.</param>
/// <param name="Mode">Delivery mode.</param>
/// <param name="Vector">Vector.</param>
/// <param name="LevelTriggered">Trigger mode.</param>
/// <param name="Assert">Level; false only in INIT level de-assert.</param>
internal readonly record struct ApicMessage(
    uint Destination, bool Logical, ApicDeliveryMode Mode, byte Vector, bool LevelTriggered = false, bool Assert = true)
{
    /// <summary>All local APICs. An eight-bit destination of 0xFF is widened to this.</summary>
    public const uint Broadcast = 0xFFFFFFFF;

    /// <summary>Widens an xAPIC, MSI or I/O APIC destination.</summary>
    public static uint Widen(uint destination) => destination == 0xFF ? Broadcast : destination;
}
