using System.Diagnostics;
using System.Globalization;

namespace Vmm.Devices.Tests.Interrupts;

/// <summary>QEMU's pair of 8259As, reached through its qtest protocol with the processors stopped.</summary>
internal sealed class QemuPic : IDisposable
{
    private const string Executable = "/usr/bin/qemu-system-x86_64";

    // Where the pc machine has the two chips in its object tree.
    private static readonly string[] Paths = ["/machine/unattached/device[6]", "/machine/unattached/device[7]"];

    private readonly Process _process;

    private QemuPic(Process process) => _process = process;

    /// <summary>Starts QEMU.</summary>
    /// <exception cref="IgnoreException">QEMU is not installed.</exception>
    public static QemuPic Start()
    {
        if (!File.Exists(Executable))
            Assert.Ignore($"{Executable} is not installed.");
        string[] arguments =
        [
            "-machine", "pc,accel=tcg", "-S", "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null",
        ];
        var start = new ProcessStartInfo(Executable, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var process = Process.Start(start)!;
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginErrorReadLine();
        return new QemuPic(process);
    }

    public void Write(ulong port, byte value) => Execute($"outb 0x{port:x} 0x{value:x}");

    public byte Read(ulong port) => byte.Parse(Execute($"inb 0x{port:x}").AsSpan("OK 0x".Length)[^2..], NumberStyles.HexNumber);

    public void SetInput(int irq, bool asserted) =>
        Execute($"set_irq_in {Paths[irq / 8]} unnamed-gpio-in {irq % 8} {(asserted ? 1 : 0)}");

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private string Execute(string command)
    {
        _process.StandardInput.WriteLine(command);
        _process.StandardInput.Flush();
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            if (line.StartsWith("OK", StringComparison.Ordinal))
                return line;
        }
        Assert.Ignore($"This QEMU does not take '{command}'.");
        return "";
    }
}
