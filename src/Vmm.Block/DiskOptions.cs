using System.Text;
using Vmm.Core.Lifecycle;

namespace Vmm.Block;

/// <summary>One disk of a machine, as <c>--disk path=F[,format=raw][,readonly][,id=ID]</c> or a member of the JSON file names it.</summary>
public sealed class DiskOptions
{
    /// <summary>Longest <see cref="Id"/>: the serial number that virtio-blk reports has 20 bytes (virtio 1.2, 5.2.6, VIRTIO_BLK_ID_BYTES).</summary>
    public const int MaxIdLength = 20;

    /// <summary>Path of the image or block device.</summary>
    public string Path { get; set; } = "";

    /// <summary>Image format, or null for raw. Null refuses a file that is recognizably an image of another format.</summary>
    public string? Format { get; set; }

    /// <summary>Whether the guest may only read. Several VMs may read one image.</summary>
    public bool ReadOnly { get; set; }

    /// <summary>The serial number that the guest sees, up to 20 printable ASCII characters, or null.</summary>
    public string? Id { get; set; }

    /// <summary>Reads the text of a <c>--disk</c> option. A comma within a path is written twice.</summary>
    /// <exception cref="VmmException">A part is unknown, missing, empty or given twice; the message names it.</exception>
    public static DiskOptions Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var options = new DiskOptions();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string part in Split(text))
        {
            int equals = part.IndexOf('=');
            string name = equals < 0 ? part : part[..equals];
            string? value = equals < 0 ? null : part[(equals + 1)..];
            if (!seen.Add(name))
                throw new VmmException($"--disk {text}: '{name}' is given twice.");
            options.Set(text, name, value);
        }
        if (options.Validate() is string error)
            throw new VmmException($"--disk {text}: {error}");
        return options;
    }

    /// <summary>Looks for a mistake in the options without opening anything.</summary>
    /// <returns>A sentence that names the mistake, or null.</returns>
    public string? Validate()
    {
        if (string.IsNullOrEmpty(Path))
            return "path= is missing. Write path=FILE[,format=raw][,readonly][,id=ID].";
        if (Path.Contains('\0'))
            return "path= contains a NUL character.";
        if (Format is not null && !DiskImage.IsKnownFormat(Format))
            return $"format '{Format}' is not known. Known formats: {string.Join(", ", DiskImage.KnownFormats)}.";
        if (Id is not null && (Id.Length is 0 or > MaxIdLength || Id.Any(c => c is < ' ' or > '~')))
            return $"id must be 1 to {MaxIdLength} printable ASCII characters.";
        return null;
    }

    private void Set(string text, string name, string? value)
    {
        switch (name)
        {
            case "path":
                Path = Required(text, name, value);
                break;
            case "format":
                Format = Required(text, name, value);
                break;
            case "id":
                Id = Required(text, name, value);
                break;
            case "readonly":
                ReadOnly = value switch
                {
                    null or "on" or "true" => true,
                    "off" or "false" => false,
                    _ => throw new VmmException($"--disk {text}: readonly={value} is neither on nor off."),
                };
                break;
            default:
                throw new VmmException($"--disk {text}: '{name}' is not known. Write path=FILE[,format=raw][,readonly][,id=ID].");
        }
    }

    private static string Required(string text, string name, string? value) =>
        string.IsNullOrEmpty(value) ? throw new VmmException($"--disk {text}: {name}= has no value.") : value;

    private static IEnumerable<string> Split(string text)
    {
        var part = new StringBuilder();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != ',')
            {
                part.Append(text[i]);
            }
            else if (i + 1 < text.Length && text[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else
            {
                yield return part.ToString();
                part.Clear();
            }
        }
        yield return part.ToString();
    }
}
