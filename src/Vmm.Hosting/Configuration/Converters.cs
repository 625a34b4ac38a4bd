using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Vmm.Block;
using Vmm.Core.Lifecycle;

namespace Vmm.Hosting.Configuration;

/// <summary>Text that may also be written as a number: <c>"cpus": 2</c> and <c>"cpus": "2"</c>.</summary>
internal sealed class TextConverter : JsonConverter<string>
{
    public override string? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString(),
        JsonTokenType.Number => Encoding.UTF8.GetString(reader.ValueSpan),
        _ => throw new JsonException(),
    };

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);
}

/// <summary>A list of disks, or one; each as text or as an object.</summary>
internal sealed class DiskListConverter : JsonConverter<IList<DiskOptions>>
{
    private static readonly string[] Members = ["path", "format", "readonly", "id"];

    public override IList<DiskOptions> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        List<DiskOptions> disks = [];
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            disks.Add(ReadOne(ref reader));
            return disks;
        }
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            disks.Add(ReadOne(ref reader));
        return disks;
    }

    public override void Write(Utf8JsonWriter writer, IList<DiskOptions> value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (DiskOptions disk in value)
        {
            writer.WriteStartObject();
            writer.WriteString("path", disk.Path);
            if (disk.Format is not null)
                writer.WriteString("format", disk.Format);
            writer.WriteBoolean("readonly", disk.ReadOnly);
            if (disk.Id is not null)
                writer.WriteString("id", disk.Id);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }

    private static DiskOptions ReadOne(ref Utf8JsonReader reader)
    {
        try
        {
            if (reader.TokenType == JsonTokenType.String)
                return DiskOptions.Parse(reader.GetString()!);
            if (reader.TokenType != JsonTokenType.StartObject)
                throw new JsonException();
            return ReadObject(ref reader);
        }
        catch (VmmException e)
        {
            throw new JsonException(null, e);
        }
    }

    private static DiskOptions ReadObject(ref Utf8JsonReader reader)
    {
        DiskOptions disk = new();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            reader.Read();
            switch (name)
            {
                case "path":
                    disk.Path = ReadText(ref reader, name);
                    break;
                case "format":
                    disk.Format = ReadText(ref reader, name);
                    break;
                case "id":
                    disk.Id = ReadText(ref reader, name);
                    break;
                case "readonly":
                    disk.ReadOnly = reader.TokenType is JsonTokenType.True or JsonTokenType.False
                        ? reader.GetBoolean()
                        : throw new ConfigurationException("readonly is true or false.");
                    break;
                default:
                    throw new ConfigurationException(
                        $"'{name}' is no member of a disk; it has {string.Join(", ", Members)}.{Spelling.Suggestion(name, Members)}");
            }
        }
        return disk.Validate() is string fault ? throw new ConfigurationException(fault) : disk;
    }

    private static string ReadText(ref Utf8JsonReader reader, string name) =>
        reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new ConfigurationException($"{name} is a text.");
}
