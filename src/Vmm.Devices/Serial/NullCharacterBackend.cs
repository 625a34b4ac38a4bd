namespace Vmm.Devices.Serial;

/// <summary>A line with nobody at its far end: output vanishes, no input comes.</summary>
public sealed class NullCharacterBackend : ICharacterBackend
{
    /// <inheritdoc/>
    public string Name => "none";

    /// <inheritdoc/>
    public void Attach(ICharacterFrontend frontend)
    {
    }

    /// <inheritdoc/>
    public bool TryWrite(byte value) => true;

    /// <inheritdoc/>
    public bool TryRead(out ReceivedCharacter character)
    {
        character = default;
        return false;
    }

    /// <inheritdoc/>
    public void SendBreak()
    {
    }

    /// <inheritdoc/>
    public bool Flush(TimeSpan limit) => true;

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
