namespace Vmm.Machine.Pc;

/// <summary>Disposes what was made so far, last first, when building something fails half-way.</summary>
internal sealed class UndoStack : IDisposable
{
    private readonly Stack<object> _made = new();

    /// <summary>Remembers something that is disposable.</summary>
    public T Push<T>(T made)
        where T : notnull
    {
        _made.Push(made);
        return made;
    }

    /// <summary>All was made: nothing is to be undone.</summary>
    public void Commit() => _made.Clear();

    /// <inheritdoc/>
    public void Dispose()
    {
        while (_made.TryPop(out object? made))
        {
            if (made is IDisposable disposable)
                disposable.Dispose();
            else if (made is IAsyncDisposable asynchronous)
                asynchronous.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
}
