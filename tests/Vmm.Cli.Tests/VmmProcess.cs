using System.Diagnostics;

namespace Vmm.Cli.Tests;

/// <summary>Runs the built <c>vmm</c> as a user does.</summary>
internal static class VmmProcess
{
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    internal sealed record Result(int ExitCode, string Output, string Errors)
    {
        internal string[] ErrorLines => Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>The executable: what VMM_EXECUTABLE names (CI gives the published one), or the build's.</summary>
    internal static string Executable =>
        Environment.GetEnvironmentVariable("VMM_EXECUTABLE") is { Length: > 0 } named ? named : Path.Combine(TestContext.CurrentContext.TestDirectory, "vmm");

    internal static Process Start(IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        // Through env(1), which executes in its place: a test that itself runs with SIGINT ignored (a shell's background job) would hand that on.
        ProcessStartInfo start = new("/usr/bin/env", ["--default-signal", Executable, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    internal static async Task<Result> RunAsync(params string[] arguments)
    {
        using Process process = Start(arguments);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        using CancellationTokenSource limit = new(Limit);
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            Assert.Fail($"vmm {string.Join(' ', arguments)} did not end within {Limit.TotalSeconds} s. It wrote: {await output}{await errors}");
        }
        return new Result(process.ExitCode, await output, await errors);
    }
}
