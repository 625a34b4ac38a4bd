using Vmm.Core.Buses;
using Vmm.Core.Time;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Serial;

/// <summary>Random register accesses, in loopback so that there is something to receive, to our UART and to QEMU's.</summary>
internal sealed class UartAgainstQemuTests
{
    private const int Steps = 6000;
    private const ushort Base = 0x3F8;

    [Test]
    public void RandomAccessesReadTheSame()
    {
        using var qemu = QemuOracle.StartOrIgnore();
        using var port = new SerialPort(new NullCharacterBackend(), new RecordingLine(), new ManualVmClock());
        var ports = Bus.CreatePortBus();
        port.Map(ports, Base);
        var random = new Random(3);
        var log = new List<string>();
        void Write(int register, int value)
        {
            log.Add($"write {register} 0x{value:x2}");
            qemu.Write((ushort)(Base + register), (byte)value);
            ports.Write((ulong)(Base + register), 1, (ulong)value);
        }

        // QEMU powers up with OUT2 set; start both from the same place.
        Write(4, 0x10);
        Write(3, 0x03);
        for (int step = 0; step < Steps; step++)
        {
            switch (random.Next(12))
            {
                case 0:
                    // QEMU makes no modem status deltas in loopback; the data sheet does (8.7). They and their interrupt are left out.
                    Write(1, random.Next(8));
                    break;
                case 1:
                    // QEMU looks at the other bits with bit 0 clear too; the data sheet says that they are not programmed then (8.5).
                    Write(2, random.Next(4) == 0 ? 0 : random.Next(256) | 1);
                    // Clearing a transmitter that is empty raises its interrupt in QEMU, not here: start from the same place again.
                    Write(1, 0);
                    Write(1, random.Next(8));
                    break;
                case 2:
                    Write(4, 0x10 | random.Next(32));
                    break;
                case 3 or 4 or 5:
                    Write(0, random.Next(256));
                    break;
                case 6:
                    Write(7, random.Next(256));
                    break;
                default:
                    int register = random.Next(8);
                    // What an empty receiver reads as is undefined.
                    if (register == 0 && (ports.Read(Base + 5, 1) & qemu.Read(Base + 5) & 1) == 0)
                        break;
                    byte theirs = qemu.Read((ushort)(Base + register));
                    byte ours = (byte)ports.Read((ulong)(Base + register), 1);
                    log.Add($"read {register} = 0x{ours:x2}");
                    if (((ours ^ theirs) & (register == 6 ? 0xF0 : 0xFF)) != 0)
                        Assert.Fail($"step {step}: register {register} reads 0x{ours:x2}, QEMU's 0x{theirs:x2}, after\n{string.Join('\n', log.TakeLast(40))}");
                    break;
            }
        }
    }
}
