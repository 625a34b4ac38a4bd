using Microsoft.Extensions.Logging;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Serial;
using Vmm.Hosting.Configuration;
using Vmm.Hosting.Console;

namespace Vmm.Hosting;

/// <summary>Opens the far end of a serial port.</summary>
internal static partial class SerialLines
{
    /// <summary>Opens what the settings ask for.</summary>
    /// <param name="settings">What it is.</param>
    /// <param name="quit">What Ctrl-A x does, on standard input.</param>
    /// <param name="logger">For messages.</param>
    /// <returns>The far end, or null for the machine's own stream.</returns>
    /// <exception cref="VmmException">It cannot be opened; the message names the option.</exception>
    internal static ICharacterBackend? Open(SerialSettings settings, Action quit, ILogger logger)
    {
        try
        {
            switch (settings.Kind)
            {
                case SerialKind.Stream:
                    return null;
                case SerialKind.Stdio:
                    return new StandardConsole(quit, logger);
                case SerialKind.File:
                    return new FileCharacterBackend(settings.Path!, logger);
                case SerialKind.Unix:
                    return new UnixSocketCharacterBackend(settings.Path!, logger);
                case SerialKind.Pty:
                    PtyCharacterBackend pty = new(logger);
                    LogPty(logger, pty.SlavePath);
                    return pty;
                default:
                    return new NullCharacterBackend();
            }
        }
        catch (Exception e) when (e is VmmException or IOException or UnauthorizedAccessException)
        {
            throw new VmmException($"--serial: {e.Message}", e);
        }
    }

    // A warning, since without the name the terminal is of no use, and warnings are shown unless asked otherwise.
    [LoggerMessage(3101, LogLevel.Warning, "The guest's console is at {Terminal}.")]
    private static partial void LogPty(ILogger logger, string terminal);
}
