using Spectre.Console;
using Vmm.Hosting.Quickstart;

namespace Vmm.Cli;

/// <summary>Shows how far the quickstart is: bars on a terminal, a line per step elsewhere. On standard error.</summary>
internal static class QuickstartProgress
{
    internal static async Task<GuestAssets> ShowAsync(Func<Action<GuestAssetProgress>, Task<GuestAssets>> prepare)
    {
        if (Console.IsErrorRedirected)
            return await prepare(new StepLines().Report).ConfigureAwait(false);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        return await console.Progress()
            .HideCompleted(false)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new SpinnerColumn())
            .StartAsync(async context =>
            {
                Bars bars = new(context);
                GuestAssets assets = await prepare(bars.Report).ConfigureAwait(false);
                bars.Finish();
                return assets;
            }).ConfigureAwait(false);
    }

    private sealed class StepLines
    {
        private readonly Lock _lock = new();
        private string? _step;

        internal void Report(GuestAssetProgress progress)
        {
            lock (_lock)
            {
                if (progress.Step == _step)
                    return;
                _step = progress.Step;
            }
            Console.Error.WriteLine($"vmm: {progress.Step}");
        }
    }

    private sealed class Bars(ProgressContext context)
    {
        private readonly Lock _lock = new();
        private ProgressTask? _task;
        private string? _step;

        internal void Report(GuestAssetProgress progress)
        {
            lock (_lock)
            {
                if (progress.Step != _step)
                {
                    Finish();
                    _step = progress.Step;
                    _task = context.AddTask(Markup.Escape(progress.Step));
                    _task.IsIndeterminate = progress.Fraction is null;
                }
                if (progress.Fraction is double fraction)
                {
                    _task!.IsIndeterminate = false;
                    _task.Value = fraction * _task.MaxValue;
                }
            }
        }

        internal void Finish()
        {
            if (_task is null)
                return;
            _task.IsIndeterminate = false;
            _task.Value = _task.MaxValue;
        }
    }
}
