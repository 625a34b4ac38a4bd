using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace Vmm.Guest.Tests;

/// <summary>A running <c>vmm run</c> with the guest's console on its pipes.</summary>
internal sealed class VmmRun : IAsyncDisposable
{
    /// <summary>How long anything in a guest may take. Generous: the machine that runs the tests may be slow and busy.</summary>
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(180);

    private readonly Process _process;
    private readonly Task _output;
    private readonly Task _errors;
    private readonly StringBuilder _console = new();
    private readonly StringBuilder _messages = new();
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _read;

    private VmmRun(Process process)
    {
        _process = process;
        _output = PumpAsync(process.StandardOutput, _console);
        _errors = PumpAsync(process.StandardError, _messages);
    }

    /// <summary>What <c>VMM_EXECUTABLE</c> names (CI gives the published one), or the build's.</summary>
    internal static string Executable =>
        Environment.GetEnvironmentVariable("VMM_EXECUTABLE") is { Length: > 0 } named ? named : Path.Combine(TestContext.CurrentContext.TestDirectory, "vmm");

    internal int ProcessId => _process.Id;

    internal bool HasExited => _process.HasExited;

    /// <summary>Everything that the guest wrote so far.</summary>
    internal string Console
    {
        get
        {
            lock (_console)
                return _console.ToString();
        }
    }

    /// <summary>Everything that vmm said so far.</summary>
    internal string Messages
    {
        get
        {
            lock (_messages)
                return _messages.ToString();
        }
    }

    /// <summary>Starts <c>vmm run</c>.</summary>
    internal static VmmRun Start(params string[] arguments) => StartWith(new Dictionary<string, string>(), arguments);

    /// <summary>Starts <c>vmm run</c> with something added to its environment.</summary>
    internal static VmmRun StartWith(IReadOnlyDictionary<string, string> environment, params string[] arguments)
    {
        // Through env(1), which executes in its place: a test that itself runs with SIGINT ignored (a shell's background job) would hand that on.
        ProcessStartInfo start = new("/usr/bin/env", ["--default-signal", Executable, "run", .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.Latin1,
        };
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        return new VmmRun(Process.Start(start)!);
    }

    /// <summary>Types text into the guest's console.</summary>
    internal async Task TypeAsync(string text)
    {
        await _process.StandardInput.WriteAsync(text);
        await _process.StandardInput.FlushAsync();
    }

    /// <summary>Waits until the guest writes something that matches, behind what was waited for before.</summary>
    internal async Task<Match> WaitForAsync(string pattern)
    {
        using CancellationTokenSource limit = new(Limit);
        while (true)
        {
            Task more;
            lock (_console)
            {
                Match match = Regex.Match(_console.ToString(_read, _console.Length - _read), pattern);
                if (match.Success)
                {
                    _read += match.Index + match.Length;
                    return match;
                }
                more = _more.Task;
            }
            if (_output.IsCompleted)
                throw new AssertionException($"vmm ended with no '{pattern}' on the console. {Describe()}");
            try
            {
                await Task.WhenAny(more, _output).WaitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                throw new AssertionException($"No '{pattern}' on the console within {Limit.TotalSeconds} s. {Describe()}");
            }
        }
    }

    /// <summary>Waits for vmm to end.</summary>
    /// <returns>Its exit status.</returns>
    internal async Task<int> WaitForExitAsync()
    {
        using CancellationTokenSource limit = new(Limit);
        try
        {
            await _process.WaitForExitAsync(limit.Token);
            await Task.WhenAll(_output, _errors).WaitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            throw new AssertionException($"vmm did not end within {Limit.TotalSeconds} s. {Describe()}");
        }
        return _process.ExitCode;
    }

    /// <summary>Closes the guest's input.</summary>
    internal void CloseInput() => _process.StandardInput.Close();

    /// <summary>
    /// Ignores the test where the signal was ignored when the tests started, as by nohup(1) or in the background of a script: a process
    /// inherits that, and .NET leaves such signals ignored.
    /// </summary>
    internal static void NeedSignal(string signal)
    {
        int number = signal switch
        {
            "HUP" => 1,
            "INT" => 2,
            _ => 0,
        };
        string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("SigIgn:", StringComparison.Ordinal));
        ulong ignored = ulong.Parse(line[7..].Trim(), System.Globalization.NumberStyles.HexNumber, System.Globalization.CultureInfo.InvariantCulture);
        if (number != 0 && (ignored >> (number - 1) & 1) != 0)
            Assert.Ignore($"SIG{signal} is ignored here.");
    }

    /// <summary>Sends a signal, by kill(1).</summary>
    internal async Task SignalAsync(string signal)
    {
        using Process kill = Process.Start("kill", [$"-{signal}", $"{_process.Id}"]);
        await kill.WaitForExitAsync();
    }

    /// <summary>The end of the console and vmm's messages, for failures.</summary>
    internal string Describe()
    {
        string console = Console;
        return $"\nvmm's messages:\n{Messages}\nEnd of the console:\n{(console.Length > 4000 ? console[^4000..] : console)}";
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await Task.WhenAll(_output, _errors);
        _process.Dispose();
    }

    private async Task PumpAsync(StreamReader source, StringBuilder target)
    {
        char[] buffer = new char[4096];
        while (await source.ReadAsync(buffer) is int count and > 0)
        {
            lock (target)
                target.Append(buffer, 0, count);
            Interlocked.Exchange(ref _more, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
        }
    }
}
