using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Loading;

/// <summary>A module of a multiboot kernel, or the initial RAM disk.</summary>
/// <param name="File">Its contents.</param>
/// <param name="CommandLine">What the kernel is told of it.</param>
internal sealed record BootModule(ImageFile File, string CommandLine);

/// <summary>The files that a machine boots from, open for as long as the machine lives, and how it boots from them.</summary>
internal sealed class BootFiles : IDisposable
{
    private BootFiles(ImageFile kernel, ImageFile? initrd, IReadOnlyList<BootModule> modules, string commandLine, BootProtocol protocol)
    {
        (Kernel, Initrd, Modules, CommandLine, Protocol) = (kernel, initrd, modules, commandLine, protocol);
    }

    /// <summary>The kernel.</summary>
    public ImageFile Kernel { get; }

    /// <summary>The initial RAM disk, or null.</summary>
    public ImageFile? Initrd { get; }

    /// <summary>Multiboot modules, the initial RAM disk not among them.</summary>
    public IReadOnlyList<BootModule> Modules { get; }

    /// <summary>The kernel's command line.</summary>
    public string CommandLine { get; }

    /// <summary>How the kernel is entered.</summary>
    public BootProtocol Protocol { get; }

    /// <summary>Opens the files that the options name.</summary>
    /// <exception cref="VmmException">One of them cannot be opened.</exception>
    public static BootFiles Open(VirtualMachineOptions options)
    {
        var opened = new List<ImageFile>();
        try
        {
            ImageFile OpenFile(string option, string path)
            {
                var file = ImageFile.Open(option, path);
                opened.Add(file);
                return file;
            }

            string kernelPath = options.Kernel ?? throw new VmmException("--kernel: no kernel was given.");
            var kernel = OpenFile("--kernel", kernelPath);
            var initrd = string.IsNullOrEmpty(options.Initrd) ? null : OpenFile("--initrd", options.Initrd);
            var modules = new List<BootModule>();
            foreach (string module in options.Modules)
            {
                int space = module.IndexOf(' ');
                modules.Add(new BootModule(OpenFile("module", space < 0 ? module : module[..space]), module));
            }
            return new BootFiles(kernel, initrd, modules, options.Append, options.BootProtocol);
        }
        catch
        {
            opened.ForEach(static f => f.Dispose());
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Kernel.Dispose();
        Initrd?.Dispose();
        foreach (var module in Modules)
            module.File.Dispose();
    }
}
