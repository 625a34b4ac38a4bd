using System.Runtime.InteropServices;

namespace Vmm.Interop;

public static partial class Shim
{
    /// <summary>Registers generated code: a processor exception within it continues at <paramref name="exit"/>, with all other registers as they are.</summary>
    /// <returns>A number for <see cref="UnregisterFaultExit"/>, or a negative errno.</returns>
    [LibraryImport(Library, EntryPoint = "vmm_faults_register")]
    internal static partial int RegisterFaultExit(nint start, nuint length, nint exit);

    /// <summary>Takes a registration back.</summary>
    [LibraryImport(Library, EntryPoint = "vmm_faults_unregister")]
    internal static partial void UnregisterFaultExit(int number);
}
