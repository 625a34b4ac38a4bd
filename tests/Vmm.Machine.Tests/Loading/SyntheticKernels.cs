using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Compression;
using Vmm.Machine.Firmware;

namespace Vmm.Machine.Tests.Loading;

/// <summary>Small kernels of each kind, made here.</summary>
internal static class SyntheticKernels
{
    public const uint LoadAddress = 0x20_0000;
    public const uint Entry = LoadAddress + 0x10;
    public const int BssSize = 0x3000;

    /// <summary>Some content that compresses and that is recognized again.</summary>
    public static byte[] Body(int size = 0x5000)
    {
        byte[] body = new byte[size];
        new Random(1).NextBytes(body.AsSpan(0, size / 2));
        for (int i = size / 2; i < size; i++)
            body[i] = (byte)(i / 64);
        // Calls, for the x86 filter of xz to have work.
        for (int i = 0; i < size / 4; i += 16)
            body[i] = 0xE8;
        return body;
    }

    /// <summary>An ELF with one loadable segment, and the PVH note inside of it when asked for.</summary>
    public static byte[] Elf(bool is64 = true, bool pvh = true, byte[]? body = null, uint load = LoadAddress, uint entry = Entry, int machine = 62, int type = 2)
    {
        body ??= Body();
        byte[] note = pvh ? new ByteWriter().U32(4).U32(4).U32(18).Bytes("Xen\0"u8).U32(entry).ToArray() : [];
        body = [.. body, .. note];
        const int Offset = 0x1000;
        int headers = is64 ? 64 : 52;
        var w = new ByteWriter().Bytes([0x7F, (byte)'E', (byte)'L', (byte)'F', is64 ? (byte)2 : (byte)1, 1, 1]).Zeros(9)
            .U16((ushort)type).U16((ushort)(is64 ? machine : 3)).U32(1);
        const ulong Virtual = 0xFFFF_FFFF_8000_0000;
        ulong noteOffset = (ulong)(Offset + body.Length - note.Length);
        if (is64)
        {
            w.U64(Virtual + entry).U64((ulong)headers).U64(0).U32(0).U16(64).U16(56).U16(2).U16(0).U16(0).U16(0);
            w.U32(1).U32(5).U64(Offset).U64(Virtual + load).U64(load).U64((ulong)body.Length).U64((ulong)(body.Length + BssSize)).U64(0x1000);
            w.U32(pvh ? 4u : 0).U32(4).U64(noteOffset).U64(0).U64(0).U64((ulong)note.Length).U64((ulong)note.Length).U64(4);
        }
        else
        {
            w.U32(entry).U32((uint)headers).U32(0).U32(0).U16(52).U16(32).U16(2).U16(0).U16(0).U16(0);
            w.U32(1).U32(Offset).U32(load).U32(load).U32((uint)body.Length).U32((uint)(body.Length + BssSize)).U32(5).U32(0x1000);
            w.U32(pvh ? 4u : 0).U32((uint)noteOffset).U32(0).U32(0).U32((uint)note.Length).U32((uint)note.Length).U32(4).U32(4);
        }
        w.Zeros(Offset - w.Length).Bytes(body);
        return w.ToArray();
    }

    /// <summary>A bzImage around a payload.</summary>
    public static byte[] BzImage(byte[] payload, ushort version = 0x020F, ushort xloadFlags = 1, uint initSize = 0x10_0000, uint cmdlineSize = 2047, ulong preferred = 0x100_0000, uint initrdMax = 0x7FFF_FFFF)
    {
        const int SetupSectors = 4;
        const int PayloadOffset = 0x400;
        byte[] image = new byte[((SetupSectors + 1) * 512) + PayloadOffset + payload.Length];
        image[0x1F1] = SetupSectors;
        image[0x1FE] = 0x55;
        image[0x1FF] = 0xAA;
        image[0x201] = 0x6A;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(0x206), version);
        image[0x211] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x22C), initrdMax);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x230), 0x20_0000);
        image[0x234] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(0x236), xloadFlags);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x238), cmdlineSize);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x248), PayloadOffset);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x24C), (uint)payload.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(0x258), preferred);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x260), initSize);
        payload.CopyTo(image.AsSpan(((SetupSectors + 1) * 512) + PayloadOffset));
        return image;
    }

    /// <summary>A multiboot kernel whose header says where to load it.</summary>
    public static byte[] FlatMultiboot(uint load = LoadAddress, uint flags = 0x1_0003, uint headerOffset = 0x40, byte[]? body = null)
    {
        body = (body ?? Body()).ToArray();
        uint end = load + (uint)body.Length;
        new ByteWriter().U32(0x1BAD_B002).U32(flags).U32(unchecked(0 - 0x1BAD_B002u - flags))
            .U32(load + headerOffset).U32(load).U32(end).U32(end + BssSize).U32(load + 0x100)
            .Written.CopyTo(body.AsSpan((int)headerOffset));
        return body;
    }

    /// <summary>A 32-bit ELF with a multiboot header.</summary>
    public static byte[] ElfMultiboot(bool is64 = false)
    {
        byte[] body = Body();
        const uint Flags = 3;
        new ByteWriter().U32(0x1BAD_B002).U32(Flags).U32(unchecked(0 - 0x1BAD_B002u - Flags)).Written.CopyTo(body.AsSpan(0x20));
        return Elf(is64, pvh: false, body);
    }

    /// <summary>Compresses as Linux's build does, the unpacked size appended where it does so.</summary>
    public static byte[] Compress(string format, byte[] data)
    {
        byte[] size = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(size, data.Length);
        return format switch
        {
            "gzip" => GZip(data),
            "bzip2" => [.. Tool("bzip2", data, "-9"), .. size],
            "lzma" => [.. Tool("xz", data, "--format=lzma", "-6"), .. size],
            "xz" => [.. Tool("xz", data, "--check=crc32", "--x86", "--lzma2=dict=1MiB"), .. size],
            "xz-plain" => [.. Tool("xz", data, "--check=crc32", "-6"), .. size],
            "lz4" => [.. Tool("lz4", data, "-l", "-9"), .. size],
            "zstd" => [.. Zstd(data), .. size],
            _ => throw new ArgumentOutOfRangeException(nameof(format)),
        };
    }

    private static byte[] GZip(byte[] data)
    {
        using var target = new MemoryStream();
        using (var gzip = new GZipStream(target, CompressionLevel.Optimal))
            gzip.Write(data);
        return target.ToArray();
    }

    private static byte[] Zstd(byte[] data)
    {
        using var compressor = new ZstdSharp.Compressor(19);
        return compressor.Wrap(data).ToArray();
    }

    private static byte[] Tool(string program, byte[] input, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, [.. arguments, "-c"]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        try
        {
            using var process = Process.Start(start)!;
            var output = new MemoryStream();
            var copy = process.StandardOutput.BaseStream.CopyToAsync(output);
            process.StandardInput.BaseStream.Write(input);
            process.StandardInput.Close();
            copy.Wait();
            process.WaitForExit();
            return output.ToArray();
        }
        catch (System.ComponentModel.Win32Exception)
        {
            Assert.Ignore($"{program} is not installed.");
            throw;
        }
    }
}
