namespace Vmm.Cpu.Software.Simd;

/// <summary>Writes the machine code around the one instruction of a stub. Pointers to operands come in RDX, RCX, R8, R9, the context in RDI, memory in RSI.</summary>
internal ref struct StubEmitter(Span<byte> buffer)
{
    private readonly Span<byte> _buffer = buffer;
    private int _length;

    /// <summary>What has been written.</summary>
    public readonly ReadOnlySpan<byte> Code => _buffer[.._length];

    // ModRM.rm of the pointer registers: RDX, RCX, R8, R9.
    private static ReadOnlySpan<byte> PointerRm => [2, 1, 0, 1];

    /// <summary>Raw bytes.</summary>
    public void Bytes(scoped ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_buffer[_length..]);
        _length += bytes.Length;
    }

    /// <summary>MOVUPS or VMOVUPS between vector register <paramref name="register"/> (below 8) and the memory that pointer <paramref name="pointer"/> names.</summary>
    public void MoveVector(int register, int pointer, bool ymm, bool store)
    {
        bool high = pointer >= 2;
        byte opcode = (byte)(store ? 0x11 : 0x10);
        byte modrm = (byte)((register << 3) | PointerRm[pointer]);
        if (ymm && high)
            Bytes([0xC4, 0xC1, 0x7C, opcode, modrm]);
        else if (ymm)
            Bytes([0xC5, 0xFC, opcode, modrm]);
        else if (high)
            Bytes([0x41, 0x0F, opcode, modrm]);
        else
            Bytes([0x0F, opcode, modrm]);
    }

    /// <summary>MOVUPS or VMOVUPS between XMM0/YMM0 and the context.</summary>
    public void MoveVector0(int contextOffset, bool ymm, bool store)
    {
        byte opcode = (byte)(store ? 0x11 : 0x10);
        if (ymm)
            Bytes([0xC5, 0xFC, opcode, 0x87]);
        else
            Bytes([0x0F, opcode, 0x87]);
        Displacement(contextOffset);
    }

    /// <summary>MOVQ between an MMX register and memory; a store also makes the x87 register's exponent all ones, as the hardware does.</summary>
    public void MoveMmx(int register, int pointer, bool store)
    {
        bool high = pointer >= 2;
        if (high)
            Bytes([0x41]);
        Bytes([0x0F, (byte)(store ? 0x7F : 0x6F), (byte)((register << 3) | PointerRm[pointer])]);
        if (!store)
            return;
        Bytes([0x66]);
        if (high)
            Bytes([0x41]);
        Bytes([0xC7, (byte)(0x40 | PointerRm[pointer]), 8, 0xFF, 0xFF]);
    }

    /// <summary>MOV between RAX and memory.</summary>
    public void MoveRax(int pointer, bool store)
        => Bytes([(byte)(pointer >= 2 ? 0x49 : 0x48), (byte)(store ? 0x89 : 0x8B), PointerRm[pointer]]);

    /// <summary>MOV between a register below 8 and the context.</summary>
    public void MoveContext(int register, int contextOffset, bool store)
    {
        Bytes([0x48, (byte)(store ? 0x89 : 0x8B), (byte)(0x87 | (register << 3))]);
        Displacement(contextOffset);
    }

    /// <summary>LDMXCSR or STMXCSR on the context.</summary>
    public void Mxcsr(int contextOffset, bool store)
    {
        Bytes([0x0F, 0xAE, (byte)(store ? 0x9F : 0x97)]);
        Displacement(contextOffset);
    }

    /// <summary>FXRSTOR64 or FXSAVE64 on the context.</summary>
    public void FxImage(int contextOffset, bool store)
    {
        Bytes([0x48, 0x0F, 0xAE, (byte)(store ? 0x87 : 0x8F)]);
        Displacement(contextOffset);
    }

    /// <summary>VZEROUPPER.</summary>
    public void ZeroUpper() => Bytes([0xC5, 0xF8, 0x77]);

    /// <summary>EMMS.</summary>
    public void Emms() => Bytes([0x0F, 0x77]);

    /// <summary>PUSHFQ; POP RAX.</summary>
    public void FlagsToRax() => Bytes([0x9C, 0x58]);

    /// <summary>XOR EAX, EAX.</summary>
    public void ZeroRax() => Bytes([0x31, 0xC0]);

    /// <summary>RET.</summary>
    public void Return() => Bytes([0xC3]);

    private void Displacement(int value) => Bytes([(byte)value, (byte)(value >> 8), (byte)(value >> 16), (byte)(value >> 24)]);
}
