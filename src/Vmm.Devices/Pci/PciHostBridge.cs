namespace Vmm.Devices.Pci;

/// <summary>
/// The host bridge at 00:00.0. It has the identity of Intel's 82G33/Q35 DRAM controller, as QEMU's q35 has, and no registers of its
/// own: what a chipset would have there is fixed by the board.
/// </summary>
public sealed class PciHostBridge : PciFunction
{
    /// <summary>Makes the bridge.</summary>
    public PciHostBridge()
        : base("host bridge", new PciIdentity(0x8086, 0x29C0, 0x06_00_00, 0, 0x1AF4, 0x1100), interruptPin: 0)
    {
    }
}
