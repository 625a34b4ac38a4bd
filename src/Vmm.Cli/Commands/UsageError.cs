using System.CommandLine;
using System.CommandLine.Parsing;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli.Commands;

/// <summary>Says in one line what is wrong with a command line.</summary>
internal static class UsageError
{
    internal static string Describe(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        string name = command is RootCommand ? "vmm" : $"vmm {command.Name}";
        string help = $"See '{name} --help'.";
        if (parsed.UnmatchedTokens is [string token, ..])
            return Unmatched(parsed, command, token, help);
        ParseError error = parsed.Errors[0];
        if (error.SymbolResult is OptionResult option)
        {
            string given = option.IdentifierToken?.Value ?? option.Option.Name;
            if (option.Tokens.Count == 0)
                return $"{given}: a value is missing. {help}";
            if (option.Tokens.Count > option.Option.Arity.MaximumNumberOfValues || option.IdentifierTokenCount > 1)
                return $"{given}: it is given more than once. {help}";
        }
        if (command is RootCommand)
            return $"No command is given; the commands are {string.Join(" and ", command.Subcommands.Select(c => c.Name))}. {help}";
        return $"{error.Message} {help}";
    }

    private static string Unmatched(ParseResult parsed, Command command, string token, string help)
    {
        if (token.StartsWith('-'))
        {
            string word = token.Split('=', ':')[0];
            IEnumerable<string> names = command.Options.SelectMany(o => o.Aliases.Append(o.Name));
            return $"'{word}' is not an option here.{Spelling.Suggestion(word, names)} {help}";
        }
        if (command is RootCommand && parsed.RootCommandResult == parsed.CommandResult)
            return $"'{token}' is not a command.{Spelling.Suggestion(token, command.Subcommands.Select(c => c.Name))} {help}";
        return $"'{token}' is out of place: only options are taken here. {help}";
    }
}
