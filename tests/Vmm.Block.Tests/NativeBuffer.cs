using System.Runtime.InteropServices;

namespace Vmm.Block.Tests;

/// <summary>Native memory that requests point into.</summary>
internal sealed unsafe class NativeBuffer(int length) : IDisposable
{
    private readonly byte* _memory = (byte*)NativeMemory.AllocZeroed((nuint)length);

    public Span<byte> Span => new(_memory, length);

    public IoBuffer All => new((nint)_memory, length);

    public IoBuffer Slice(int start, int count) => new((nint)_memory + start, count);

    public void Dispose() => NativeMemory.Free(_memory);
}

/// <summary>A directory for one test, removed afterwards.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("vmm-block-").FullName;

    public string File(string name, byte[] content)
    {
        string path = System.IO.Path.Combine(_path, name);
        System.IO.File.WriteAllBytes(path, content);
        return path;
    }

    public string Path(string name) => System.IO.Path.Combine(_path, name);

    public override string ToString() => _path;

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
