using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Vmm.Cli.Commands;

/// <summary>Help as System.CommandLine writes it, with notes and examples below.</summary>
internal sealed class ExamplesHelp : SynchronousCommandLineAction
{
    private readonly SynchronousCommandLineAction _inner;
    private readonly Command _command;
    private readonly string _notes;
    private readonly (string Line, string Meaning)[] _examples;

    private ExamplesHelp(SynchronousCommandLineAction inner, Command command, string notes, (string Line, string Meaning)[] examples)
    {
        (_inner, _command, _notes, _examples) = (inner, command, notes, examples);
    }

    public override bool ClearsParseErrors => true;

    /// <summary>Gives a command a help option whose text ends in notes and examples.</summary>
    internal static void Attach(Command command, string notes, params (string Line, string Meaning)[] examples)
    {
        HelpOption? help = command.Options.OfType<HelpOption>().FirstOrDefault();
        if (help is null)
        {
            help = new HelpOption();
            command.Options.Add(help);
        }
        help.Action = new ExamplesHelp((SynchronousCommandLineAction)help.Action!, command, notes, examples);
    }

    public override int Invoke(ParseResult parseResult)
    {
        int status = _inner.Invoke(parseResult);
        // The root's help option is inherited by commands that have none of their own.
        if (parseResult.CommandResult.Command != _command)
            return status;
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine(_notes);
        output.WriteLine();
        output.WriteLine("Examples:");
        foreach ((string line, string meaning) in _examples)
        {
            output.WriteLine($"  # {meaning}");
            output.WriteLine($"  {line}");
        }
        output.WriteLine();
        return status;
    }
}
