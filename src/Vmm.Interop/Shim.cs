using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>The entry points of the native shim (../../native-shims/shim.h).</summary>
public static partial class Shim
{
    private const string Library = "libvmmshim";

    // VMM_SHIM_VERSION in shim.h.
    private const int ExpectedVersion = 1;

    /// <summary>Loads the shim, and refuses one of another version.</summary>
    /// <exception cref="InvalidOperationException">The library found is not the one that belongs to this build.</exception>
    public static void EnsureLoaded()
    {
        int version = Version();
        if (version != ExpectedVersion)
            throw new InvalidOperationException($"{Library} has version {version}, not {ExpectedVersion}: it belongs to another build of vmm.");
    }

    /// <summary>The version of the shim's interface that is loaded.</summary>
    [LibraryImport(Library, EntryPoint = "vmm_shim_version")]
    public static partial int Version();

    /// <summary>CMPXCHG16B with a LOCK prefix: 16 aligned bytes compared and, when equal, replaced.</summary>
    /// <param name="target">The bytes, aligned to 16.</param>
    /// <param name="expected">Two words that are expected there; receives what is there when it differs.</param>
    /// <param name="low">The new low word.</param>
    /// <param name="high">The new high word.</param>
    /// <returns>1 when replaced, else 0.</returns>
    [LibraryImport(Library, EntryPoint = "vmm_compare_exchange_16")]
    [SuppressGCTransition]
    public static unsafe partial int CompareExchange16(void* target, ulong* expected, ulong low, ulong high);

    /// <summary>XCR0 of the host. Only where CPUID reports OSXSAVE (leaf 1, ECX bit 27).</summary>
    [LibraryImport(Library, EntryPoint = "vmm_xgetbv")]
    public static partial ulong GetXcr0();
}
