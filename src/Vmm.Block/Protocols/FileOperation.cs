using System.Threading.Tasks.Sources;

namespace Vmm.Block.Protocols;

internal enum FileOperationKind
{
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

/// <summary>A request of <see cref="FileProtocol"/>; reused, so that a request in the steady state allocates nothing.</summary>
internal sealed class FileOperation(FileWorkers workers) : IValueTaskSource
{
    private ManualResetValueTaskSourceCore<bool> _core;

    /// <summary>Next in the queue or in the list of free operations; guarded by the workers' lock.</summary>
    public FileOperation? Next { get; set; }

    public FileOperationKind Kind { get; private set; }

    public long Offset { get; private set; }

    public long Length { get; private set; }

    public ReadOnlyMemory<IoBuffer> Buffers { get; private set; }

    public bool ForceUnitAccess { get; private set; }

    public bool MayUnmap { get; private set; }

    public ValueTask Task => new(this, _core.Version);

    public void Set(FileOperationKind kind, long offset, long length, ReadOnlyMemory<IoBuffer> buffers, bool forceUnitAccess, bool mayUnmap)
    {
        (Kind, Offset, Length, Buffers) = (kind, offset, length, buffers);
        (ForceUnitAccess, MayUnmap) = (forceUnitAccess, mayUnmap);
    }

    public void Succeed() => _core.SetResult(true);

    public void Fail(Exception error) => _core.SetException(error);

    void IValueTaskSource.GetResult(short token)
    {
        try
        {
            _core.GetResult(token);
        }
        finally
        {
            _core.Reset();
            Buffers = default;
            workers.Free(this);
        }
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);
}
