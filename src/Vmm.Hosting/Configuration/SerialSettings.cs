namespace Vmm.Hosting.Configuration;

/// <summary>Where the first serial port's other end is.</summary>
public enum SerialKind
{
    /// <summary>Standard input and output, raw when they are a terminal.</summary>
    Stdio,

    /// <summary>Nowhere.</summary>
    None,

    /// <summary>Output into a file; no input.</summary>
    File,

    /// <summary>A listening UNIX stream socket; one client at a time.</summary>
    Unix,

    /// <summary>A new pseudo-terminal, whose name is logged.</summary>
    Pty,

    /// <summary>The program that embeds the machine: <see cref="Machine.VirtualMachine.Console"/>, which it must read.</summary>
    Stream,
}

/// <summary>The first serial port's other end.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Path">The file or socket, for <see cref="SerialKind.File"/> and <see cref="SerialKind.Unix"/>.</param>
public sealed record SerialSettings(SerialKind Kind, string? Path = null)
{
    /// <summary>The longest path of a UNIX socket: sun_path without its final zero (unix(7)).</summary>
    private const int MaximumSocketPath = 107;

    /// <summary>Reads <c>stdio</c>, <c>none</c>, <c>file:F</c>, <c>unix:F</c> or <c>pty</c>.</summary>
    /// <exception cref="ConfigurationException">The text is none of them; the message starts after the option's name.</exception>
    public static SerialSettings Parse(string text)
    {
        int colon = text.IndexOf(':');
        string kind = colon < 0 ? text : text[..colon];
        string? path = colon < 0 ? null : text[(colon + 1)..];
        SerialKind parsed = kind switch
        {
            "stdio" => SerialKind.Stdio,
            "none" => SerialKind.None,
            "file" => SerialKind.File,
            "unix" => SerialKind.Unix,
            "pty" => SerialKind.Pty,
            _ => throw new ConfigurationException(
                $"'{text}' is not one of stdio, none, file:FILE, unix:SOCKET and pty.{Spelling.Suggestion(kind, ["stdio", "none", "file", "unix", "pty"])}"),
        };
        bool takesPath = parsed is SerialKind.File or SerialKind.Unix;
        if (takesPath && string.IsNullOrEmpty(path))
            throw new ConfigurationException($"'{text}' needs a path: {kind}:PATH.");
        if (!takesPath && path is not null)
            throw new ConfigurationException($"'{kind}' takes nothing after it, so '{text}' is not known.");
        if (parsed == SerialKind.Unix && System.Text.Encoding.UTF8.GetByteCount(path!) > MaximumSocketPath)
            throw new ConfigurationException($"the socket's path is longer than {MaximumSocketPath} bytes; use a shorter one: '{path}'.");
        return new SerialSettings(parsed, path);
    }
}
