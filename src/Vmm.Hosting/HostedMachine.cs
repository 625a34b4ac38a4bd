using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Block;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Cpu.Software;
using Vmm.Devices.Serial;
using Vmm.Hosting.Configuration;
using Vmm.Machine;

namespace Vmm.Hosting;

/// <summary>
/// A virtual machine with what its host connects it to: the engine, the disks, the serial line. It owns all of them. Usable with or
/// without a .NET host; several live in one process.
/// </summary>
public sealed class HostedMachine : IAsyncDisposable
{
    private HostedMachine(MachineSettings settings, VirtualMachine machine)
    {
        (Settings, Machine) = (settings, machine);
    }

    /// <summary>Opens the disks and the serial line, builds the machine and loads its kernel. Nothing runs yet.</summary>
    /// <param name="settings">What it is made of. Changing it afterwards has no effect.</param>
    /// <param name="loggerFactory">For messages; none when null.</param>
    /// <exception cref="ConfigurationException">An option is unusable; the message starts with its name.</exception>
    /// <exception cref="VmmException">A file or the host does not allow it; the message is one line that names the culprit and says what to do.</exception>
    public static HostedMachine Create(MachineSettings settings, ILoggerFactory? loggerFactory = null)
    {
        ArgumentNullException.ThrowIfNull(settings);
        if (settings.Validate() is [string fault, ..])
            throw new ConfigurationException(fault);
        ILoggerFactory logs = loggerFactory ?? NullLoggerFactory.Instance;
        VirtualMachineOptions options = settings.Machine;
        int givenDisks = options.Disks.Count;
        ICharacterBackend? givenSerial = options.Serial;
        QuitRequest quit = new();
        List<IBlockBackend> opened = [];
        try
        {
            foreach (DiskOptions disk in settings.Disks)
            {
                opened.Add(OpenDisk(disk));
                options.Disks.Add(new VirtualDisk(opened[^1], disk.Id ?? ""));
            }
            options.Serial ??= SerialLines.Open(settings.Serial, quit.Raise, logs.CreateLogger<HostedMachine>());
            VirtualMachine machine = VirtualMachine.Create(options, ChooseEngine(settings.Accelerator), logs);
            quit.Machine = machine;
            return new HostedMachine(settings, machine);
        }
        catch
        {
            // The machine owns what it was given only once it exists.
            if (givenSerial is null)
                options.Serial?.Dispose();
            foreach (IBlockBackend disk in opened)
                disk.DisposeAsync().AsTask().GetAwaiter().GetResult();
            throw;
        }
        finally
        {
            // The settings stay as they were, for another machine.
            options.Serial = givenSerial;
            while (options.Disks.Count > givenDisks)
                options.Disks.RemoveAt(givenDisks);
        }
    }

    private static IBlockBackend OpenDisk(DiskOptions disk)
    {
        try
        {
            return DiskImage.Open(disk);
        }
        catch (VmmException e)
        {
            throw new VmmException($"--disk: {e.Message}", e);
        }
    }

    /// <summary>What it was made of.</summary>
    public MachineSettings Settings { get; }

    /// <summary>The machine: start it, wait for its exit, pause it.</summary>
    public VirtualMachine Machine { get; }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Machine.DisposeAsync();

    private static ICpuEngineFactory ChooseEngine(Accelerator accelerator) => accelerator switch
    {
        Accelerator.Auto or Accelerator.Software => new SoftwareCpuEngineFactory(),
        _ => throw new ConfigurationException($"--accel: no engine '{accelerator}' is in this build; give 'software' or 'auto'."),
    };

    /// <summary>Stops the machine on Ctrl-A x. The console exists before the machine, so it learns of it late.</summary>
    private sealed class QuitRequest
    {
        private volatile VirtualMachine? _machine;

        internal VirtualMachine? Machine
        {
            set => _machine = value;
        }

        // Not on the console's own thread: stopping waits for the console's output.
        internal void Raise() => _ = Task.Run(() => _machine?.StopAsync() ?? Task.CompletedTask);
    }
}
