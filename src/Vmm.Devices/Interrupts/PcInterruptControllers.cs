using Vmm.Core.Buses;
using Vmm.Core.Interrupts;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// A PC's interrupt controllers, wired: the 8259s drive LINT0 of every processor and I/O APIC pin 0, the I/O APIC sends over the APIC
/// bus and hears its EOIs, and the router drives both.
/// </summary>
public sealed class PcInterruptControllers
{
    /// <summary>Makes and wires them. Local APICs are added by constructing them with <see cref="Apics"/>.</summary>
    public PcInterruptControllers()
    {
        Apics = new ApicBus();
        IoApic = new IoApic(Apics);
        Apics.AddEoiListener(IoApic);
        Pic = new DualPic(new PicOutput(Apics, IoApic));
        Apics.ExternalController = Pic;
        Router = new InterruptRouter(Pic, IoApic);
    }

    /// <summary>What connects the local APICs; also the machine's MSI sink.</summary>
    public ApicBus Apics { get; }

    /// <summary>The I/O APIC.</summary>
    public IoApic IoApic { get; }

    /// <summary>The 8259s.</summary>
    public DualPic Pic { get; }

    /// <summary>Makes interrupt lines for devices.</summary>
    public InterruptRouter Router { get; }

    /// <summary>Puts the registers of the 8259s and the I/O APIC on the buses.</summary>
    public void Map(Bus ports, Bus mmio)
    {
        Pic.Map(ports);
        IoApic.Map(mmio);
    }

    private sealed class PicOutput(ApicBus apics, IoApic ioApic) : IInterruptLine
    {
        public void SetLevel(bool asserted)
        {
            apics.SetLevel(asserted);
            ioApic.SetPin(0, asserted);
        }
    }
}
