using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Cpu.Software;
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
        QuitRequest quit = new();
        settings.Machine.Serial = SerialLines.Open(settings.Serial, quit.Raise, logs.CreateLogger<HostedMachine>());
        try
        {
            VirtualMachine machine = VirtualMachine.Create(settings.Machine, ChooseEngine(settings.Accelerator), logs);
            quit.Machine = machine;
            return new HostedMachine(settings, machine);
        }
        catch
        {
            // The machine owns what it was given only once it exists.
            settings.Machine.Serial?.Dispose();
            throw;
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
