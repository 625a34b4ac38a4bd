// Boots a Linux guest inside this process, runs a command in its shell, and prints the answer.
using System.Text;
using Vmm.Hosting;
using Vmm.Hosting.Configuration;
using Vmm.Hosting.Quickstart;
using Vmm.Machine;

GuestAssets guest = await new GuestAssetStore().PrepareAsync(progress: p => Console.Error.WriteLine(p.Step));
MachineSettings settings = new() { Machine = { Kernel = guest.Kernel, Initrd = guest.Initrd, Append = guest.CommandLine } };
await using HostedMachine vm = HostedMachine.Create(settings);
Stream console = vm.Machine.Console!;
vm.Machine.Start();

await ReadUntilAsync("# ");
await SendAsync(args.Length > 0 ? string.Join(' ', args) : "uname -a; grep -m1 'model name' /proc/cpuinfo");
Console.WriteLine(await ReadUntilAsync("# "));
await SendAsync("poweroff -f");
VirtualMachineExit exit = await vm.Machine.WaitForExitAsync();
Console.Error.WriteLine($"The guest ended: {exit.Reason}.");

ValueTask SendAsync(string line) => console.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"));

async Task<string> ReadUntilAsync(string end)
{
    StringBuilder text = new();
    byte[] buffer = new byte[1024];
    while (!text.ToString().EndsWith(end) && await console.ReadAsync(buffer) is int count and > 0)
        text.Append(Encoding.UTF8.GetString(buffer, 0, count).Replace("\e[6n", ""));
    return text.ToString();
}
