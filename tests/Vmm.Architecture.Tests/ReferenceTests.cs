namespace Vmm.Architecture.Tests;

/// <summary>
/// Which project may reference which. Devices know no CPU engine and engines no device; devices and boards know no concrete
/// image format; nothing below Vmm.Hosting knows Microsoft.Extensions.Hosting. What is not listed is forbidden, so a new project
/// must be given its place here.
/// </summary>
[TestFixture]
public sealed class ReferenceTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Vmm.Interop"] = [],
        ["Vmm.Core"] = ["Vmm.Interop"],
        ["Vmm.Block"] = ["Vmm.Core"],
        ["Vmm.Nbd"] = ["Vmm.Block"],
        ["Vmm.Devices"] = ["Vmm.Core", "Vmm.Block"],
        ["Vmm.Cpu.Kvm"] = ["Vmm.Core"],
        ["Vmm.Cpu.Software"] = ["Vmm.Core"],
        ["Vmm.Machine"] = ["Vmm.Core", "Vmm.Devices", "Vmm.Block"],
        ["Vmm.Hosting"] = ["Vmm.Machine", "Vmm.Cpu.Kvm", "Vmm.Cpu.Software", "Vmm.Devices", "Vmm.Block", "Vmm.Nbd", "Vmm.Core", "Vmm.Interop"],
        ["Vmm.Cli"] = ["Vmm.Hosting"],
    };

    /// <summary>Packages that tie a project to a host; only Vmm.Hosting and what is above it may have them.</summary>
    private static readonly string[] HostPackages = ["Microsoft.Extensions.Hosting", "Microsoft.Extensions.DependencyInjection", "Microsoft.Extensions.Options", "Microsoft.AspNetCore"];

    private static IEnumerable<string> Projects => Repository.Projects;

    [Test]
    public void TheRepositoryIsFound() => Assert.That(Projects, Has.Member("Vmm.Core").And.Member("Vmm.Cli"));

    [TestCaseSource(nameof(Projects))]
    public void ReferencesOnlyWhatItMay(string project)
    {
        Assert.That(Allowed.Keys, Has.Member(project), "The project has no place in the architecture yet.");
        Assert.That(Repository.ProjectReferences(project).Except(Allowed[project]), Is.Empty);
    }

    private static IEnumerable<string> BelowHosting => Repository.Projects.Where(p => p is not ("Vmm.Hosting" or "Vmm.Cli"));

    [TestCaseSource(nameof(BelowHosting))]
    public void OnlyHostingAndAboveKnowTheHost(string project)
    {
        Assert.That(Repository.PackageReferences(project).Where(p => HostPackages.Any(h => p.StartsWith(h, StringComparison.Ordinal))), Is.Empty);
    }

    /// <summary>A format is a folder of Vmm.Block; devices and boards see only the contract, so its namespace is not theirs to use.</summary>
    [TestCase("Vmm.Devices")]
    [TestCase("Vmm.Machine")]
    public void KnowsNoConcreteImageFormat(string project)
    {
        IEnumerable<string> formats = Directory.EnumerateDirectories(Path.Combine(Repository.Root, "src", "Vmm.Block"))
            .Select(d => Path.GetFileName(d)!).Where(d => d is not ("obj" or "bin"));
        IEnumerable<string> uses =
            from file in Repository.Sources(project)
            from format in formats
            where File.ReadAllText(file).Contains($"using Vmm.Block.{format};", StringComparison.Ordinal)
            select $"{file} uses {format}";
        Assert.That(uses, Is.Empty);
    }

    [Test]
    public void OnlyInteropHasTheLibraryOfSystemCalls() =>
        Assert.That(Projects.Where(p => Repository.PackageReferences(p).Any(r => r.StartsWith("Tmds.", StringComparison.Ordinal))), Is.SubsetOf(new[] { "Vmm.Interop" }));
}
