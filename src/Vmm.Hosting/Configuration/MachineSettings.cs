using System.Globalization;
using Microsoft.Extensions.Logging;

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

/// <summary>How the kernel is entered.</summary>
public enum BootProtocolChoice
{
    /// <summary>PVH where the kernel has it, its own protocol otherwise.</summary>
    Auto,

    /// <summary>The 64-bit Linux boot protocol.</summary>
    Linux,

    /// <summary>PVH direct boot.</summary>
    Pvh,

    /// <summary>Multiboot 1.</summary>
    Multiboot,
}

/// <summary>A virtual machine's checked options.</summary>
public sealed record MachineSettings
{
    /// <summary>Memory where nothing is said: 512 MiB boots any distribution's kernel with its initramfs.</summary>
    public const long DefaultMemory = 512L << 20;

    /// <summary>Memory below which no Linux kernel starts: the first megabyte, the kernel and its tables.</summary>
    public const long MinimumMemory = 16L << 20;

    /// <summary>Memory that the 46-bit physical address space of the board holds below its 64-bit PCI window.</summary>
    public const long MaximumMemory = 1L << 42;

    /// <summary>APIC IDs of xAPIC mode, less the broadcast one (Intel SDM vol. 3, 11.4.6).</summary>
    public const int MaximumCpus = 255;

    /// <summary>Time that a guest has to power off where nothing is said.</summary>
    public static readonly TimeSpan DefaultStopTimeout = TimeSpan.FromSeconds(30);

    private static readonly string[] Accelerators = ["auto", "kvm", "software"];
    private static readonly string[] Protocols = ["auto", "linux", "pvh", "multiboot"];
    private static readonly string[] Levels = ["trace", "debug", "information", "warning", "error", "critical", "none"];

    /// <summary>Kernel image.</summary>
    public required string Kernel { get; init; }

    /// <summary>Initial RAM disk, or null.</summary>
    public string? Initrd { get; init; }

    /// <summary>Kernel command line.</summary>
    public string CommandLine { get; init; } = "";

    /// <summary>Bytes of memory.</summary>
    public long MemorySize { get; init; } = DefaultMemory;

    /// <summary>Number of virtual CPUs.</summary>
    public int CpuCount { get; init; } = 1;

    /// <summary>What executes the guest.</summary>
    public Accelerator Accelerator { get; init; }

    /// <summary>Disks, in the order in which the guest finds them.</summary>
    public IReadOnlyList<DiskSettings> Disks { get; init; } = [];

    /// <summary>The first serial port's other end.</summary>
    public SerialSettings Serial { get; init; } = new(SerialKind.Stdio);

    /// <summary>Name in messages.</summary>
    public string Name { get; init; } = "vm";

    /// <summary>What is logged to standard error.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Warning;

    /// <summary>Ends the VMM when the machine no longer answers.</summary>
    public bool Watchdog { get; init; }

    /// <summary>A reset ends the VM instead of restarting the guest.</summary>
    public bool NoReboot { get; init; }

    /// <summary>Adds isa-debug-exit and the test devices.</summary>
    public bool DebugExit { get; init; }

    /// <summary>How the kernel is entered.</summary>
    public BootProtocolChoice BootProtocol { get; init; }

    /// <summary>Time that a guest has to power off.</summary>
    public TimeSpan StopTimeout { get; init; } = DefaultStopTimeout;

    /// <summary>Checks what was written down. Opens no file.</summary>
    /// <param name="written">The options as written.</param>
    /// <exception cref="ConfigurationException">An option is missing or unusable; the message starts with its name.</exception>
    public static MachineSettings Create(MachineConfiguration written)
    {
        if (string.IsNullOrEmpty(written.Kernel))
            throw new ConfigurationException("--kernel: no kernel is given; name one with --kernel FILE, or try 'vmm quickstart'.");
        return new MachineSettings
        {
            Kernel = written.Kernel,
            Initrd = NotEmpty(written.Initrd, "--initrd"),
            CommandLine = CheckCommandLine(written.Append ?? ""),
            MemorySize = ParseMemory(written.Memory),
            CpuCount = ParseCpus(written.Cpus),
            Accelerator = (Accelerator)Choice("--accel", written.Accel, Accelerators),
            Disks = [.. written.Disk ?? []],
            Serial = ParseSerial(written.Serial ?? "stdio"),
            Name = ParseName(written.Name),
            LogLevel = written.LogLevel is null ? LogLevel.Warning : (LogLevel)Choice("--log-level", written.LogLevel, Levels),
            Watchdog = written.Watchdog ?? false,
            NoReboot = written.NoReboot ?? false,
            DebugExit = written.DebugExit ?? false,
            BootProtocol = (BootProtocolChoice)Choice("--boot-protocol", written.BootProtocol, Protocols),
            StopTimeout = ParseTimeout(written.StopTimeout),
        };
    }

    /// <summary>Reads <c>--memory</c>.</summary>
    internal static long ParseMemory(string? text)
    {
        if (text is null)
            return DefaultMemory;
        if (!ByteSize.TryParse(text, 1 << 20, out long bytes) || bytes < 0)
            throw new ConfigurationException($"--memory: '{text}' is no size; write for example 512M or 4G.");
        if (bytes < MinimumMemory)
            throw new ConfigurationException($"--memory: {text} is too little; a guest needs at least {ByteSize.Format(MinimumMemory)}.");
        if (bytes > MaximumMemory)
            throw new ConfigurationException($"--memory: {text} is more than a guest can have; the most is {ByteSize.Format(MaximumMemory)}.");
        if (bytes % (1 << 20) != 0)
            throw new ConfigurationException($"--memory: {text} is not a whole number of MiB.");
        return bytes;
    }

    /// <summary>Reads <c>--cpus</c>.</summary>
    internal static int ParseCpus(string? text)
    {
        if (text is null)
            return 1;
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count is < 1 or > MaximumCpus)
            throw new ConfigurationException($"--cpus: '{text}' is not a number from 1 to {MaximumCpus}.");
        return count;
    }

    /// <summary>Reads <c>--accel</c>.</summary>
    internal static Accelerator ParseAccelerator(string? text) => (Accelerator)Choice("--accel", text, Accelerators);

    private static string? NotEmpty(string? text, string option) =>
        text is { Length: 0 } ? throw new ConfigurationException($"{option}: the name is empty; name a file or leave it out.") : text;

    private static string CheckCommandLine(string text) =>
        text.Contains('\0') ? throw new ConfigurationException("--append: a kernel command line cannot hold a zero character.") : text;

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

    private static TimeSpan ParseTimeout(string? text)
    {
        if (text is null)
            return DefaultStopTimeout;
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
