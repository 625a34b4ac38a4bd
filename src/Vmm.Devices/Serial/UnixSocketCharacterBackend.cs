using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Vmm.Core.Lifecycle;
using Vmm.Interop;

namespace Vmm.Devices.Serial;

/// <summary>
/// A server on a unix-domain socket, for one client at a time; a further client is turned away while one is connected. Output
/// without a client is discarded, and the guest never waits for one. The socket file is removed on dispose.
/// </summary>
public sealed partial class UnixSocketCharacterBackend : BufferedCharacterBackend
{
    // sun_path of struct sockaddr_un, less its terminating zero (unix(7)).
    private const int MaxPathBytes = 107;

    private static readonly TimeSpan HangUpLimit = TimeSpan.FromSeconds(1);

    private readonly string _path;
    private readonly ILogger? _logger;
    private readonly Socket _listener;
    private volatile Socket? _client;
    private Thread? _server;

    /// <summary>Binds the socket and listens.</summary>
    /// <param name="path">Where the socket appears. A stale socket that nobody listens on is replaced.</param>
    /// <param name="logger">For clients coming and going.</param>
    /// <exception cref="VmmException">The path is in use, is no socket, or cannot be bound.</exception>
    public UnixSocketCharacterBackend(string path, ILogger? logger = null)
        : base($"unix:{path}", logger)
    {
        (_path, _logger) = (path, logger);
        if (path.Length == 0 || System.Text.Encoding.UTF8.GetByteCount(path) > MaxPathBytes)
            throw new VmmException($"The serial socket path '{path}' is empty or longer than {MaxPathBytes} bytes; name a shorter one.");
        RemoveStale(path);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            _listener.Bind(new UnixDomainSocketEndPoint(path));
            _listener.Listen(4);
        }
        catch (SocketException e)
        {
            _listener.Dispose();
            throw new VmmException($"Listening on the serial socket '{path}' failed: {e.Message}; choose a path in a directory that exists and may be written.", e);
        }
    }

    /// <inheritdoc/>
    protected override void Start() => new Thread(Accept) { IsBackground = true, Name = $"{Name}-in" }.Start();

    /// <inheritdoc/>
    protected override void Stop()
    {
        _listener.Dispose();
        _client?.Dispose();
        try
        {
            File.Delete(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (_logger is not null)
                LogNotRemoved(_logger, _path, e.Message);
        }
    }

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty && _client is { } client)
        {
            try
            {
                data = data[client.Send(data)..];
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // This client is gone; the reader notices and waits for the next.
                return;
            }
        }
    }

    private static void RemoveStale(string path)
    {
        if (!Path.Exists(path))
            return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused && FileTypes.IsSocket(path))
        {
            // Connecting to a regular file is refused just as to a stale socket; only the file type tells them apart.
            try
            {
                File.Delete(path);
                return;
            }
            catch (Exception inner) when (inner is IOException or UnauthorizedAccessException)
            {
                throw new VmmException($"Removing the stale serial socket '{path}' failed: {inner.Message}", inner);
            }
        }
        catch (SocketException e)
        {
            throw new VmmException($"The serial socket path '{path}' is taken by something else ({e.Message}); remove it or choose another path.", e);
        }
        throw new VmmException($"The serial socket '{path}' is busy: another process listens on it; stop that one or choose another path.");
    }

    private void Accept()
    {
        try
        {
            while (!Stopping)
            {
                var client = _listener.Accept();
                AwaitHangUp();
                if (_client is not null)
                {
                    TurnAway(client);
                    continue;
                }
                _client = client;
                if (Stopping)
                    client.Dispose();
                if (_logger is not null)
                    LogConnected(_logger, Name);
                _server = new Thread(() => ServeClient(client)) { IsBackground = true, Name = $"{Name}-client" };
                _server.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            if (!Stopping && _logger is not null)
                LogListenerFailed(_logger, Name, e.Message);
        }
    }

    // A client that hung up just before the next one came may not have been noticed yet: it must not keep the next one out.
    private void AwaitHangUp()
    {
        try
        {
            if (_client is { } client && client.Poll(0, SelectMode.SelectRead) && client.Available == 0)
                _server?.Join(HangUpLimit);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It is being closed by its thread this moment.
            _server?.Join(HangUpLimit);
        }
    }

    private static void TurnAway(Socket client)
    {
        using (client)
        {
            try
            {
                // A new connection has room for a line.
                client.Send("The serial port is busy: another client is connected.\r\n"u8);
            }
            catch (SocketException)
            {
                // It left before it was told.
            }
        }
    }

    private void ServeClient(Socket client)
    {
        byte[] buffer = new byte[4096];
        try
        {
            while (true)
            {
                int n = client.Receive(buffer);
                if (n == 0 || !Deliver(buffer.AsSpan(0, n)))
                    break;
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Connection reset: as a hang-up. The next client may come.
        }
        _client = null;
        client.Dispose();
    }

    [LoggerMessage(EventId = 3010, Level = LogLevel.Debug, Message = "A client connected to {Name}.")]
    private static partial void LogConnected(ILogger logger, string name);

    [LoggerMessage(EventId = 3011, Level = LogLevel.Warning, Message = "Accepting clients on {Name} failed; it takes no more. {Error}")]
    private static partial void LogListenerFailed(ILogger logger, string name, string error);

    [LoggerMessage(EventId = 3012, Level = LogLevel.Warning, Message = "Removing the serial socket {Path} failed. {Error}")]
    private static partial void LogNotRemoved(ILogger logger, string path, string error);
}
