using Vmm.Devices.Acpi;
using Vmm.Devices.Timers;
using static Vmm.Machine.Firmware.Acpi.GenericAddress;

namespace Vmm.Machine.Firmware.Acpi;

/// <summary>Fixed ACPI Description Table, revision 6 (ACPI 6.5, 5.2.9).</summary>
internal static class Fadt
{
    /// <summary>Bytes of the table.</summary>
    public const int Size = 276;

    // Fixed feature flags, table 5.10.
    private const uint Wbinvd = 1 << 0;
    private const uint ProcessorC1 = 1 << 2;
    private const uint NoFixedSleepButton = 1 << 5;
    private const uint TimerIs32Bits = 1 << 8;
    private const uint ResetRegisterSupported = 1 << 10;

    // IA-PC boot architecture flags, table 5.11.
    private const ushort LegacyDevices = 1 << 0;
    private const ushort Has8042 = 1 << 1;
    private const ushort NoVga = 1 << 2;

    // Full reset through the reset control register: system reset and CPU reset.
    private const byte ResetValue = 0x06;

    public static byte[] Create(ulong facs, ulong dsdt)
    {
        var body = new ByteWriter()
            .U32((uint)facs)
            .U32((uint)dsdt)
            .U8(0)                          // reserved
            .U8(0)                          // preferred profile: unspecified
            .U16(AddressMap.SciIrq)
            .U32(AcpiPm.SmiCommandPort)
            .U8(AcpiPm.AcpiEnableValue).U8(AcpiPm.AcpiDisableValue)
            .U8(0).U8(0)                    // S4BIOS, P-state control
            .U32(AddressMap.Pm1aEvent).U32(0)
            .U32(AddressMap.Pm1aControl).U32(0)
            .U32(0)                         // PM2 control
            .U32(AddressMap.PmTimer)
            .U32(AddressMap.Gpe0).U32(0)
            .U8(4).U8(2).U8(0).U8(4)        // bytes of PM1 event, PM1 control, PM2 control, PM timer
            .U8(AddressMap.Gpe0Size).U8(0)  // bytes of GPE blocks 0 and 1
            .U8(0).U8(0)                    // GPE1 base, C-state control
            .U16(0xFFF).U16(0xFFF)          // C2 and C3 latency: not supported
            .U16(0).U16(0).U8(0).U8(0)      // flush size and stride, duty offset and width
            .U8(0x0D).U8(0).U8(Mc146818Rtc.CenturyIndex) // RTC registers: day alarm, month alarm, century
            .U16(LegacyDevices | Has8042 | NoVga)
            .U8(0)
            .U32(Wbinvd | ProcessorC1 | NoFixedSleepButton | TimerIs32Bits | ResetRegisterSupported)
            .Io(AddressMap.ResetControl, 8, Access.Byte)
            .U8(ResetValue)
            .U16(0)                         // ARM boot flags
            .U8(5)                          // minor version: 6.5
            .U64(0)                         // X_FIRMWARE_CTRL: only for a FACS above 4 GiB
            .U64(dsdt)
            .Io(AddressMap.Pm1aEvent, 32, Access.Word).NoAddress()
            .Io(AddressMap.Pm1aControl, 16, Access.Word).NoAddress()
            .NoAddress()
            .Io(AddressMap.PmTimer, 32, Access.DWord)
            .Io(AddressMap.Gpe0, AddressMap.Gpe0Size * 8, Access.Byte).NoAddress()
            .NoAddress().NoAddress()        // sleep control and status: hardware-reduced only
            .Ascii("VMM", 8);               // hypervisor vendor identity
        return AcpiTable.Create("FACP", 6, body.Written);
    }
}
