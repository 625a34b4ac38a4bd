using Vmm.Devices.Serial;

namespace Vmm.Machine;

/// <summary>
/// What a virtual machine is made of. Plain data: <see cref="Validate"/> checks it, and <see cref="VirtualMachine.Create"/> refuses what
/// that refuses. Changing it after the machine was created has no effect.
/// </summary>
public sealed class VirtualMachineOptions
{
    /// <summary>Fewest bytes of memory: room for a kernel of this age to unpack itself.</summary>
    public const ulong MinimumMemory = 16UL << 20;

    /// <summary>Most bytes of memory: what fits under the 52-bit physical addresses of x86-64 with room for PCI windows.</summary>
    public const ulong MaximumMemory = 1UL << 40;

    /// <summary>Most virtual CPUs (x2APIC IDs and MADT entries are made for so many).</summary>
    public const int MaximumCpus = 4096;

    /// <summary>Most disks: the slots of PCI bus 0 without the host bridge and the random number generator.</summary>
    public const int MaximumDisks = 28;

    /// <summary>Name of the machine: in log messages, thread names. Default <c>vm</c>.</summary>
    public string Name { get; set; } = "vm";

    /// <summary>Bytes of RAM, a multiple of 1 MiB. Default 512 MiB.</summary>
    public ulong Memory { get; set; } = 512UL << 20;

    /// <summary>Virtual CPUs, 1 to <see cref="MaximumCpus"/>. Default 1.</summary>
    public int Cpus { get; set; } = 1;

    /// <summary>Path of the kernel: bzImage, ELF or multiboot. Required.</summary>
    public string? Kernel { get; set; }

    /// <summary>Path of the initial RAM disk, or null.</summary>
    public string? Initrd { get; set; }

    /// <summary>The kernel's command line.</summary>
    public string Append { get; set; } = "";

    /// <summary>How the kernel is entered. Default <see cref="BootProtocol.Auto"/>.</summary>
    public BootProtocol BootProtocol { get; set; }

    /// <summary>
    /// Multiboot modules after <see cref="Initrd"/>, in order: a path, and after the first space the module's command line.
    /// </summary>
    public IList<string> Modules { get; } = [];

    /// <summary>Disks, each a virtio block device, in the order of their PCI slots.</summary>
    public IList<VirtualDisk> Disks { get; } = [];

    /// <summary>
    /// The far end of COM1, which the machine disposes. When null, <see cref="VirtualMachine.Console"/> is the far end, and its owner must
    /// read it: a console that nobody reads fills up and holds the guest.
    /// </summary>
    public ICharacterBackend? Serial { get; set; }

    /// <summary>The far ends of COM2 to COM4, which the machine disposes. Default none: only COM1 exists.</summary>
    public IList<ICharacterBackend> ExtraSerials { get; } = [];

    /// <summary>Where the debug console (ports 0xE9 and 0x402) goes, which the machine disposes; nowhere when null.</summary>
    public ICharacterBackend? DebugConsole { get; set; }

    /// <summary>The wall clock that the guest's RTC starts with. Default the system's.</summary>
    public TimeProvider TimeProvider { get; set; } = TimeProvider.System;

    /// <summary>Gives the guest isa-debug-exit (port 0xF4) and QEMU's pc-testdev ports.</summary>
    public bool DebugExit { get; set; }

    /// <summary>A reset of the guest ends the machine with <see cref="VirtualMachineExitReason.Reset"/> instead of restarting it.</summary>
    public bool NoReboot { get; set; }

    /// <summary>
    /// Ends the machine with <see cref="VirtualMachineExitReason.Error"/> when a vCPU thread does not answer for
    /// <see cref="WatchdogTimeout"/>: the VMM hangs, not the guest.
    /// </summary>
    public bool Watchdog { get; set; }

    /// <summary>How long a vCPU thread may take to answer under <see cref="Watchdog"/>. Default 30 s.</summary>
    public TimeSpan WatchdogTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// How long <see cref="VirtualMachine.ShutdownAsync"/> waits after the power button before it stops the machine hard. Default 30 s.
    /// </summary>
    public TimeSpan StopTimeout { get; set; } = TimeSpan.FromSeconds(30);

    internal VirtualMachineOptions Clone()
    {
        var copy = new VirtualMachineOptions
        {
            Name = Name,
            Memory = Memory,
            Cpus = Cpus,
            Kernel = Kernel,
            Initrd = Initrd,
            Append = Append,
            BootProtocol = BootProtocol,
            Serial = Serial,
            DebugConsole = DebugConsole,
            TimeProvider = TimeProvider,
            DebugExit = DebugExit,
            NoReboot = NoReboot,
            Watchdog = Watchdog,
            WatchdogTimeout = WatchdogTimeout,
            StopTimeout = StopTimeout,
        };
        foreach (string module in Modules)
            copy.Modules.Add(module);
        foreach (var disk in Disks)
            copy.Disks.Add(disk);
        foreach (var serial in ExtraSerials)
            copy.ExtraSerials.Add(serial);
        return copy;
    }

    /// <summary>Checks every option.</summary>
    /// <returns>One line per fault, each naming the option and what to do; empty when all is well.</returns>
    public IReadOnlyList<string> Validate()
    {
        var faults = new List<string>();
        if (string.IsNullOrWhiteSpace(Name))
            faults.Add("--name: the machine needs a name; leave the option out for 'vm'.");
        if (Cpus is < 1 or > MaximumCpus)
            faults.Add($"--cpus: {Cpus} is not possible; give 1 to {MaximumCpus}.");
        if (Memory < MinimumMemory)
            faults.Add($"--memory: {Memory} bytes are too little to boot anything; give at least {MinimumMemory >> 20}M.");
        else if (Memory > MaximumMemory)
            faults.Add($"--memory: {Memory} bytes are more than the address space holds; give at most {MaximumMemory >> 30}G.");
        else if (Memory % (1 << 20) != 0)
            faults.Add($"--memory: {Memory} bytes are not a whole number of MiB; give {Memory >> 20}M.");
        if (string.IsNullOrEmpty(Kernel))
            faults.Add("--kernel: no kernel was given; give the path of a bzImage, an ELF vmlinux or a multiboot kernel.");
        if (!Enum.IsDefined(BootProtocol))
            faults.Add($"--boot-protocol: '{(int)BootProtocol}' is unknown; give auto, linux64, pvh or multiboot.");
        if (ExtraSerials.Count > 3)
            faults.Add($"--serial: {ExtraSerials.Count + 1} serial ports are too many; a PC has at most 4.");
        if (Disks.Count > MaximumDisks)
            faults.Add($"--disk: {Disks.Count} disks are more than the PCI bus has slots for; give at most {MaximumDisks}.");
        foreach (var disk in Disks)
        {
            if (disk.Id.Length > VirtualDisk.MaximumIdLength || !System.Text.Ascii.IsValid(disk.Id))
                faults.Add($"--disk: the id '{disk.Id}' is not possible; give at most {VirtualDisk.MaximumIdLength} ASCII characters.");
        }
        if (Append.Contains('\0'))
            faults.Add("--append: the command line contains a NUL character; take it out.");
        if (WatchdogTimeout <= TimeSpan.Zero)
            faults.Add($"--watchdog: a timeout of {WatchdogTimeout} is not possible; give a positive time.");
        if (StopTimeout < TimeSpan.Zero)
            faults.Add($"--stop-timeout: {StopTimeout} is negative; give 0 or more seconds.");
        return faults;
    }
}
