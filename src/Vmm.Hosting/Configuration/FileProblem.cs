namespace Vmm.Hosting.Configuration;

/// <summary>Says in one line what the system found wrong with a file, and what to do.</summary>
internal static class FileProblem
{
    internal static string Describe(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "there is no such file; check the path.",
        UnauthorizedAccessException => "permission denied, or it is a directory; check its permissions.",
        _ => OneLine(e.Message),
    };

    /// <summary>A message on one line, ending in a full stop.</summary>
    internal static string OneLine(string message)
    {
        string line = string.Join(' ', message.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        return line.EndsWith('.') ? line : line + ".";
    }
}
