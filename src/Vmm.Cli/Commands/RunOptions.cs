using System.CommandLine;
using System.CommandLine.Parsing;
using Vmm.Block;
using Vmm.Core.Lifecycle;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli.Commands;

/// <summary>
/// The options of <c>vmm run</c>. Values stay text here and are checked in one place with those of the JSON file, so that both
/// get the same messages.
/// </summary>
internal sealed class RunOptions
{
    private readonly Option<string> _kernel = Text("--kernel", "FILE", "Kernel: a bzImage, an ELF vmlinux or a multiboot kernel.");
    private readonly Option<string> _initrd = Text("--initrd", "FILE", "Initial RAM disk.");
    private readonly Option<string> _append = Text("--append", "TEXT", "Kernel command line.");
    private readonly Option<string> _memory = Text("--memory", "SIZE", "Memory, such as 512M or 4G; a plain number is in MiB. [default: 512M]");
    private readonly Option<string> _cpus = Text("--cpus", "N", "Number of virtual CPUs. [default: 1]");
    private readonly Option<string> _accel = Text("--accel", "auto|kvm|software", "What executes the guest. [default: auto]");
    private readonly Option<string[]> _disk = new("--disk")
    {
        HelpName = "path=FILE[,format=raw][,readonly][,id=ID]",
        Description = "A virtio disk; may be given several times. A comma within a value is written twice.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string> _serial = Text(
        "--serial", "stdio|none|file:FILE|unix:SOCKET|pty", "Where the first serial port goes. [default: stdio]");

    private readonly Option<string> _config = Text("--config", "FILE", "JSON file with these options by the same names; the command line wins.");
    private readonly Option<string> _name = Text("--name", "NAME", "Name of the VM, in messages.");
    private readonly Option<string> _logLevel = Text(
        "--log-level", "LEVEL", "trace, debug, information, warning, error, critical or none. [default: warning]");

    private readonly Option<bool> _watchdog = Switch("--watchdog", "End with status 1 when a virtual CPU's thread no longer answers.");
    private readonly Option<bool> _noReboot = Switch("--no-reboot", "End with status 0 when the guest resets, instead of restarting it.");
    private readonly Option<bool> _debugExit = Switch("--debug-exit", "Add isa-debug-exit at port 0xF4, and QEMU's test devices.");
    private readonly Option<string> _bootProtocol = Text("--boot-protocol", "auto|linux64|pvh|multiboot", "How the kernel is entered. [default: auto]");
    private readonly Option<string> _stopTimeout = Text(
        "--stop-timeout", "SECONDS", "Time that the guest has to power off after a signal. [default: 30]");

    internal IEnumerable<Option> All =>
    [
        _kernel, _initrd, _append, _memory, _cpus, _accel, _disk, _serial, _config, _name, _logLevel, _watchdog, _noReboot, _debugExit,
        _bootProtocol, _stopTimeout,
    ];

    /// <summary>The options of the file, if one is named, with those of the command line over them.</summary>
    internal MachineConfiguration Read(ParseResult parsed)
    {
        MachineConfiguration given = new()
        {
            Kernel = parsed.GetValue(_kernel),
            Initrd = parsed.GetValue(_initrd),
            Append = parsed.GetValue(_append),
            Memory = parsed.GetValue(_memory),
            Cpus = parsed.GetValue(_cpus),
            Accel = parsed.GetValue(_accel),
            Disk = ReadDisks(parsed),
            Serial = parsed.GetValue(_serial),
            Name = parsed.GetValue(_name),
            LogLevel = parsed.GetValue(_logLevel),
            Watchdog = ReadSwitch(parsed, _watchdog),
            NoReboot = ReadSwitch(parsed, _noReboot),
            DebugExit = ReadSwitch(parsed, _debugExit),
            BootProtocol = parsed.GetValue(_bootProtocol),
            StopTimeout = parsed.GetValue(_stopTimeout),
        };
        if (parsed.GetValue(_config) is not string file)
            return given;
        MachineConfiguration written = MachineConfigurationFile.Load(file);
        written.Override(given);
        return written;
    }

    private List<DiskOptions>? ReadDisks(ParseResult parsed)
    {
        if (parsed.GetValue(_disk) is not { Length: > 0 } texts)
            return null;
        List<DiskOptions> disks = [];
        foreach (string text in texts)
        {
            try
            {
                disks.Add(DiskOptions.Parse(text));
            }
            catch (VmmException e)
            {
                throw new ConfigurationException(e.Message, e);
            }
        }
        return disks;
    }

    private static bool? ReadSwitch(ParseResult parsed, Option<bool> option) =>
        parsed.GetResult(option) is OptionResult { Implicit: false } ? parsed.GetValue(option) : null;

    internal static Option<string> Text(string name, string value, string description) => new(name) { HelpName = value, Description = description };

    internal static Option<bool> Switch(string name, string description) => new(name) { Description = description };
}
