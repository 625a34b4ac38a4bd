using System.Buffers.Binary;
using System.Text;
using Vmm.Core.Cpu;
using Vmm.Core.Memory;
using Vmm.Machine.Firmware;
using Vmm.Machine.Firmware.Acpi;
using Vmm.Machine.Loading;

namespace Vmm.Machine.Tests.Loading;

/// <summary>Memory and files for a loader to work on.</summary>
internal sealed class LoaderFixture : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("vmm-loader").FullName;

    public LoaderFixture(ulong memory = 64 << 20)
    {
        Memory = new GuestMemory(PcMemory(memory));
        Map = E820Map.Create(memory, AcpiTables.CreateBelow(new FirmwareOptions(memory, 1), AddressMap.LowMemorySize(memory)));
    }

    public GuestMemory Memory { get; }

    public E820Entry[] Map { get; }

    public VirtualMachineOptions Options { get; } = new() { Append = "console=ttyS0" };

    public string Write(string name, byte[] bytes)
    {
        string path = Path.Combine(_directory, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public LoadedKernel Load(byte[] kernel, BootProtocol protocol = BootProtocol.Auto)
    {
        Options.Kernel = Write("kernel", kernel);
        Options.BootProtocol = protocol;
        return Load();
    }

    public LoadedKernel Load()
    {
        using var files = BootFiles.Open(Options);
        return BootLoader.Load(files, new BootSpace(Memory, Map));
    }

    public static CpuState Enter(LoadedKernel kernel)
    {
        var state = new CpuState();
        kernel.Entry.Apply(state);
        return state;
    }

    public byte[] Bytes(ulong address, int length)
    {
        byte[] bytes = new byte[length];
        Assert.That(Memory.TryRead(address, bytes), Is.True);
        return bytes;
    }

    public uint U32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(address, 4));

    public ulong U64(ulong address) => BinaryPrimitives.ReadUInt64LittleEndian(Bytes(address, 8));

    public string Text(ulong address)
    {
        byte[] bytes = Bytes(address, 256);
        return Encoding.UTF8.GetString(bytes, 0, Array.IndexOf(bytes, (byte)0));
    }

    public void Dispose()
    {
        Memory.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static IEnumerable<(ulong, ulong, GuestMemoryKind)> PcMemory(ulong memory)
    {
        yield return (0, AddressMap.LowMemorySize(memory), GuestMemoryKind.Ram);
        if (AddressMap.HighMemorySize(memory) is var high and > 0)
            yield return (AddressMap.HighMemory, high, GuestMemoryKind.Ram);
    }
}
