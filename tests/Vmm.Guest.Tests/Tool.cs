using System.Diagnostics;

namespace Vmm.Guest.Tests;

/// <summary>A program of the host.</summary>
internal static class Tool
{
    private static readonly string[] Folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

    internal static bool Exists(string name) => Folders.Any(f => File.Exists(Path.Combine(f, name)));

    internal static async Task<int> RunAsync(string name, params string[] arguments)
    {
        ProcessStartInfo start = new(Folders.Select(f => Path.Combine(f, name)).First(File.Exists), arguments) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        TestContext.Out.Write(await process.StandardOutput.ReadToEndAsync());
        await process.WaitForExitAsync();
        return process.ExitCode;
    }
}

/// <summary>A folder that goes when the test ends.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("vmm-test-").FullName;

    internal string File(string name) => Path.Combine(_path, name);

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
