using System.Runtime.InteropServices;

namespace Vmm.Interop;

public static partial class Shim
{
    /// <summary>What the system's headers say, for the tests of layouts: "sizeof TYPE", "TYPE.FIELD" or the name of a constant.</summary>
    /// <returns>Whether the shim knows the name.</returns>
    public static bool TryFindLayout(string name, out ulong value) => FindLayout(name, out value) != 0;

    [LibraryImport(Library, EntryPoint = "vmm_layout_find", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int FindLayout(string name, out ulong value);
}
