using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>struct iovec of readv(2): one piece of memory in a scatter-gather transfer.</summary>
/// <param name="Pointer">Address of the first byte.</param>
/// <param name="Length">Bytes.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct IoVector(nint Pointer, nuint Length);
