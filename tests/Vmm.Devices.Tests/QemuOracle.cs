using System.Diagnostics;
using System.Globalization;

namespace Vmm.Devices.Tests;

/// <summary>
/// QEMU's PC with its processor stopped, whose ports are read and written through the qtest protocol (QEMU docs/devel/testing/qtest): a device
/// model that is not ours, to compare with.
/// </summary>
internal sealed class QemuOracle : IDisposable
{
    private const string Qemu = "/usr/bin/qemu-system-x86_64";

    private readonly Process _process;

    private QemuOracle(Process process)
    {
        _process = process;
    }

    /// <summary>Starts QEMU, or ends the test as ignored where there is none.</summary>
    public static QemuOracle StartOrIgnore()
    {
        if (!File.Exists(Qemu))
            Assert.Ignore($"no {Qemu} here to compare with");
        var start = new ProcessStartInfo(Qemu, ["-machine", "pc,accel=tcg", "-S", "-display", "none", "-nodefaults", "-serial", "null", "-qtest", "stdio", "-qtest-log", "/dev/null"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var process = Process.Start(start)!;
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginErrorReadLine();
        return new QemuOracle(process);
    }

    public byte Read(ushort port)
    {
        string answer = Command($"inb 0x{port:x}");
        return (byte)ulong.Parse(answer.AsSpan("OK 0x".Length), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    public void Write(ushort port, byte value) => Command($"outb 0x{port:x} 0x{value:x}");

    /// <summary>Drives an input pin of a device in QEMU's object tree.</summary>
    public void SetInput(string path, int pin, bool asserted) => Command($"set_irq_in {path} unnamed-gpio-in {pin} {(asserted ? 1 : 0)}");

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.Dispose();
    }

    private string Command(string command)
    {
        _process.StandardInput.WriteLine(command);
        _process.StandardInput.Flush();
        // Interrupts are told of in lines between the answers.
        string? answer;
        do
            answer = _process.StandardOutput.ReadLine();
        while (answer is not null && answer.StartsWith("IRQ", StringComparison.Ordinal));
        if (answer is null || !answer.StartsWith("OK", StringComparison.Ordinal))
            Assert.Ignore($"this QEMU does not take '{command}': '{answer}'");
        return answer!;
    }
}
