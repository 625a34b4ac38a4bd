namespace Vmm.Hosting.Configuration;

/// <summary>One disk of a virtual machine.</summary>
/// <param name="Path">The image file or block device.</param>
/// <param name="Format">Image format: <c>raw</c>. Never probed: a guest could write another format's header into a raw image.</param>
/// <param name="ReadOnly">The guest cannot write to it.</param>
/// <param name="Id">Its serial number in the guest (at most 20 characters), or null.</param>
public sealed record DiskSettings(string Path, string Format = "raw", bool ReadOnly = false, string? Id = null)
{
    /// <summary>The longest serial number that virtio-blk can carry (VIRTIO_BLK_ID_BYTES, virtio 1.2, 5.2.6).</summary>
    public const int MaximumIdLength = 20;

    internal static readonly string[] Members = ["path", "format", "readonly", "id"];

    /// <summary>Reads <c>path=F[,format=raw][,readonly][,id=ID]</c>. A comma within a value is written twice, as in QEMU.</summary>
    /// <exception cref="ConfigurationException">The text is not that; the message starts after the option's name.</exception>
    public static DiskSettings Parse(string text)
    {
        string? path = null, format = null, id = null;
        bool readOnly = false;
        foreach (string part in Split(text))
        {
            int equals = part.IndexOf('=');
            string name = equals < 0 ? part : part[..equals];
            string value = equals < 0 ? "" : part[(equals + 1)..];
            switch (name)
            {
                case "path":
                    path = value;
                    break;
                case "format":
                    format = value;
                    break;
                case "id":
                    id = value;
                    break;
                case "readonly":
                    readOnly = ParseSwitch(value);
                    break;
                default:
                    throw Unknown(name);
            }
        }
        return Checked(path, format, readOnly, id);
    }

    internal static DiskSettings Checked(string? path, string? format, bool readOnly, string? id)
    {
        if (string.IsNullOrEmpty(path))
            throw new ConfigurationException("a disk needs path=FILE.");
        if (format is not (null or "raw"))
            throw new ConfigurationException($"format '{format}' is not known; this version has 'raw'.");
        if (id is not null && (id.Length is 0 or > MaximumIdLength || id.Any(c => c is <= ' ' or > '~')))
            throw new ConfigurationException($"id '{id}' must be 1 to {MaximumIdLength} printable ASCII characters.");
        return new DiskSettings(path, "raw", readOnly, id);
    }

    internal static ConfigurationException Unknown(string name) =>
        new($"'{name}' is not known here; it takes path=FILE, format=raw, readonly and id=ID.{Spelling.Suggestion(name, Members)}");

    private static bool ParseSwitch(string value) => value switch
    {
        "" or "on" or "true" => true,
        "off" or "false" => false,
        _ => throw new ConfigurationException($"readonly is 'on' or 'off', not '{value}'."),
    };

    private static List<string> Split(string text)
    {
        const char doubled = '\0';
        return [.. text.Replace(",,", doubled.ToString()).Split(',').Select(part => part.Replace(doubled, ','))];
    }
}
