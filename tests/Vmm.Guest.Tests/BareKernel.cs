using System.Buffers.Binary;
using Iced.Intel;

namespace Vmm.Guest.Tests;

/// <summary>
/// A flat multiboot kernel of a few instructions (Multiboot Specification 0.6.96, 3.1): guests that do one thing, in milliseconds.
/// Entered in 32-bit protected mode at <see cref="LoadAddress"/> plus the header, interrupts off.
/// </summary>
internal sealed class BareKernel : IDisposable
{
    private const uint LoadAddress = 0x10_0000;
    private const int HeaderLength = 32;
    private const uint Magic = 0x1BAD_B002;

    /// <summary>Bit 16: the address fields of the header are valid.</summary>
    private const uint Flags = 1 << 16;

    private BareKernel(string path)
    {
        Path = path;
    }

    internal string Path { get; }

    /// <summary>Assembles a kernel into a temporary file.</summary>
    internal static BareKernel Assemble(Action<Assembler> code)
    {
        Assembler assembler = new(32);
        code(assembler);
        using MemoryStream text = new();
        assembler.Assemble(new StreamCodeWriter(text), LoadAddress + HeaderLength);
        byte[] image = new byte[HeaderLength + (int)text.Length];
        uint end = LoadAddress + (uint)image.Length;
        ReadOnlySpan<uint> header = [Magic, Flags, unchecked(0u - (Magic + Flags)), LoadAddress, LoadAddress, end, end + 0x1_0000, LoadAddress + HeaderLength];
        for (int i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(4 * i), header[i]);
        text.ToArray().CopyTo(image, HeaderLength);
        string path = System.IO.Path.GetTempFileName();
        File.WriteAllBytes(path, image);
        return new BareKernel(path);
    }

    /// <summary>Runs it and waits for the end of vmm.</summary>
    internal async Task<(int Status, string Console, string Messages)> RunAsync(params string[] options)
    {
        await using VmmRun run = VmmRun.Start(["--kernel", Path, "--accel", "software", "--memory", "32M", .. options]);
        int status = await run.WaitForExitAsync();
        return (status, run.Console, run.Messages);
    }

    public void Dispose() => File.Delete(Path);
}
