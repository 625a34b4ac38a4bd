using System.Text.Json;
using System.Text.Json.Serialization;
using Vmm.Block;

namespace Vmm.Hosting.Configuration;

/// <summary>
/// A virtual machine as it is written down: the options of <c>vmm run</c>, and the members of its JSON file, by the same names.
/// Everything is optional and unchecked here; <see cref="MachineSettings.Create"/> checks it.
/// </summary>
public sealed class MachineConfiguration
{
    /// <summary>Kernel image: bzImage, ELF vmlinux or multiboot kernel.</summary>
    public string? Kernel { get; set; }

    /// <summary>Initial RAM disk.</summary>
    public string? Initrd { get; set; }

    /// <summary>Kernel command line.</summary>
    public string? Append { get; set; }

    /// <summary>Memory: <c>512M</c>; a plain number is in MiB.</summary>
    [JsonConverter(typeof(TextConverter))]
    public string? Memory { get; set; }

    /// <summary>Number of virtual CPUs.</summary>
    [JsonConverter(typeof(TextConverter))]
    public string? Cpus { get; set; }

    /// <summary><c>auto</c>, <c>kvm</c> or <c>software</c>.</summary>
    public string? Accel { get; set; }

    /// <summary>Disks, in order; each as text <c>path=F[,format=raw][,readonly][,id=ID]</c> or as an object of those members.</summary>
    [JsonConverter(typeof(DiskListConverter))]
    public IList<DiskOptions>? Disk { get; set; }

    /// <summary><c>stdio</c>, <c>none</c>, <c>file:F</c>, <c>unix:F</c> or <c>pty</c>.</summary>
    public string? Serial { get; set; }

    /// <summary>Name of the VM, in messages.</summary>
    public string? Name { get; set; }

    /// <summary><c>trace</c>, <c>debug</c>, <c>information</c>, <c>warning</c>, <c>error</c>, <c>critical</c> or <c>none</c>.</summary>
    public string? LogLevel { get; set; }

    /// <summary>Ends the VMM when the machine no longer answers.</summary>
    public bool? Watchdog { get; set; }

    /// <summary>A reset ends the VM instead of restarting the guest.</summary>
    public bool? NoReboot { get; set; }

    /// <summary>Adds isa-debug-exit and the test devices.</summary>
    public bool? DebugExit { get; set; }

    /// <summary><c>auto</c>, <c>linux64</c>, <c>pvh</c> or <c>multiboot</c>.</summary>
    public string? BootProtocol { get; set; }

    /// <summary>Seconds that a guest has to power off.</summary>
    [JsonConverter(typeof(TextConverter))]
    public string? StopTimeout { get; set; }

    /// <summary>Members of the file that are none of the above.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    /// <summary>Puts another configuration's values over this one's: what it sets wins, its disks replace the disks.</summary>
    public void Override(MachineConfiguration other)
    {
        Kernel = other.Kernel ?? Kernel;
        Initrd = other.Initrd ?? Initrd;
        Append = other.Append ?? Append;
        Memory = other.Memory ?? Memory;
        Cpus = other.Cpus ?? Cpus;
        Accel = other.Accel ?? Accel;
        Disk = other.Disk is { Count: > 0 } ? other.Disk : Disk;
        Serial = other.Serial ?? Serial;
        Name = other.Name ?? Name;
        LogLevel = other.LogLevel ?? LogLevel;
        Watchdog = other.Watchdog ?? Watchdog;
        NoReboot = other.NoReboot ?? NoReboot;
        DebugExit = other.DebugExit ?? DebugExit;
        BootProtocol = other.BootProtocol ?? BootProtocol;
        StopTimeout = other.StopTimeout ?? StopTimeout;
    }
}
