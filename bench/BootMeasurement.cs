using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Vmm.Hosting.Quickstart;

namespace Vmm.Bench;

/// <summary>What one boot took.</summary>
/// <param name="ToInit">From the start of the process to the first line of /init.</param>
/// <param name="ToShell">From the start of the process to the shell's prompt.</param>
/// <param name="Overhead">Bytes of resident memory of the process besides the guest's memory, at the prompt.</param>
/// <param name="InstructionsPerSecond">Guest instructions over the whole run by wall clock, or null where they are not counted.</param>
internal sealed record BootResult(TimeSpan ToInit, TimeSpan ToShell, long Overhead, double? InstructionsPerSecond);

/// <summary>Boots the guest in a process and watches its console.</summary>
internal static partial class BootMeasurement
{
    private const long GuestMemory = 512L << 20;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    /// <summary>The published executable where there is one, or else the build's.</summary>
    internal static string FindVmm()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string published = Path.Combine(folder.FullName, "artifacts", "vmm", "vmm");
            if (File.Exists(published))
                return published;
        }
        return Path.Combine(AppContext.BaseDirectory, "vmm");
    }

    internal static string? FindQemu() =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(p => Path.Combine(p, "qemu-system-x86_64")).FirstOrDefault(File.Exists);

    /// <summary>How long a program runs.</summary>
    internal static TimeSpan TimeOf(string program, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        long begin = Stopwatch.GetTimestamp();
        using Process process = Process.Start(start)!;
        process.WaitForExit();
        return Stopwatch.GetElapsedTime(begin);
    }

    internal static Task<BootResult> VmmAsync(string vmm, GuestAssets guest) => BootAsync(vmm,
        ["run", "--kernel", guest.Kernel, "--initrd", guest.Initrd, "--append", "console=ttyS0 quiet", "--memory", "512M", "--accel", "software", "--log-level", "information"]);

    internal static Task<BootResult> QemuAsync(string qemu, GuestAssets guest) => BootAsync(qemu,
        ["-accel", "tcg", "-m", "512", "-kernel", guest.Kernel, "-initrd", guest.Initrd, "-append", "console=ttyS0 quiet", "-display", "none", "-nodefaults", "-serial", "stdio"]);

    private static async Task<BootResult> BootAsync(string program, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        using CancellationTokenSource limit = new(Limit);
        long begin = Stopwatch.GetTimestamp();
        using Process process = Process.Start(start)!;
        try
        {
            Task<string> messages = process.StandardError.ReadToEndAsync(limit.Token);
            StringBuilder console = new();
            await ReadUntilAsync(process.StandardOutput, console, "vmm: /init started", limit.Token);
            TimeSpan toInit = Stopwatch.GetElapsedTime(begin);
            await ReadUntilAsync(process.StandardOutput, console, "# ", limit.Token);
            TimeSpan toShell = Stopwatch.GetElapsedTime(begin);
            long overhead = ReadOverhead(process.Id);
            await process.StandardInput.WriteAsync("poweroff -f\n");
            await process.StandardInput.FlushAsync(limit.Token);
            _ = process.StandardOutput.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            Match match = Executed().Match(await messages);
            double? rate = match.Success
                ? double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) / double.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture)
                : null;
            return new BootResult(toInit, toShell, overhead, rate);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
        }
    }

    private static async Task ReadUntilAsync(StreamReader reader, StringBuilder console, string end, CancellationToken limit)
    {
        char[] buffer = new char[4096];
        int from = console.Length;
        while (!console.ToString(from, console.Length - from).Contains(end, StringComparison.Ordinal))
        {
            int count = await reader.ReadAsync(buffer, limit);
            if (count == 0)
                throw new InvalidOperationException($"The guest ended before '{end}'. Console:\n{console}");
            console.Append(buffer, 0, count);
        }
    }

    /// <summary>
    /// Resident memory besides the guest's own (proc_pid_smaps(5)): the mapping of about the guest's size is left out. It may be a little
    /// smaller, since changing a page's protection splits it, or larger, since the kernel joins neighbours.
    /// </summary>
    private static long ReadOverhead(int process)
    {
        long overhead = 0;
        bool guest = false;
        foreach (string line in File.ReadLines($"/proc/{process}/smaps"))
        {
            Match mapping = Mapping().Match(line);
            if (mapping.Success)
                guest = Address(mapping.Groups[2]) - Address(mapping.Groups[1]) is > GuestMemory - (16 << 20) and < GuestMemory + (64 << 20);
            else if (line.StartsWith("Rss:", StringComparison.Ordinal) && !guest)
                overhead += long.Parse(line[4..].Trim().Split(' ')[0], CultureInfo.InvariantCulture) * 1024;
        }
        return overhead;

        static long Address(Group digits) => long.Parse(digits.Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"(\d+) guest instructions in ([\d.]+) s")]
    private static partial Regex Executed();

    [GeneratedRegex(@"^([0-9a-f]+)-([0-9a-f]+) ")]
    private static partial Regex Mapping();
}
