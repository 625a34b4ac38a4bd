using System.Diagnostics;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Vmm.Interop;

namespace Vmm.Guest.Tests;

/// <summary><c>vmm run</c> on a terminal: raw while the guest has it, and as before however vmm ends.</summary>
[TestFixture]
[Category("Published")]
[CancelAfter(240_000)]
public sealed class TerminalTests
{
    private PseudoTerminal _terminal = null!;
    private BareKernel _kernel = null!;
    private FileStream _master = null!;
    private SafeFileHandle _slave = null!;

    [SetUp]
    public async Task OpenAsync()
    {
        _terminal = PseudoTerminal.Open();
        // As a login shell's: lines, echo, signals.
        using (Process stty = Process.Start("stty", ["-F", _terminal.Path, "sane"]))
            await stty.WaitForExitAsync();
        // Held open: reading the master of a terminal that nobody has open fails.
        _slave = File.OpenHandle(_terminal.Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        _master = new FileStream(_terminal.Master, FileAccess.ReadWrite, 0);
        _kernel = BareKernel.Assemble(BareGuestTests.PrintAndEcho);
    }

    [TearDown]
    public void Close()
    {
        _slave.Dispose();
        _master.Dispose();
        _terminal.Dispose();
        _kernel.Dispose();
    }

    [Test]
    public async Task CtrlAXQuits()
    {
        string before = await ModeAsync();
        Assert.That(before, Does.Contain(" icanon").And.Contain(" echo ").And.Contain("isig "));
        using Process vmm = await StartAsync();
        Assert.That(await ModeAsync(), Does.Contain("-icanon").And.Contain("-echo ").And.Contain("-isig"));
        await TypeAsync("a\u0003b");
        await ReadUntilAsync("a\u0003b");
        await TypeAsync("\u0001h");
        await ReadUntilAsync("Ctrl-A x");
        await TypeAsync("\u0001x");
        await vmm.WaitForExitAsync().WaitAsync(VmmRun.Limit);
        Assert.That(vmm.ExitCode, Is.Zero);
        Assert.That(await ModeAsync(), Is.EqualTo(before));
    }

    /// <summary>SEGV stands for a crash of the VMM itself.</summary>
    [TestCase("TERM")]
    [TestCase("HUP")]
    [TestCase("SEGV")]
    [TestCase("ABRT")]
    public async Task TheTerminalIsRestoredAfter(string signal)
    {
        VmmRun.NeedSignal(signal);
        string before = await ModeAsync();
        using Process vmm = await StartAsync();
        using (Process kill = Process.Start("kill", [$"-{signal}", $"{vmm.Id}"]))
            await kill.WaitForExitAsync();
        await vmm.WaitForExitAsync().WaitAsync(VmmRun.Limit);
        Assert.That(await ModeAsync(), Is.EqualTo(before));
    }

    private async Task<Process> StartAsync()
    {
        // The shell opens the terminal in the place of vmm's own descriptors, and becomes vmm.
        ProcessStartInfo start = new("sh", ["-c", "exec \"$0\" run --kernel \"$1\" --accel software --stop-timeout 0 <\"$2\" >\"$2\"", VmmRun.Executable, _kernel.Path, _terminal.Path]);
        Process process = Process.Start(start)!;
        await ReadUntilAsync("up");
        return process;
    }

    private async Task TypeAsync(string text) => await _master.WriteAsync(Encoding.ASCII.GetBytes(text));

    private async Task ReadUntilAsync(string end)
    {
        StringBuilder text = new();
        byte[] buffer = new byte[256];
        using CancellationTokenSource limit = new(VmmRun.Limit);
        while (!text.ToString().Contains(end, StringComparison.Ordinal))
            text.Append(Encoding.Latin1.GetString(buffer, 0, await Task.Run(() => _master.Read(buffer)).WaitAsync(limit.Token)));
    }

    private async Task<string> ModeAsync()
    {
        using Process stty = Process.Start(new ProcessStartInfo("stty", ["-F", _terminal.Path, "-a"]) { RedirectStandardOutput = true })!;
        string mode = await stty.StandardOutput.ReadToEndAsync();
        await stty.WaitForExitAsync();
        return mode;
    }
}
