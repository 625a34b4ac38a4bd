using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>The entry points of the native shim (../../native-shims/shim.h).</summary>
public static partial class Shim
{
    private const string Library = "libvmmshim";

    /// <summary>The version of the shim's interface that is loaded.</summary>
    [LibraryImport(Library, EntryPoint = "vmm_shim_version")]
    public static partial int Version();
}
