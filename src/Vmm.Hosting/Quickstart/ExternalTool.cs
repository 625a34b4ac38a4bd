using System.ComponentModel;
using System.Diagnostics;
using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Quickstart;

/// <summary>What a program printed, and how it ended.</summary>
internal sealed record ToolResult(int ExitCode, string Output, string Errors)
{
    /// <summary>The line of its messages that tells most: the first error, or the last line.</summary>
    internal string Reason
    {
        get
        {
            string[] lines = Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            return lines.FirstOrDefault(l => l.StartsWith("E:", StringComparison.Ordinal)) ?? lines.LastOrDefault() ?? $"exit status {ExitCode}";
        }
    }
}

/// <summary>Runs programs of the distribution.</summary>
internal static class ExternalTool
{
    private static readonly string[] SystemFolders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

    /// <summary>Finds a program on PATH, and where administrators' programs are, which an ordinary user's PATH leaves out.</summary>
    internal static string? Find(string name)
    {
        IEnumerable<string> path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
        return path.Concat(SystemFolders).Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }

    /// <summary>Runs a program to its end, without standard input.</summary>
    /// <exception cref="VmmException">It cannot be started.</exception>
    internal static async Task<ToolResult> RunAsync(string program, IEnumerable<string> arguments, string folder, CancellationToken cancellation)
    {
        using Process process = Start(program, arguments, folder);
        try
        {
            Task<string> output = process.StandardOutput.ReadToEndAsync(cancellation);
            Task<string> errors = process.StandardError.ReadToEndAsync(cancellation);
            await process.WaitForExitAsync(cancellation).ConfigureAwait(false);
            return new ToolResult(process.ExitCode, await output.ConfigureAwait(false), await errors.ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }

    /// <summary>Runs a program and hands its output to a reader while it runs.</summary>
    /// <exception cref="VmmException">It cannot be started, or fails.</exception>
    internal static async Task ReadAsync(string program, IEnumerable<string> arguments, string folder, Action<Stream> read, CancellationToken cancellation)
    {
        using Process process = Start(program, arguments, folder);
        try
        {
            Task<string> errors = process.StandardError.ReadToEndAsync(cancellation);
            await Task.Run(() => read(process.StandardOutput.BaseStream), cancellation).ConfigureAwait(false);
            await process.WaitForExitAsync(cancellation).ConfigureAwait(false);
            ToolResult result = new(process.ExitCode, "", await errors.ConfigureAwait(false));
            if (result.ExitCode != 0)
                throw new VmmException($"{Path.GetFileName(program)} failed: {result.Reason}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static Process Start(string program, IEnumerable<string> arguments, string folder)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["LC_ALL"] = "C";
        start.Environment["DEBIAN_FRONTEND"] = "noninteractive";
        try
        {
            Process process = Process.Start(start) ?? throw new VmmException($"'{program}' did not start.");
            process.StandardInput.Close();
            return process;
        }
        catch (Win32Exception e)
        {
            throw new VmmException($"Cannot run '{program}': {e.Message}.", e);
        }
    }
}
