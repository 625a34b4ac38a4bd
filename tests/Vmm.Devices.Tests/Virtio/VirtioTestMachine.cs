using Microsoft.Extensions.Logging.Abstractions;
using Vmm.Core.Buses;
using Vmm.Core.Interrupts;
using Vmm.Core.Memory;
using Vmm.Devices.Pci;
using Vmm.Devices.Virtio;

namespace Vmm.Devices.Tests.Virtio;

/// <summary>Keeps the messages that devices send.</summary>
internal sealed class RecordingMsiSink : IMsiSink
{
    private readonly List<MsiMessage> _messages = [];

    public IReadOnlyList<MsiMessage> Messages
    {
        get
        {
            lock (_messages)
                return [.. _messages];
        }
    }

    public void Send(MsiMessage message)
    {
        lock (_messages)
            _messages.Add(message);
    }

    public int Count(uint data)
    {
        lock (_messages)
            return _messages.Count(m => m.Data == data);
    }
}

/// <summary>Memory, buses and a PCI bus with one virtio device in slot 1, and the registers of that device as a driver sees them.</summary>
internal sealed class VirtioTestMachine : IDisposable
{
    public const ulong MemorySize = 16 << 20;
    public const int Slot = 1;
    public const uint ConfigVectorData = 0x4F;
    public const uint QueueVectorData = 0x50;

    private const ulong Ecam = 0xE000_0000;

    public VirtioTestMachine(Func<GuestMemory, VirtioDevice> create)
    {
        Memory = new GuestMemory([(0, MemorySize, GuestMemoryKind.Ram), (0xF_F000_0000, 0x1000, GuestMemoryKind.Rom)]);
        Bus = new PciBus(Ports, Mmio, Msi, [.. Enumerable.Range(0, 8).Select(_ => new RecordingLine()).Select(AddLine)]);
        Bus.MapConfigPorts();
        Bus.MapEcam(Ecam);
        Device = create(Memory);
        Pci = new VirtioPciDevice(Msi, Device);
        Bus.Add(Slot, Pci);
        Assign();
    }

    public GuestMemory Memory { get; }

    public Bus Ports { get; } = Core.Buses.Bus.CreatePortBus();

    public Bus Mmio { get; } = Core.Buses.Bus.CreateMmioBus();

    public RecordingMsiSink Msi { get; } = new();

    public List<RecordingLine> Lines { get; } = [];

    public PciBus Bus { get; }

    public VirtioDevice Device { get; }

    public VirtioPciDevice Pci { get; }

    public ulong Registers => ReadConfig(0x10, 4) & ~0xFul;

    public ulong MsixTable => ReadConfig(0x14, 4) & ~0xFul;

    public byte Status => (byte)Read(0x14, 1);

    private RecordingLine AddLine(RecordingLine line)
    {
        Lines.Add(line);
        return line;
    }

    public void Assign()
    {
        Bus.AssignResources(new PciResourceWindows(0xC000_0000, 0x1000_0000), _ => 11);
        WriteConfig(4, 2, ReadConfig(4, 2) | 4);
    }

    public uint ReadConfig(int offset, int size) => (uint)Mmio.Read(Ecam + (Slot << 15) + (ulong)offset, size);

    public void WriteConfig(int offset, int size, uint value) => Mmio.Write(Ecam + (Slot << 15) + (ulong)offset, size, value);

    public ulong Read(ulong register, int size) => Mmio.Read(Registers + register, size);

    public void Write(ulong register, int size, ulong value) => Mmio.Write(Registers + register, size, value);

    public ulong ReadDeviceConfig(ulong offset, int size) => Read(0x2000 + offset, size);

    public ulong OfferedFeatures()
    {
        Write(0, 4, 0);
        ulong low = Read(4, 4);
        Write(0, 4, 1);
        return low | Read(4, 4) << 32;
    }

    /// <summary>Resets the device and negotiates up to FEATURES_OK.</summary>
    public void Negotiate(ulong features)
    {
        Reset();
        Write(0x14, 1, 1);
        Write(0x14, 1, 3);
        Write(8, 4, 0);
        Write(12, 4, (uint)features);
        Write(8, 4, 1);
        Write(12, 4, features >> 32);
        Write(0x14, 1, 11);
        Assert.That(Status & 8, Is.EqualTo(8), "FEATURES_OK");
    }

    public void Reset()
    {
        Write(0x14, 1, 0);
        Wait(() => Status == 0, "the device to reset");
    }

    public void DriverOk() => Write(0x14, 1, 15);

    /// <summary>Enables MSI-X with a message for each vector: data 0x4F for configuration, 0x50 + queue for queues.</summary>
    public void EnableMsix(int vectors)
    {
        for (int i = 0; i < vectors; i++)
        {
            ulong entry = MsixTable + 16 * (ulong)i;
            Mmio.Write(entry, 4, 0xFEE0_0000);
            Mmio.Write(entry + 4, 4, 0);
            Mmio.Write(entry + 8, 4, ConfigVectorData + (uint)i);
            Mmio.Write(entry + 12, 4, 0);
        }
        int capability = FindCapability(0x11);
        WriteConfig(capability + 2, 2, 0x8000);
    }

    public int FindCapability(byte id, int skip = 0)
    {
        int offset = (int)ReadConfig(0x34, 1);
        for (int steps = 0; offset != 0 && steps < 48; steps++, offset = (int)ReadConfig(offset + 1, 1))
        {
            if (ReadConfig(offset, 1) == id && skip-- == 0)
                return offset;
        }
        return 0;
    }

    public void EnableQueue(int index, ushort size, ulong descriptors, ulong driver, ulong device, ushort vector = 0xFFFF)
    {
        Write(0x16, 2, (ulong)index);
        Write(0x18, 2, size);
        Write(0x1A, 2, vector);
        Write(0x20, 8, descriptors);
        Write(0x28, 8, driver);
        Write(0x30, 8, device);
        Write(0x1C, 2, 1);
    }

    public void Kick(int queue) => Write(0x3000 + 4 * (ulong)queue, 2, (ulong)queue);

    public static void Wait(Func<bool> condition, string what)
    {
        if (!SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(30)))
            Assert.Fail($"Waited 30 s for {what}.");
    }

    public void Dispose()
    {
        Bus.Dispose();
        Memory.Dispose();
    }

    public static NullLogger Logger => NullLogger.Instance;
}
