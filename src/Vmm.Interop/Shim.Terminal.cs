using System.Runtime.InteropServices;

namespace Vmm.Interop;

public static partial class Shim
{
    [LibraryImport(Library, EntryPoint = "vmm_terminal_make_raw")]
    internal static partial int TerminalMakeRaw(int fd);

    [LibraryImport(Library, EntryPoint = "vmm_terminal_reapply")]
    internal static partial int TerminalReapply();

    [LibraryImport(Library, EntryPoint = "vmm_terminal_restore")]
    internal static partial void TerminalRestore();

    [LibraryImport(Library, EntryPoint = "vmm_terminal_is_background")]
    internal static partial int TerminalIsBackground(int fd);

    [LibraryImport(Library, EntryPoint = "vmm_pty_open")]
    internal static unsafe partial int PtyOpen(int* master, byte* path, int length);
}
