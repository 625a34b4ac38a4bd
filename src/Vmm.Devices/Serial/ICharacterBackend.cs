namespace Vmm.Devices.Serial;

/// <summary>A character, or a break, on its way to the guest.</summary>
/// <param name="Value">The character; 0 for a break.</param>
/// <param name="IsBreak">The line was held spacing: a break condition.</param>
public readonly record struct ReceivedCharacter(byte Value, bool IsBreak = false);

/// <summary>The device end of a character line. The backend calls it from threads of its own, with no lock held.</summary>
public interface ICharacterFrontend
{
    /// <summary>Characters may be waiting in the backend where none were.</summary>
    void InputAvailable();

    /// <summary>After <see cref="ICharacterBackend.TryWrite"/> refused a character: there is room again.</summary>
    void OutputReady();
}

/// <summary>
/// The host end of a character line: a terminal, a file, a socket. No member called by the device blocks: output goes through a
/// bounded buffer that a thread of the backend writes out, and a full buffer refuses characters, which the device shows to the guest
/// as a busy transmitter. Input waits in a bounded queue until the device takes it.
/// </summary>
public interface ICharacterBackend : IDisposable
{
    /// <summary>What it is, for messages: "stdio", "file:/tmp/log".</summary>
    string Name { get; }

    /// <summary>Connects the device and starts the traffic. Once.</summary>
    void Attach(ICharacterFrontend frontend);

    /// <summary>Takes a character of output. Any thread; calls nothing back.</summary>
    /// <returns>False when there is no room: the device keeps it and waits for <see cref="ICharacterFrontend.OutputReady"/>.</returns>
    bool TryWrite(byte value);

    /// <summary>Takes a character of input from the queue. Any thread; calls nothing back.</summary>
    bool TryRead(out ReceivedCharacter character);

    /// <summary>Puts a break into the input, behind what is waiting there.</summary>
    void SendBreak();

    /// <summary>Waits until all output accepted so far is written out.</summary>
    /// <returns>False when that takes longer than the limit.</returns>
    bool Flush(TimeSpan limit);
}
