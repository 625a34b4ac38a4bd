using System.CommandLine;
using Vmm.Block;
using Vmm.Hosting.Configuration;
using Vmm.Hosting.Quickstart;

namespace Vmm.Cli.Commands;

/// <summary><c>vmm quickstart</c>: a shell in a small Linux guest, from nothing.</summary>
internal static class QuickstartCommand
{
    private const string Notes = """
        The first start fetches the distribution's stock kernel and busybox with apt-get, without root, into the user's cache
        ($XDG_CACHE_HOME/vmm); later starts need no network. Without network it uses this host's own kernel, where it can be read.
        """;

    internal static Command Build()
    {
        Option<string> memory = RunOptions.Text("--memory", "SIZE", "Memory, such as 512M or 4G. [default: 512M]");
        Option<string> cpus = RunOptions.Text("--cpus", "N", "Number of virtual CPUs. [default: 1]");
        Option<string> accel = RunOptions.Text("--accel", "auto|kvm|software", "What executes the guest. [default: auto]");
        Option<bool> refresh = RunOptions.Switch("--refresh", "Fetch and build anew, even when the cache has everything.");
        Option<bool> prepareOnly = RunOptions.Switch("--prepare-only", "Fetch and build, print what 'vmm run' would be given, and end.");
        Command command = new("quickstart", "Boots a small Linux guest and gives its shell.")
        {
            memory, cpus, accel, refresh, prepareOnly,
        };
        command.SetAction(async (parsed, cancellation) =>
        {
            // A mistake in an option is told before anything is fetched.
            MachineConfiguration written = new()
            {
                Kernel = "vmlinuz",
                Memory = parsed.GetValue(memory),
                Cpus = parsed.GetValue(cpus),
                Accel = parsed.GetValue(accel),
                Name = "quickstart",
            };
            MachineSettings.Create(written);
            GuestAssetStore store = new();
            GuestAssets assets = await QuickstartProgress.ShowAsync(
                report => store.PrepareAsync(parsed.GetValue(refresh), report, cancellation)).ConfigureAwait(false);
            Console.Error.WriteLine($"vmm: Linux {assets.KernelRelease} from {assets.Origin}; files are in {store.Folder}.");
            written.Kernel = assets.Kernel;
            written.Initrd = assets.Initrd;
            written.Append = assets.CommandLine;
            written.Disk = [new DiskOptions { Path = assets.Disk, Format = "raw" }];
            if (parsed.GetValue(prepareOnly))
            {
                Console.WriteLine($"vmm run --kernel {assets.Kernel} --initrd {assets.Initrd} --append '{assets.CommandLine}' --disk path={assets.Disk}");
                return ExitStatus.Success;
            }
            return await MachineRunner.RunAsync(MachineSettings.Create(written)).ConfigureAwait(false);
        });
        ExamplesHelp.Attach(command, Notes,
            ("vmm quickstart", "a shell; 'poweroff' in it, or Ctrl-A x, ends it"),
            ("vmm quickstart --cpus 2 --memory 1G", "a larger guest"));
        return command;
    }
}
