using Microsoft.Extensions.Logging;
using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Debug;

/// <summary>
/// pvpanic on the port bus (QEMU docs/specs/pvpanic): reading port 0x505 gives the events it understands, writing reports them.
/// Bit 0: the guest panicked and its kernel does nothing about it. Bit 1: it panicked and loads a crash kernel, so it goes on.
/// </summary>
public sealed partial class PvPanic : ByteWideDevice
{
    /// <summary>The port.</summary>
    public const ushort Port = 0x505;

    /// <summary>Event bit: the guest panicked.</summary>
    public const byte Panicked = 0x01;

    /// <summary>Event bit: the guest panicked and runs its crash kernel.</summary>
    public const byte CrashLoaded = 0x02;

    private readonly IMachineControl _control;
    private readonly ILogger _logger;
    private int _crashLogged;

    /// <summary>Makes the device.</summary>
    public PvPanic(IMachineControl control, ILogger<PvPanic> logger)
    {
        (_control, _logger) = (control, logger);
    }

    /// <summary>Puts it on the port bus.</summary>
    public BusMapping Map(Bus ports) => ports.Map("pvpanic", Port, 1, this);

    /// <inheritdoc/>
    protected override byte ReadByte(uint offset) => Panicked | CrashLoaded;

    /// <inheritdoc/>
    protected override void WriteByte(uint offset, byte value)
    {
        if ((value & Panicked) != 0)
            _control.Request(new MachineRequest(MachineRequestKind.GuestPanicked));
        else if ((value & CrashLoaded) != 0 && Interlocked.Exchange(ref _crashLogged, 1) == 0)
            LogCrashLoaded(_logger);
    }

    [LoggerMessage(EventId = 3101, Level = LogLevel.Warning, Message = "The guest panicked and runs its crash kernel.")]
    private static partial void LogCrashLoaded(ILogger logger);
}
