using Microsoft.Extensions.Logging;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Serial;

/// <summary>Output into a file, which is made anew; no input.</summary>
public sealed class FileCharacterBackend : BufferedCharacterBackend
{
    private readonly FileStream _file;

    /// <summary>Creates the file, or truncates it.</summary>
    /// <exception cref="VmmException">The file cannot be written.</exception>
    public FileCharacterBackend(string path, ILogger? logger = null)
        : base($"file:{path}", logger)
    {
        try
        {
            _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new VmmException($"Opening '{path}' for the serial port's output failed: {e.Message} Name a file in a directory that exists and may be written.", e);
        }
    }

    /// <inheritdoc/>
    protected override void Start()
    {
    }

    /// <inheritdoc/>
    protected override void Stop() => _file.Dispose();

    /// <inheritdoc/>
    protected override void WriteOut(ReadOnlySpan<byte> data) => _file.Write(data);
}
