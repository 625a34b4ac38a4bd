using System.CommandLine;
using System.CommandLine.Parsing;
using Vmm.Core.Lifecycle;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli.Commands;

/// <summary>The root of the command line: parses, runs, and turns every failure into one line on standard error.</summary>
internal static class VmmCommand
{
    /// <summary>Runs a command line.</summary>
    /// <returns>The exit status.</returns>
    internal static async Task<int> RunAsync(string[] arguments)
    {
        RootCommand root = Build();
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (arguments.Length == 0)
            parsed = root.Parse(["--help"]);
        // Asking for help answers, whatever else is on the line; otherwise the first mistake is told.
        if (parsed.Errors.Count > 0 && parsed.Action?.ClearsParseErrors != true)
            return Fail(UsageError.Describe(parsed), ExitStatus.Usage);
        try
        {
            InvocationConfiguration configuration = new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
            return await parsed.InvokeAsync(configuration).ConfigureAwait(false);
        }
        catch (ConfigurationException e)
        {
            return Fail(e.Message, ExitStatus.Usage);
        }
        catch (Exception e)
        {
            // The last line of defence: a defect of vmm's own, or of the host, is told like any other failure. --log-level debug logs its trace.
            return Fail(e is VmmException or IOException or UnauthorizedAccessException ? e.Message : $"{e.GetType().Name}: {e.Message}", ExitStatus.Failure);
        }
    }

    /// <summary>Builds the whole command line.</summary>
    internal static RootCommand Build()
    {
        RootCommand root = new("Runs virtual machines.") { RunCommand.Build(), QuickstartCommand.Build() };
        ExamplesHelp.Attach(root, "'vmm COMMAND --help' tells about a command.",
            ("vmm quickstart", "a shell in a small Linux guest, with nothing prepared"),
            ("vmm run --kernel vmlinuz --initrd initrd.img --append console=ttyS0", "a guest of your own"));
        return root;
    }

    private static int Fail(string message, int status)
    {
        Console.Error.WriteLine($"vmm: {string.Join(' ', message.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))}");
        return status;
    }
}
