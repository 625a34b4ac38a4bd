using System.Diagnostics;
using System.Text;
using Vmm.Interop;

namespace Vmm.Hosting.Tests.Console;

/// <summary>The terminal's mode after the process that made it raw has ended, in every way but SIGKILL.</summary>
internal sealed class TerminalRestoreTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private string _directory = null!;
    private string _probe = null!;

    private static string ShimPath => Path.Combine(AppContext.BaseDirectory, "libvmmshim.so");

    [OneTimeSetUp]
    public void BuildProbe()
    {
        if (!File.Exists("/dev/ptmx"))
            Assert.Ignore("no pseudo-terminals here");
        if (!File.Exists("/usr/bin/cc"))
            Assert.Ignore("no C compiler (/usr/bin/cc) here");
        _directory = Directory.CreateTempSubdirectory("vmm-terminal-").FullName;
        _probe = Path.Combine(_directory, "probe");
        string source = Path.Combine(AppContext.BaseDirectory, "Console", "Native", "terminal-probe.c");
        var (status, output) = Run("/usr/bin/cc", "-O1", "-o", _probe, source, "-ldl");
        Assert.That(status, Is.Zero, output);
    }

    [OneTimeTearDown]
    public void DeleteProbe()
    {
        if (_directory is not null)
            Directory.Delete(_directory, recursive: true);
    }

    [TestCase("exit", 0)]
    [TestCase("restore", 0)]
    [TestCase("abort", 128 + 6)]
    [TestCase("fault", 128 + 11)]
    [TestCase("runtime-fault", 128 + 11, Description = "a fault that the runtime gives up on")]
    [TestCase("runtime-handled", 0)]
    [TestCase("1", 128 + 1)]
    [TestCase("2", 128 + 2)]
    [TestCase("3", 128 + 3)]
    [TestCase("7", 128 + 7)]
    [TestCase("8", 128 + 8)]
    [TestCase("9", 128 + 9, Description = "what no handler sees: the guardian is left")]
    [TestCase("11", 128 + 11)]
    [TestCase("15", 128 + 15)]
    public void TheModeIsPutBack(string way, int expectedStatus)
    {
        using var pty = PseudoTerminal.Open();
        // Held open, so that the mode can be asked for between the processes.
        using var slave = new FileStream(pty.Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        Stty(pty.Path, "sane");
        string before = Stty(pty.Path, "-g");
        using var master = new FileStream(pty.Master, FileAccess.ReadWrite, bufferSize: 0);
        // The shell connects the probe with the terminal and keeps its exit status apart from ours.
        // The test may itself run with SIGINT ignored (a background job of a shell), which processes inherit.
        using var process = Start("/usr/bin/env", "--default-signal", "/bin/sh", "-c", "ulimit -c 0; \"$0\" \"$1\" \"$2\" <\"$3\" >\"$3\" 2>/dev/null; exit $?", _probe, ShimPath, way, pty.Path);
        Expect(master, "raw");
        string during = Stty(pty.Path, "-g");
        Assert.That(during, Is.Not.EqualTo(before), "the terminal is raw");
        master.WriteByte((byte)'k');
        if (way == "runtime-handled")
        {
            Expect(master, "raw");
            Assert.That(Stty(pty.Path, "-g"), Is.EqualTo(during), "a fault that the runtime repairs leaves the terminal raw");
            master.WriteByte((byte)'k');
        }
        Assert.That(process.WaitForExit(Limit));
        Assert.That(process.ExitCode, Is.EqualTo(expectedStatus));
        // At once, but for SIGKILL: then the guardian has to notice first.
        bool restored = SpinWait.SpinUntil(() => Stty(pty.Path, "-g") == before, way == "9" ? Limit : TimeSpan.Zero);
        Assert.That(restored, $"{Stty(pty.Path, "-g")} is not {before}");
    }

    [Test]
    public void NoTerminalIsLeftAlone()
    {
        using var file = File.OpenHandle("/dev/null");
        Assert.That(TerminalMode.IsTerminal(file), Is.False);
        Assert.That(TerminalMode.TryEnterRaw(file), Is.Null);
    }

    private static void Expect(FileStream master, string text)
    {
        byte[] buffer = new byte[text.Length];
        master.ReadExactly(buffer);
        Assert.That(Encoding.ASCII.GetString(buffer), Is.EqualTo(text));
    }

    private static string Stty(string terminal, string argument)
    {
        var (status, output) = Run("/bin/sh", "-c", $"stty {argument} <\"$0\"", terminal);
        Assert.That(status, Is.Zero, output);
        return output.Trim();
    }

    private static (int Status, string Output) Run(string file, params string[] arguments)
    {
        using var process = Start(file, arguments);
        string output = process.StandardOutput.ReadToEnd() + process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output);
    }

    private static Process Start(string file, params string[] arguments)
    {
        var start = new ProcessStartInfo(file, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        return Process.Start(start)!;
    }
}
