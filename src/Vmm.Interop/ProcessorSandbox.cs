using System.Runtime.InteropServices;

namespace Vmm.Interop;

/// <summary>A user-mode state of the processor, in and out of <see cref="ProcessorSandbox"/>. Must be 64-byte aligned in memory.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct SandboxState
{
    /// <summary>Linux's selector of 32-bit user code (arch/x86/include/asm/segment.h, __USER32_CS).</summary>
    public const ulong CompatibilityCode = 0x23;

    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8–R15.</summary>
    public fixed ulong Gpr[16];

    /// <summary>Where to start; where it faulted.</summary>
    public ulong Rip;

    /// <summary>RFLAGS; TF and AC must be clear.</summary>
    public ulong Rflags;

    /// <summary>Out: exception vector.</summary>
    public ulong Vector;

    /// <summary>Out: error code.</summary>
    public ulong ErrorCode;

    /// <summary>Out: address of a page fault.</summary>
    public ulong Cr2;

    /// <summary>Out: the signal it arrived as.</summary>
    public ulong Signal;

    /// <summary>In: 0 for 64-bit code; <see cref="CompatibilityCode"/> for 32-bit code.</summary>
    public ulong CodeSelector;

    private ulong _reserved;

    /// <summary>x87, SSE and AVX state as a standard XSAVE image. In: XSTATE_BV must be set. Out: the header is not filled.</summary>
    public fixed byte Xsave[832];
}

/// <summary>Runs code natively, from a given state until it faults: the oracle of the software CPU's tests.</summary>
public static unsafe class ProcessorSandbox
{
    /// <summary>Runs until a fault. One thread at a time; further ones wait.</summary>
    /// <exception cref="VmmSystemException">The host refuses the signal handlers.</exception>
    public static void Run(SandboxState* state)
    {
        int result = Shim.RunSandbox(state);
        if (result < 0)
            throw new VmmSystemException("Running code in the sandbox", -result);
    }
}

/// <summary>Memory at a fixed address for <see cref="ProcessorSandbox"/>.</summary>
public sealed unsafe class SandboxMemory : IDisposable
{
    private readonly nint _address;
    private readonly nuint _length;
    private byte* _writable;

    /// <summary>Maps memory.</summary>
    /// <param name="address">Where, page-aligned; nothing may be mapped there.</param>
    /// <param name="length">Bytes, a multiple of the page size.</param>
    /// <param name="executable">Readable and executable there instead of readable and writable.</param>
    /// <exception cref="VmmSystemException">The address is taken, or the host refuses.</exception>
    public SandboxMemory(nint address, nuint length, bool executable)
    {
        (_address, _length) = (address, length);
        byte* writable;
        int result = Shim.MapSandbox(address, length, executable ? 1 : 0, &writable);
        if (result < 0)
            throw new VmmSystemException($"Mapping sandbox memory at 0x{address:X}", -result);
        _writable = writable;
    }

    /// <summary>The same memory at another address, always writable.</summary>
    public Span<byte> Bytes => new(_writable, (int)_length);

    /// <summary>Makes part of it read-only.</summary>
    /// <exception cref="VmmSystemException">The host refuses.</exception>
    public void Protect(nuint offset, nuint length)
    {
        int result = Shim.ProtectSandbox(_address + (nint)offset, length);
        if (result < 0)
            throw new VmmSystemException("Protecting sandbox memory", -result);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_writable == null)
            return;
        Shim.UnmapSandbox(_address, _length, _writable);
        _writable = null;
    }
}

public static partial class Shim
{
    [LibraryImport(Library, EntryPoint = "vmm_sandbox_run")]
    internal static unsafe partial int RunSandbox(SandboxState* state);

    [LibraryImport(Library, EntryPoint = "vmm_sandbox_map")]
    internal static unsafe partial int MapSandbox(nint address, nuint length, int executable, byte** writable);

    [LibraryImport(Library, EntryPoint = "vmm_sandbox_protect")]
    internal static partial int ProtectSandbox(nint address, nuint length);

    [LibraryImport(Library, EntryPoint = "vmm_sandbox_unmap")]
    internal static unsafe partial void UnmapSandbox(nint address, nuint length, byte* writable);
}
