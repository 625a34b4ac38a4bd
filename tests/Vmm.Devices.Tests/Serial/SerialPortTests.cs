using System.Text;
using Vmm.Core.Time;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Serial;

internal sealed class SerialPortTests
{
    [Test]
    public void OutputReachesTheConsole()
    {
        using var backend = new MemoryCharacterBackend();
        using var port = new SerialPort(backend, new RecordingLine(), new ManualVmClock());
        foreach (byte b in "hello"u8)
            port.Write(0, 1, b);
        byte[] buffer = new byte[5];
        backend.Console.ReadExactly(buffer);
        Assert.That(Encoding.ASCII.GetString(buffer), Is.EqualTo("hello"));
        Assert.That(port.Read(5, 1), Is.EqualTo(0x60));
    }
}
