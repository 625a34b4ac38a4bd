using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;
using Vmm.Devices.Serial;
using Vmm.Interop;

namespace Vmm.Hosting.Console;

/// <summary>
/// The guest's console on standard input and output. A terminal is made raw while the guest has it, and its mode is put back on dispose,
/// exit and crash. The escape keys work on any input. At the end of the input, or with none, output goes on.
/// </summary>
public sealed class StandardConsole : BufferedCharacterBackend
{
    private readonly InterruptibleFile _input = InterruptibleFile.StandardInput();
    private readonly InterruptibleFile _output = InterruptibleFile.StandardOutput();
    private readonly ConsoleEscape _escape = new();
    private readonly Action _quit;
    private readonly Lock _lock = new();
    private bool _terminal;
    private TerminalMode? _mode;
    private PosixSignalRegistration? _continued;

    /// <summary>Makes the console; the terminal is left alone until a device is attached.</summary>
    /// <param name="quit">Called for Ctrl-A x, on the input thread. Must not dispose the console itself.</param>
    /// <param name="logger">For the message that output failed.</param>
    public StandardConsole(Action quit, ILogger? logger = null)
        : base("stdio", logger)
    {
        _quit = quit;
    }

    /// <inheritdoc/>
    protected override void Start()
    {
        var handle = new SafeFileHandle(0, ownsHandle: false);
        _terminal = TerminalMode.IsTerminal(handle);
        if (_terminal)
        {
            EnterRaw(handle);
            AppDomain.CurrentDomain.UnhandledException += OnUnhandledException;
            // The shell changes the mode while the process is stopped.
            _continued = PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => EnterRaw(handle));
        }
        new Thread(ReadInput) { IsBackground = true, Name = "stdio-in" }.Start();
    }

    /// <inheritdoc/>
    protected override void Stop()
    {
        _continued?.Dispose();
        AppDomain.CurrentDomain.UnhandledException -= OnUnhandledException;
        _input.Stop();
        _output.Stop();
        RestoreTerminal();
    }

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data) => _output.Write(data);

    // The runtime's message should be readable, and under the JIT its abort gets past the shim's handlers.
    private void OnUnhandledException(object sender, UnhandledExceptionEventArgs e) => RestoreTerminal();

    private void RestoreTerminal()
    {
        lock (_lock)
            _mode?.Dispose();
    }

    // A job in the background leaves the terminal to the one in front, and takes it when it is continued there.
    private void EnterRaw(SafeFileHandle handle)
    {
        lock (_lock)
        {
            if (Stopping || TerminalMode.IsBackground(handle))
                return;
            if (_mode is null)
                _mode = TerminalMode.TryEnterRaw(handle);
            else
                _mode.Reapply();
        }
    }

    private void ReadInput()
    {
        byte[] buffer = new byte[4096];
        try
        {
            while (true)
            {
                int n = _input.Read(buffer);
                if (n == 0 || !Handle(buffer.AsSpan(0, n)))
                    return;
            }
        }
        catch (VmmSystemException)
        {
            // Standard input cannot be read (a directory, say): the guest's line stays silent.
        }
    }

    private bool Handle(ReadOnlySpan<byte> input)
    {
        while (!input.IsEmpty)
        {
            var action = _escape.Process(ref input, out var forGuest);
            // Keys for a guest that reads none must not keep Ctrl-A x from getting through; input of a pipe can wait.
            if (!Deliver(forGuest, dropWhenFull: _terminal))
                return false;
            switch (action)
            {
                case ConsoleAction.Quit:
                    _quit();
                    break;
                case ConsoleAction.Break:
                    SendBreak();
                    break;
                case ConsoleAction.Help:
                    foreach (byte b in Encoding.ASCII.GetBytes(ConsoleEscape.Help))
                        TryWrite(b);
                    break;
            }
        }
        return true;
    }
}
