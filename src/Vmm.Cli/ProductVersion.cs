namespace Vmm.Cli;

internal static class ProductVersion
{
    /// <summary>"vmm 0.1.0".</summary>
    internal static string Text => $"vmm {typeof(ProductVersion).Assembly.GetName().Version?.ToString(3)}";
}
