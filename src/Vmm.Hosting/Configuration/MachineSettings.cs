using System.Globalization;
using Microsoft.Extensions.Logging;
using Vmm.Block;
using Vmm.Machine;

namespace Vmm.Hosting.Configuration;

/// <summary>What executes the guest.</summary>
public enum Accelerator
{
    /// <summary>The fastest that this host and this build have.</summary>
    Auto,

    /// <summary>Linux's KVM.</summary>
    Kvm,

    /// <summary>The software CPU.</summary>
    Software,
}

/// <summary>A virtual machine and what its host connects it to: everything that <c>vmm run</c> can be told, checked.</summary>
public sealed class MachineSettings
{
    private static readonly string[] Accelerators = ["auto", "kvm", "software"];
    private static readonly string[] Protocols = ["auto", "linux64", "pvh", "multiboot"];
    private static readonly string[] Levels = ["trace", "debug", "information", "warning", "error", "critical", "none"];

    /// <summary>The machine itself.</summary>
    public VirtualMachineOptions Machine { get; } = new();

    /// <summary>What executes the guest.</summary>
    public Accelerator Accelerator { get; set; }

    /// <summary>Disks, in the order in which the guest finds them.</summary>
    public IList<DiskOptions> Disks { get; } = [];

    /// <summary>The first serial port's other end. Default <see cref="SerialKind.Stream"/>: <see cref="VirtualMachine.Console"/>, which must be read.</summary>
    public SerialSettings Serial { get; set; } = new(SerialKind.Stream);

    /// <summary>The least severe messages that are logged.</summary>
    public LogLevel LogLevel { get; set; } = LogLevel.Warning;

    /// <summary>Checks what was written down. Opens no file.</summary>
    /// <param name="written">The options as written.</param>
    /// <exception cref="ConfigurationException">An option is missing or unusable; the message starts with its name.</exception>
    public static MachineSettings Create(MachineConfiguration written)
    {
        if (string.IsNullOrEmpty(written.Kernel))
            throw new ConfigurationException("--kernel: no kernel is given; name one with --kernel FILE, or try 'vmm quickstart'.");
        if (written.Initrd is { Length: 0 })
            throw new ConfigurationException("--initrd: the name is empty; name a file or leave the option out.");
        MachineSettings settings = new()
        {
            Accelerator = (Accelerator)Choice("--accel", written.Accel, Accelerators),
            Serial = ParseSerial(written.Serial ?? "stdio"),
            LogLevel = written.LogLevel is null ? LogLevel.Warning : (LogLevel)Choice("--log-level", written.LogLevel, Levels),
        };
        foreach (DiskOptions disk in written.Disk ?? [])
            settings.Disks.Add(disk);
        settings.Machine.Kernel = written.Kernel;
        settings.Machine.Initrd = written.Initrd;
        settings.Machine.Append = written.Append ?? "";
        settings.Machine.Name = ParseName(written.Name);
        settings.Machine.Memory = ParseMemory(written.Memory);
        settings.Machine.Cpus = ParseCpus(written.Cpus);
        settings.Machine.Watchdog = written.Watchdog ?? false;
        settings.Machine.NoReboot = written.NoReboot ?? false;
        settings.Machine.DebugExit = written.DebugExit ?? false;
        settings.Machine.BootProtocol = (BootProtocol)Choice("--boot-protocol", written.BootProtocol, Protocols);
        settings.Machine.StopTimeout = ParseTimeout(written.StopTimeout) ?? settings.Machine.StopTimeout;
        if (settings.Validate() is [string fault, ..])
            throw new ConfigurationException(fault);
        return settings;
    }

    /// <summary>Checks every option.</summary>
    /// <returns>One line per fault, each starting with the option's name; empty when all is well.</returns>
    public IReadOnlyList<string> Validate()
    {
        List<string> faults = [.. Machine.Validate()];
        if (!Enum.IsDefined(Accelerator))
            faults.Add($"--accel: {(int)Accelerator} is unknown; give auto, kvm or software.");
        if (Accelerator == Accelerator.Kvm)
            faults.Add("--accel: the KVM engine is not in this build; give 'software' or 'auto'.");
        foreach (DiskOptions disk in Disks)
        {
            if (disk.Validate() is string fault)
                faults.Add($"--disk: '{disk.Path}': {fault}");
        }
        string? twice = Disks.Where(d => d.Id is not null).GroupBy(d => d.Id).FirstOrDefault(g => g.Count() > 1)?.Key;
        if (twice is not null)
            faults.Add($"--disk: two disks have the id '{twice}'; give each its own.");
        if (Serial.Kind is SerialKind.File or SerialKind.Unix && string.IsNullOrEmpty(Serial.Path))
            faults.Add("--serial: file and unix need a path.");
        return faults;
    }

    /// <summary>Reads <c>--memory</c>; what it may be is checked later.</summary>
    internal static ulong ParseMemory(string? text)
    {
        if (text is null)
            return new VirtualMachineOptions().Memory;
        if (!ByteSize.TryParse(text, 1 << 20, out long bytes) || bytes < 0)
            throw new ConfigurationException($"--memory: '{text}' is no size; write for example 512M or 4G.");
        return (ulong)bytes;
    }

    /// <summary>Reads <c>--cpus</c>; what it may be is checked later.</summary>
    internal static int ParseCpus(string? text)
    {
        if (text is null)
            return 1;
        if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int count))
            throw new ConfigurationException($"--cpus: '{text}' is not a number; give 1 to {VirtualMachineOptions.MaximumCpus}.");
        return count;
    }

    /// <summary>Reads <c>--accel</c>.</summary>
    internal static Accelerator ParseAccelerator(string? text) => (Accelerator)Choice("--accel", text, Accelerators);

    private static SerialSettings ParseSerial(string text)
    {
        try
        {
            return SerialSettings.Parse(text);
        }
        catch (ConfigurationException e)
        {
            throw new ConfigurationException($"--serial: {e.Message}", e);
        }
    }

    private static string ParseName(string? text)
    {
        if (text is null)
            return "vm";
        if (text.Length is 0 or > 64 || text.Any(char.IsControl))
            throw new ConfigurationException("--name: a name is 1 to 64 printable characters.");
        return text;
    }

    private static TimeSpan? ParseTimeout(string? text)
    {
        if (text is null)
            return null;
        string number = text.EndsWith('s') ? text[..^1] : text;
        if (!double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) || !(seconds <= 86_400))
            throw new ConfigurationException($"--stop-timeout: '{text}' is not a number of seconds from 0 to 86400.");
        return TimeSpan.FromSeconds(seconds);
    }

    private static int Choice(string option, string? text, string[] choices)
    {
        if (text is null)
            return 0;
        int index = Array.IndexOf(choices, text);
        if (index >= 0)
            return index;
        string list = $"{string.Join(", ", choices[..^1])} and {choices[^1]}";
        throw new ConfigurationException($"{option}: '{text}' is not one of {list}.{Spelling.Suggestion(text, choices)}");
    }
}
