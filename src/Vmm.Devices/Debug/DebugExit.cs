using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Debug;

/// <summary>
/// QEMU's isa-debug-exit: a write of any size to its ports ends the machine with that value. The process then exits with
/// (value &lt;&lt; 1) | 1. Test guests use it; a machine has it only on request.
/// </summary>
public sealed class DebugExit : IBusDevice
{
    /// <summary>First port.</summary>
    public const ushort Port = 0xF4;

    private const int PortCount = 4;

    private readonly IMachineControl _control;

    /// <summary>Makes the device.</summary>
    public DebugExit(IMachineControl control)
    {
        _control = control;
    }

    /// <summary>Puts it on the port bus.</summary>
    public BusMapping Map(Bus ports) => ports.Map("isa-debug-exit", Port, PortCount, this);

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size) => 0;

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value) =>
        _control.Request(new MachineRequest(MachineRequestKind.DebugExit, (uint)value));
}
