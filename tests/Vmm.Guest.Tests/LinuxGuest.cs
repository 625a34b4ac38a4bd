using System.Globalization;
using System.Text.RegularExpressions;
using Vmm.Core.Lifecycle;
using Vmm.Hosting.Quickstart;

namespace Vmm.Guest.Tests;

/// <summary>Debian's stock kernel with the quickstart's initramfs under <c>vmm run</c>, and a shell on its console.</summary>
internal sealed partial class LinuxGuest : IAsyncDisposable
{
    private int _commands;

    private LinuxGuest(VmmRun run)
    {
        Run = run;
    }

    internal VmmRun Run { get; }

    /// <summary>The assets, from the user's cache or the distribution; ignores the test where there are none.</summary>
    internal static async Task<GuestAssets> AssetsAsync()
    {
        try
        {
            return await new GuestAssetStore().PrepareAsync();
        }
        catch (VmmException e)
        {
            Assert.Ignore($"No Linux guest on this machine: {e.Message}");
            throw;
        }
    }

    /// <summary>Boots to the shell.</summary>
    internal static Task<LinuxGuest> BootAsync(params string[] options) => BootWithAsync("", options);

    /// <summary>Boots to the shell, with something added to the kernel's command line.</summary>
    internal static async Task<LinuxGuest> BootWithAsync(string append, params string[] options)
    {
        GuestAssets assets = await AssetsAsync();
        VmmRun run = VmmRun.Start(
            ["--kernel", assets.Kernel, "--initrd", assets.Initrd, "--append", $"console=ttyS0 quiet {append}", "--accel", "software", .. options]);
        LinuxGuest guest = new(run);
        try
        {
            await guest.WaitForShellAsync();
            return guest;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>Waits for a shell that was just started.</summary>
    internal async Task WaitForShellAsync()
    {
        await Run.WaitForAsync("vmm: /init started");
        await Run.WaitForAsync("# ");
    }

    /// <summary>Runs a command in the shell.</summary>
    /// <returns>What it wrote, lines ended by \n, and its exit status.</returns>
    internal async Task<(string Output, int Status)> ExecuteAsync(string command)
    {
        // The console echoes what is typed: the quotes keep the echo from looking like the marks.
        string mark = $"{++_commands}";
        await Run.TypeAsync($"echo '@''@<{mark}'; {command}; echo '@''@>{mark}:'$?\n");
        await Run.WaitForAsync($"@@<{mark}\r?\n");
        Match end = await Run.WaitForAsync($@"(?s)^(.*?)@@>{mark}:(\d+)");
        string output = Escapes().Replace(end.Groups[1].Value, "").Replace("\r", "");
        return (output, int.Parse(end.Groups[2].Value, CultureInfo.InvariantCulture));
    }

    /// <summary>Runs a command that must succeed.</summary>
    /// <returns>What it wrote, without the last line end.</returns>
    internal async Task<string> SucceedAsync(string command)
    {
        (string output, int status) = await ExecuteAsync(command);
        Assert.That(status, Is.Zero, $"'{command}' failed: {output}");
        return output.TrimEnd('\n');
    }

    public ValueTask DisposeAsync() => Run.DisposeAsync();

    [GeneratedRegex(@"\x1b\[[0-9;?]*[A-Za-z]")]
    private static partial Regex Escapes();
}
