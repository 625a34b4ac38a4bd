using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Configuration;

/// <summary>Reads a virtual machine's JSON file.</summary>
public static class MachineConfigurationFile
{
    /// <summary>The longest file that is read; a configuration is a few hundred bytes.</summary>
    private const int MaximumLength = 1 << 20;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ConfigurationException">It cannot be read, is no JSON, or holds an unknown or misshapen member; the message names it.</exception>
    public static MachineConfiguration Load(string path)
    {
        byte[] bytes;
        try
        {
            using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            if (stream.Length > MaximumLength)
                throw new ConfigurationException($"--config: '{path}' is {stream.Length} bytes long; a configuration is at most {MaximumLength}. Is it the right file?");
            bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new ConfigurationException($"--config: cannot read '{path}': {FileProblem.Describe(e)}", e);
        }
        return Parse(bytes, path);
    }

    /// <summary>Reads UTF-8 text.</summary>
    /// <param name="json">The text.</param>
    /// <param name="path">The file's name, for messages.</param>
    /// <exception cref="ConfigurationException">It is no JSON, or holds an unknown or misshapen member; the message names it.</exception>
    public static MachineConfiguration Parse(ReadOnlySpan<byte> json, string path)
    {
        MachineConfiguration? configuration;
        try
        {
            configuration = JsonSerializer.Deserialize(json, MachineConfigurationContext.Default.MachineConfiguration);
        }
        catch (JsonException e) when (e.InnerException is VmmException inner)
        {
            throw new ConfigurationException($"--config: '{path}'{Place(e)}: \"{Member(e)}\": {inner.Message}", e);
        }
        catch (JsonException e)
        {
            string member = Member(e);
            string what = member.Length == 0
                ? "is not valid JSON; it must be one object of options, such as { \"kernel\": \"vmlinuz\", \"memory\": \"512M\" }."
                : $"\"{member}\" has a value of the wrong kind, or the text around it is not valid JSON.";
            throw new ConfigurationException($"--config: '{path}'{Place(e)}: {what}", e);
        }
        if (configuration is null)
            throw new ConfigurationException($"--config: '{path}' holds null; it must be an object of options.");
        if (configuration.Unknown is { Count: > 0 } unknown)
            throw Unknown(unknown.Keys.First(), path);
        return configuration;
    }

    /// <summary>Names of all members.</summary>
    internal static IEnumerable<string> Members =>
        MachineConfigurationContext.Default.MachineConfiguration.Properties.Where(p => !p.IsExtensionData).Select(p => p.Name);

    private static ConfigurationException Unknown(string member, string path) =>
        new($"--config: '{path}': \"{member}\" is no option of a virtual machine.{Spelling.Suggestion(member, Members)} See 'vmm run --help'.");

    private static string Place(JsonException e) => e.LineNumber is long line ? $", line {line + 1}" : "";

    /// <summary>The member at fault: <c>$.cpus</c> gives <c>cpus</c>.</summary>
    private static string Member(JsonException e)
    {
        string path = e.Path ?? "$";
        return path.StartsWith("$.", StringComparison.Ordinal) ? path[2..] : path.TrimStart('$').Trim('[', ']', '\'');
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.KebabCaseLower,
    ReadCommentHandling = JsonCommentHandling.Skip,
    AllowTrailingCommas = true)]
[JsonSerializable(typeof(MachineConfiguration))]
[JsonSerializable(typeof(JsonNode))]
internal sealed partial class MachineConfigurationContext : JsonSerializerContext;
