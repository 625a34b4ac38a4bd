using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Vmm.Architecture.Tests;

/// <summary>What no source of the product may do.</summary>
[TestFixture]
public sealed partial class SourceTests
{
    private static IEnumerable<string> Projects => Repository.Projects;

    private static IEnumerable<string> OutsideInterop => Repository.Projects.Where(p => p != "Vmm.Interop");

    [TestCaseSource(nameof(OutsideInterop))]
    public void NativeCallsAreDeclaredInInteropOnly(string project) => Assert.That(Matches(project, NativeCall()), Is.Empty);

    [TestCaseSource(nameof(Projects))]
    public void NothingEndsTheProcess(string project) => Assert.That(Matches(project, ProcessEnd()), Is.Empty);

    [TestCaseSource(nameof(Projects))]
    public void NothingIsLeftUndone(string project) => Assert.That(Matches(project, Unfinished()), Is.Empty);

    /// <summary>Several machines live in one process: whatever changes belongs to one of them.</summary>
    [TestCaseSource(nameof(Projects))]
    public void NoStaticFieldChanges(string project)
    {
        Assembly assembly = Assembly.Load(project == "Vmm.Cli" ? "vmm" : project);
        const BindingFlags statics = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
        IEnumerable<string> mutable =
            from type in assembly.GetTypes()
            where !IsGenerated(type)
            from field in type.GetFields(statics)
            where !field.IsInitOnly && !field.IsLiteral && !field.IsDefined(typeof(CompilerGeneratedAttribute), false) && !field.Name.Contains('<')
            select $"{type.FullName}.{field.Name}";
        Assert.That(mutable, Is.Empty);
    }

    private static bool IsGenerated(Type type)
    {
        for (Type? t = type; t is not null; t = t.DeclaringType)
        {
            bool generated = t.IsDefined(typeof(CompilerGeneratedAttribute), false) || t.Name.Contains('<')
                || t.IsDefined(typeof(System.CodeDom.Compiler.GeneratedCodeAttribute), false)
                || t.IsSubclassOf(typeof(System.Text.Json.Serialization.JsonSerializerContext));
            if (generated)
                return true;
        }
        return false;
    }

    /// <summary>Places where a pattern occurs outside comments and texts' line starts.</summary>
    private static IEnumerable<string> Matches(string project, Regex pattern) =>
        from file in Repository.Sources(project)
        from line in File.ReadLines(file).Select((text, index) => (text, index))
        where pattern.IsMatch(line.text) && !line.text.TrimStart().StartsWith("///", StringComparison.Ordinal)
        select $"{Path.GetRelativePath(Repository.Root, file)}:{line.index + 1}";

    [GeneratedRegex(@"\[\s*(LibraryImport|DllImport)\b|\bTmds\.Linux\b|\bNativeLibrary\.(Load|TryLoad|GetExport)\b")]
    private static partial Regex NativeCall();

    [GeneratedRegex(@"\bEnvironment\.(Exit|FailFast)\b|\bProcess\.GetCurrentProcess\(\)\.Kill\b")]
    private static partial Regex ProcessEnd();

    [GeneratedRegex(@"\b(TODO|FIXME|XXX)\b|\bNotImplementedException\b")]
    private static partial Regex Unfinished();
}
