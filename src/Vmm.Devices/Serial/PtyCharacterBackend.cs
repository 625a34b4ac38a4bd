using Microsoft.Extensions.Logging;
using Vmm.Core.Lifecycle;
using Vmm.Interop;

namespace Vmm.Devices.Serial;

/// <summary>
/// A pseudo-terminal: a terminal program opens <see cref="SlavePath"/>, closes it and opens it again as it likes. While nobody has it open
/// output is discarded.
/// </summary>
public sealed class PtyCharacterBackend : BufferedCharacterBackend
{
    // A closed pseudo-terminal cannot be waited for: poll(2) reports the hang-up at once, again and again.
    private const int ReopenPollMilliseconds = 200;

    private readonly PseudoTerminal _pty;
    private readonly InterruptibleFile _file;

    /// <summary>Opens the pseudo-terminal.</summary>
    /// <exception cref="VmmException">The host has none left, or /dev/pts is not there.</exception>
    public PtyCharacterBackend(ILogger? logger = null)
        : base("pty", logger)
    {
        try
        {
            _pty = PseudoTerminal.Open();
        }
        catch (VmmSystemException e)
        {
            throw new VmmException($"{e.Message} The serial port needs /dev/ptmx and a mounted /dev/pts; use another --serial.", e);
        }
        _file = new InterruptibleFile(_pty.Master);
    }

    /// <summary>The path to open: /dev/pts/N.</summary>
    public string SlavePath => _pty.Path;

    /// <inheritdoc/>
    protected override void Start() => new Thread(ReadInput) { IsBackground = true, Name = "pty-in" }.Start();

    /// <inheritdoc/>
    protected override void Stop() => _file.Stop();

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty && !_file.IsHungUp)
        {
            // In parts, so that a terminal program that goes away in the middle is noticed.
            var part = data[..Math.Min(data.Length, 256)];
            _file.Write(part);
            data = data[part.Length..];
        }
    }

    private void ReadInput()
    {
        byte[] buffer = new byte[1024];
        while (!_file.IsStopped)
        {
            int n = _file.IsHungUp ? 0 : _file.Read(buffer);
            if (n == 0)
                _file.WaitForStop(ReopenPollMilliseconds);
            else if (!Deliver(buffer.AsSpan(0, n)))
                break;
        }
        _pty.Dispose();
    }
}
