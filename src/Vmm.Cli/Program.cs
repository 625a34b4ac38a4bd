using Vmm.Cli.Commands;
using Vmm.Interop;

namespace Vmm.Cli;

internal static class Program
{
    private static Task<int> Main(string[] arguments)
    {
        // Answered before the parser is built: scripts ask for the version often, and nothing else of the program is needed.
        if (arguments is ["--version"])
        {
            Console.Out.WriteLine(ProductVersion.Text);
            return Task.FromResult(0);
        }
        // The shim's signal handlers must stand below the runtime's, which installs its own when a program first asks for signals.
        Shim.EnsureLoaded();
        return VmmCommand.RunAsync(arguments);
    }
}
