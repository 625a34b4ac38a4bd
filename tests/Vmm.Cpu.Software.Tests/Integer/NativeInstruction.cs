using System.Runtime.InteropServices;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>The registers that <see cref="NativeInstruction"/> loads and stores.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeRegisters
{
    public fixed ulong Gpr[16];
    public ulong Rflags;
}

/// <summary>
/// Runs one unprivileged instruction that does not fault on the host's processor. RSP, R14 and R15 are not the instruction's to change; R14 is loaded, so that
/// it can be the base of memory operands.
/// </summary>
internal sealed unsafe class NativeInstruction : IDisposable
{
    private readonly CodeMemory _code = new(4096);
    private readonly List<byte> _bytes = [];

    /// <summary>Takes the instruction.</summary>
    public void Load(ReadOnlySpan<byte> instruction)
    {
        _bytes.Clear();
        // push rbx, rbp, r12, r13, r14, r15; mov r15, rdi; push [r15+128]; popfq
        Emit(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x49, 0x89, 0xFF, 0x41, 0xFF, 0xB7, 0x80, 0, 0, 0, 0x9D);
        for (int r = 0; r < 15; r++)
            Move(0x8B, r);
        foreach (byte b in instruction)
            Emit(b);
        for (int r = 0; r < 15; r++)
            Move(0x89, r);
        // pushfq; pop [r15+128]; pop r15, r14, r13, r12, rbp, rbx; ret
        Emit(0x9C, 0x41, 0x8F, 0x87, 0x80, 0, 0, 0, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3);
        CollectionsMarshal.AsSpan(_bytes).CopyTo(new Span<byte>((void*)_code.Writable, 4096));
    }

    /// <summary>Runs it.</summary>
    public void Execute(NativeRegisters* registers) => ((delegate* unmanaged<NativeRegisters*, void>)_code.Executable)(registers);

    public void Dispose() => _code.Dispose();

    // mov r, [r15 + 8r] or the reverse, RSP left out.
    private void Move(byte opcode, int register)
    {
        if (register != 4)
            Emit((byte)(register < 8 ? 0x49 : 0x4D), opcode, (byte)(0x47 | ((register & 7) << 3)), (byte)(register * 8));
    }

    private void Emit(params ReadOnlySpan<byte> bytes) => _bytes.AddRange(bytes);
}
