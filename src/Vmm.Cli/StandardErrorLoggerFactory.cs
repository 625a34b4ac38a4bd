using Microsoft.Extensions.Logging;

namespace Vmm.Cli;

/// <summary>Writes log messages to standard error, a line each: <c>vmm: warning: …</c>. Debug and below carry their category and traces.</summary>
internal sealed class StandardErrorLoggerFactory : ILoggerFactory
{
    private readonly LogLevel _minimum;
    private readonly Lock _lock = new();

    internal StandardErrorLoggerFactory(LogLevel minimum)
    {
        _minimum = minimum;
    }

    public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("Messages go to standard error only.");

    public void Dispose()
    {
    }

    private void Write(LogLevel level, string category, string message, Exception? error)
    {
        bool verbose = _minimum <= LogLevel.Debug;
        string cause = error is null ? "" : verbose ? $" {error}" : $" {error.Message}";
        string line = verbose ? $"vmm: {Name(level)}: {category}: {message}{cause}" : $"vmm: {Name(level)}: {OneLine(message + cause)}";
        // Whole lines: several threads log.
        lock (_lock)
            Console.Error.WriteLine(line);
    }

    private static string OneLine(string text) => text.ReplaceLineEndings(" ");

    private static string Name(LogLevel level) => level switch
    {
        LogLevel.Trace => "trace",
        LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warning",
        LogLevel.Error => "error",
        _ => "critical",
    };

    private sealed class Logger(StandardErrorLoggerFactory factory, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= factory._minimum && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                factory.Write(logLevel, category, formatter(state, exception), exception);
        }
    }
}
