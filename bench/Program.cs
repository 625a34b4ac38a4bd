// Boots the quickstart guest and prints how long it took and what it cost; see README.md.
using Vmm.Bench;
using Vmm.Hosting.Quickstart;

string vmm = args.Length > 0 ? args[0] : BootMeasurement.FindVmm();
int runs = args.Length > 1 ? int.Parse(args[1]) : 3;
GuestAssets guest = await new GuestAssetStore().PrepareAsync(progress: p => Console.Error.WriteLine(p.Step));
Console.WriteLine($"vmm: {vmm}");
Console.WriteLine($"guest: Linux {guest.KernelRelease}, 512 MiB, 1 CPU; best of {runs} runs");

double version = Enumerable.Range(0, 20).Min(_ => BootMeasurement.TimeOf(vmm, ["--version"]).TotalMilliseconds);
Console.WriteLine($"{"vmm --version",-34}{version,12:F1} ms");
double start = Enumerable.Range(0, 10).Min(_ => BareKernelStart.Measure(vmm).TotalMilliseconds);
Console.WriteLine($"{"start to a guest's first port write",-34}{start,12:F1} ms");

BootResult ours = await BestAsync(() => BootMeasurement.VmmAsync(vmm, guest));
Print("vmm, software CPU", ours);
if (BootMeasurement.FindQemu() is string qemu)
{
    BootResult theirs = await BestAsync(() => BootMeasurement.QemuAsync(qemu, guest));
    Print("qemu, TCG", theirs);
    Console.WriteLine($"{"vmm / qemu: time to /init",-34}{ours.ToInit / theirs.ToInit,12:F2}");
    Console.WriteLine($"{"vmm / qemu: memory overhead",-34}{(double)ours.Overhead / theirs.Overhead,12:F2}");
}
else
{
    Console.WriteLine("qemu-system-x86_64 is not installed: no comparison.");
}

async Task<BootResult> BestAsync(Func<Task<BootResult>> measure)
{
    BootResult? best = null;
    for (int i = 0; i < runs; i++)
    {
        BootResult result = await measure();
        if (best is null || result.ToInit < best.ToInit)
            best = result;
    }
    return best!;
}

static void Print(string what, BootResult result)
{
    Console.WriteLine($"{what + ": time to /init",-34}{result.ToInit.TotalSeconds,12:F2} s");
    Console.WriteLine($"{what + ": time to the shell",-34}{result.ToShell.TotalSeconds,12:F2} s");
    if (result.InstructionsPerSecond is double rate)
        Console.WriteLine($"{what + ": instructions",-34}{rate / 1e6,12:F1} million/s");
    Console.WriteLine($"{what + ": memory overhead",-34}{result.Overhead / 1048576.0,12:F1} MiB");
}
