using System.CommandLine;
using Vmm.Hosting.Configuration;

namespace Vmm.Cli.Commands;

/// <summary><c>vmm run</c>: one virtual machine in the foreground.</summary>
internal static class RunCommand
{
    private const string Notes = """
        Exit status: 0 the guest powered off; 1 vmm failed; 2 the command line or configuration is wrong; 3 the guest crashed;
        with --debug-exit, (value << 1) | 1 of what the guest wrote to port 0xF4.
        SIGTERM and SIGINT press the guest's power button; a second one, or the timeout, stops it hard.
        On a terminal, Ctrl-A x quits, Ctrl-A h lists the other keys.
        """;

    internal static Command Build()
    {
        RunOptions options = new();
        Command command = new("run", "Runs a virtual machine in the foreground until its guest powers off.");
        foreach (Option option in options.All)
            command.Options.Add(option);
        command.SetAction((parsed, _) => MachineRunner.RunAsync(MachineSettings.Create(options.Read(parsed))));
        ExamplesHelp.Attach(command, Notes,
            ("vmm run --kernel vmlinuz --initrd initrd.img --append console=ttyS0", "a kernel with its initramfs, on this terminal"),
            ("vmm run --kernel vmlinux --append 'console=ttyS0 root=/dev/vda' --memory 2G --cpus 4 --disk path=root.raw", "a disk as root file system"),
            ("vmm run --config vm.json --serial unix:/run/vm.sock --no-reboot", "options from a file, some of them overridden"));
        return command;
    }
}
