using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Vmm.Hosting.Systemd;

/// <summary>
/// Tells systemd how the service is (sd_notify(3)): a datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names. Without
/// that variable, and when nobody listens, it does nothing: a missing manager is no reason for a VM to end.
/// </summary>
internal sealed class SystemdNotifier : IDisposable
{
    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _address;

    /// <param name="socketPath">What NOTIFY_SOCKET says: a path, or an abstract name after an at sign; null for no manager.</param>
    /// <param name="watchdogInterval">Half of WATCHDOG_USEC: how often systemd wants a sign of life, or null.</param>
    internal SystemdNotifier(string? socketPath, TimeSpan? watchdogInterval = null)
    {
        WatchdogInterval = watchdogInterval;
        if (string.IsNullOrEmpty(socketPath) || (socketPath[0] != '/' && socketPath[0] != '@') || socketPath.Length > 107)
            return;
        _address = new UnixDomainSocketEndPoint(socketPath[0] == '@' ? "\0" + socketPath[1..] : socketPath);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    }

    /// <summary>Makes the notifier that this process's environment asks for.</summary>
    internal static SystemdNotifier FromEnvironment() => new(
        Environment.GetEnvironmentVariable("NOTIFY_SOCKET"),
        ParseWatchdog(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), Environment.GetEnvironmentVariable("WATCHDOG_PID"), Environment.ProcessId));

    /// <summary>Whether there is somebody to tell.</summary>
    internal bool IsEnabled => _socket is not null;

    /// <summary>How often to call <see cref="Watchdog"/>, or null.</summary>
    internal TimeSpan? WatchdogInterval { get; }

    /// <summary>The service is up.</summary>
    internal void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    /// <summary>What the service is doing, for <c>systemctl status</c>.</summary>
    internal void Status(string status) => Send($"STATUS={status}");

    /// <summary>The service is going down.</summary>
    internal void Stopping(string status) => Send($"STOPPING=1\nSTATUS={status}");

    /// <summary>The service is alive.</summary>
    internal void Watchdog() => Send("WATCHDOG=1");

    /// <summary>The interval of sd_watchdog_enabled(3): half the time that WATCHDOG_USEC gives, if WATCHDOG_PID is this process or unset.</summary>
    internal static TimeSpan? ParseWatchdog(string? microseconds, string? process, int self)
    {
        if (process is { Length: > 0 } && process != self.ToString(CultureInfo.InvariantCulture))
            return null;
        bool usable = long.TryParse(microseconds, NumberStyles.None, CultureInfo.InvariantCulture, out long value) && value is > 0 and < long.MaxValue / 10;
        return usable ? TimeSpan.FromTicks(Math.Max(1, value * TimeSpan.TicksPerMicrosecond / 2)) : null;
    }

    /// <inheritdoc/>
    public void Dispose() => _socket?.Dispose();

    private void Send(string message)
    {
        if (_socket is null)
            return;
        try
        {
            _socket.SendTo(Encoding.UTF8.GetBytes(message), _address!);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The manager does not listen (any more); it finds out about this process by other means.
        }
    }
}
