using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

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
internal sealed class DiskListConverter : JsonConverter<IList<DiskSettings>>
{
    public override IList<DiskSettings> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        List<DiskSettings> disks = [];
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            disks.Add(ReadOne(ref reader));
            return disks;
        }
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            disks.Add(ReadOne(ref reader));
        return disks;
    }

    public override void Write(Utf8JsonWriter writer, IList<DiskSettings> value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (DiskSettings disk in value)
        {
            writer.WriteStartObject();
            writer.WriteString("path", disk.Path);
            writer.WriteString("format", disk.Format);
            writer.WriteBoolean("readonly", disk.ReadOnly);
            if (disk.Id is not null)
                writer.WriteString("id", disk.Id);
            writer.WriteEndObject();
        }
        writer.WriteEndArray();
    }

    private static DiskSettings ReadOne(ref Utf8JsonReader reader)
    {
        try
        {
            if (reader.TokenType == JsonTokenType.String)
                return DiskSettings.Parse(reader.GetString()!);
            if (reader.TokenType != JsonTokenType.StartObject)
                throw new JsonException();
            return ReadObject(ref reader);
        }
        catch (ConfigurationException e)
        {
            throw new JsonException(null, e);
        }
    }

    private static DiskSettings ReadObject(ref Utf8JsonReader reader)
    {
        string? path = null, format = null, id = null;
        bool readOnly = false;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            string name = reader.GetString()!;
            reader.Read();
            switch (name)
            {
                case "path":
                    path = ReadText(ref reader, name);
                    break;
                case "format":
                    format = ReadText(ref reader, name);
                    break;
                case "id":
                    id = ReadText(ref reader, name);
                    break;
                case "readonly":
                    readOnly = reader.TokenType is JsonTokenType.True or JsonTokenType.False
                        ? reader.GetBoolean()
                        : throw new ConfigurationException("readonly is true or false.");
                    break;
                default:
                    throw DiskSettings.Unknown(name);
            }
        }
        return DiskSettings.Checked(path, format, readOnly, id);
    }

    private static string ReadText(ref Utf8JsonReader reader, string name) =>
        reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new ConfigurationException($"{name} is a text.");
}
