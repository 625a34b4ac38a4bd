using System.Text.RegularExpressions;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli.Tests;

/// <summary>A wrong command line or configuration: status 2 and exactly one line on standard error that names the culprit.</summary>
[TestFixture]
[Category("Published")]
[Parallelizable(ParallelScope.Children)]
public sealed class UsageTests
{
    private static IEnumerable<TestCaseData> Mistakes()
    {
        yield return Mistake("'--memroy'.*'--memory'", "run", "--kernel", "k", "--memroy", "5M");
        yield return Mistake("'rnu'.*'run'", "rnu");
        yield return Mistake("'--bogus'", "--bogus");
        yield return Mistake("'--bogus'", "quickstart", "--bogus");
        yield return Mistake("'extra'", "run", "--kernel", "k", "extra");
        yield return Mistake("--kernel", "run");
        yield return Mistake("--kernel.*missing", "run", "--kernel");
        yield return Mistake("--kernel.*more than once", "run", "--kernel", "a", "--kernel", "b");
        yield return Mistake("--cpus", "run", "--kernel", "k", "--cpus", "0");
        yield return Mistake("--cpus", "run", "--kernel", "k", "--cpus", "4097");
        yield return Mistake("--cpus", "quickstart", "--cpus", "0");
        yield return Mistake("--memory", "run", "--kernel", "k", "--memory", "1M");
        yield return Mistake("--memory", "run", "--kernel", "k", "--memory", "lots");
        yield return Mistake("--accel.*KVM", "run", "--kernel", "k", "--accel", "kvm");
        yield return Mistake("--accel", "run", "--kernel", "k", "--accel", "xen");
        yield return Mistake("--disk.*'a.raw'", "run", "--kernel", "k", "--disk", "a.raw");
        yield return Mistake("--disk.*'fromat'", "run", "--kernel", "k", "--disk", "path=a,fromat=raw");
        yield return Mistake("--serial", "run", "--kernel", "k", "--serial", "tcp:5");
        yield return Mistake("--boot-protocol", "run", "--kernel", "k", "--boot-protocol", "bios");
        yield return Mistake("--log-level", "run", "--kernel", "k", "--log-level", "loud");
        yield return Mistake("--stop-timeout", "run", "--kernel", "k", "--stop-timeout", "soon");
        yield return Mistake("/nonexistent.json", "run", "--config", "/nonexistent.json");
        yield return Mistake("'/proc'", "run", "--config", "/proc");
        yield return Mistake("@file", "run", "@file");
    }

    private static TestCaseData Mistake(string pattern, params string[] arguments) =>
        new TestCaseData(pattern, arguments).SetArgDisplayNames(string.Join(' ', arguments));

    [TestCaseSource(nameof(Mistakes))]
    public async Task IsToldInOneLine(string pattern, string[] arguments)
    {
        VmmProcess.Result result = await VmmProcess.RunAsync(arguments);
        Assert.Multiple(() =>
        {
            Assert.That(result.ExitCode, Is.EqualTo(2));
            Assert.That(result.Output, Is.Empty);
            Assert.That(result.ErrorLines, Has.Length.EqualTo(1), result.Errors);
            Assert.That(result.Errors, Does.Match(pattern).And.StartsWith("vmm: "));
        });
    }

    [TestCase("""{ "kernel": "k", "memroy": "1G" }""", "\"memroy\"")]
    [TestCase("""{ "kernel": "k", "cpus": 0 }""", "--cpus")]
    [TestCase("""{ "kernel": "k", "cpus": [] }""", "\"cpus\"")]
    [TestCase("""{ "kernel": """, "JSON")]
    public async Task AConfigurationFileIsToldInOneLine(string json, string named)
    {
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, json);
            VmmProcess.Result result = await VmmProcess.RunAsync("run", "--config", file);
            Assert.That((result.ExitCode, result.ErrorLines.Length), Is.EqualTo((2, 1)), result.Errors);
            Assert.That(result.Errors, Does.Contain(named));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public async Task VersionIsOneLine()
    {
        VmmProcess.Result result = await VmmProcess.RunAsync("--version");
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Output, Does.Match(@"^vmm \d+\.\d+\.\d+\n$"));
        Assert.That(result.Errors, Is.Empty);
    }

    [TestCase("--help")]
    [TestCase("run", "--help")]
    [TestCase("quickstart", "--help")]
    [TestCase("run", "--bogus", "--help")]
    public async Task HelpShowsExamples(params string[] arguments)
    {
        VmmProcess.Result result = await VmmProcess.RunAsync(arguments);
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Output, Does.Contain("Examples:").And.Contain("vmm quickstart").Or.Contain("vmm run --kernel"));
        Assert.That(result.Errors, Is.Empty);
    }

    /// <summary>Every option of vmm run has the same name in the JSON file, and the other way round.</summary>
    [Test]
    public async Task OptionsAndJsonMembersAreTheSame()
    {
        VmmProcess.Result help = await VmmProcess.RunAsync("run", "--help");
        IEnumerable<string> options = Regex.Matches(help.Output, @"^  --([a-z-]+)", RegexOptions.Multiline).Select(m => m.Groups[1].Value);
        Assert.That(options.Except(["config"]), Is.EquivalentTo(MachineConfigurationFile.Members));
    }
}
