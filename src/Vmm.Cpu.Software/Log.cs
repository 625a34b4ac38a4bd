using Microsoft.Extensions.Logging;

namespace Vmm.Cpu.Software;

/// <summary>Messages of the software CPU; event ids 3000–3099.</summary>
internal static partial class Log
{
    [LoggerMessage(3000, LogLevel.Warning, "CPU {Cpu}: instruction {Bytes} at 0x{Address:x} is not implemented; the guest gets #UD.")]
    public static partial void UndefinedInstruction(ILogger logger, int cpu, ulong address, string bytes);
}
