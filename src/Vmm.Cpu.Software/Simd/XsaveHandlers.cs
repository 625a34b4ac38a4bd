using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>
/// FXSAVE, FXRSTOR (SDM vol. 1, 10.5) and the XSAVE family (SDM vol. 1, chapter 13). <see cref="Op.Extra"/> bit 8 is REX.W: 64-bit instruction and data pointers.
/// CPUID says that FCS and FDS are not saved, so the 32-bit forms store zeros.
/// </summary>
internal static unsafe class XsaveHandlers
{
    /// <summary><see cref="Op.Extra"/>: REX.W.</summary>
    public const uint Wide = 0x100;

    /// <summary><see cref="Op.Extra"/>: XSAVEOPT.</summary>
    public const uint Optimized = 0x200;

    /// <summary><see cref="Op.Extra"/>: XSAVEC.</summary>
    public const uint Compacted = 0x400;

    private const int X87Size = 24;
    private const int RegistersOffset = 32;
    private const int XmmOffset = 160;
    private const int FxSize = 512;
    private const ulong CompactedFormat = 1UL << 63;

    /// <summary>FXSAVE. Bytes 464–511 are not written.</summary>
    public static Op* FxSave(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return Flow.Raise(c, op, Interpreter.Vector.Nm);
        if (!TryArea(c, op, FxSize, 15, write: true, out ulong linear))
            return Flow.Fault(c, op);
        byte* image = stackalloc byte[FxSize];
        if (!SlowAccess.TryReadForWrite(c, linear, image, FxSize))
            return Flow.Fault(c, op);
        PutX87(c, op, image);
        PutMxcsr(c, image);
        PutXmm(c, image);
        return SlowAccess.TryWrite(c, linear, image, FxSize, Access.Write) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>FXRSTOR.</summary>
    public static Op* FxRestore(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return Flow.Raise(c, op, Interpreter.Vector.Nm);
        byte* image = stackalloc byte[FxSize];
        if (!TryArea(c, op, FxSize, 15, write: false, out ulong linear) || !SlowAccess.TryRead(c, linear, image, FxSize, Access.Read))
            return Flow.Fault(c, op);
        uint mxcsr = *(uint*)(image + 24);
        if ((mxcsr & ~VectorState.MxcsrMask) != 0)
            return Flow.Raise(c, op, Interpreter.Vector.Gp, 0);
        TakeX87(c, op, image);
        TakeXmm(c, image);
        c->Mxcsr = mxcsr;
        return op + 1;
    }

    /// <summary>XSAVE, XSAVEOPT, XSAVEC.</summary>
    public static Op* Save(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        ulong wanted = Requested(c);
        int size = (wanted & VectorState.Avx) != 0 ? VectorState.XsaveSize : VectorState.AvxOffset;
        if (!TryArea(c, op, size, 63, write: true, out ulong linear))
            return Flow.Fault(c, op);
        byte* image = stackalloc byte[VectorState.XsaveSize];
        if (!SlowAccess.TryReadForWrite(c, linear, image, size))
            return Flow.Fault(c, op);
        bool compacted = (op->Extra & Compacted) != 0;
        ulong inUse = VectorState.InUse(c);
        if (compacted && c->Mxcsr != VectorState.DefaultMxcsr)
            inUse |= VectorState.Sse;
        ulong stored = (op->Extra & (Optimized | Compacted)) != 0 ? wanted & inUse : wanted;
        if ((stored & VectorState.X87) != 0)
            PutX87(c, op, image);
        if (compacted ? (stored & VectorState.Sse) != 0 : (wanted & (VectorState.Sse | VectorState.Avx)) != 0)
            PutMxcsr(c, image);
        if ((stored & VectorState.Sse) != 0)
            PutXmm(c, image);
        if ((stored & VectorState.Avx) != 0)
            PutYmm(c, image);
        ref ulong present = ref *(ulong*)(image + VectorState.HeaderOffset);
        if (compacted)
        {
            present = wanted & inUse;
            *(ulong*)(image + VectorState.HeaderOffset + 8) = wanted | CompactedFormat;
        }
        else
        {
            present = (present & ~wanted) | (wanted & inUse);
        }
        return SlowAccess.TryWrite(c, linear, image, size, Access.Write) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>XRSTOR, from the standard or the compacted format (SDM vol. 1, 13.8).</summary>
    public static Op* Restore(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        byte* image = stackalloc byte[VectorState.XsaveSize];
        if (!TryArea(c, op, VectorState.AvxOffset, 63, write: false, out ulong linear)
            || !SlowAccess.TryRead(c, linear, image, VectorState.AvxOffset, Access.Read))
        {
            return Flow.Fault(c, op);
        }
        ulong wanted = Requested(c);
        byte* header = image + VectorState.HeaderOffset;
        ulong present = *(ulong*)header;
        ulong format = *(ulong*)(header + 8);
        bool compacted = (format & CompactedFormat) != 0;
        ulong loaded = wanted & present;
        bool loadsMxcsr = compacted ? (loaded & VectorState.Sse) != 0 : (wanted & (VectorState.Sse | VectorState.Avx)) != 0;
        uint mxcsr = *(uint*)(image + 24);
        if (!IsHeaderValid(c, header, present, format) || (loadsMxcsr && (mxcsr & ~VectorState.MxcsrMask) != 0))
            return Flow.Raise(c, op, Interpreter.Vector.Gp, 0);
        bool ymm = (loaded & VectorState.Avx) != 0;
        int ymmSize = VectorState.XsaveSize - VectorState.AvxOffset;
        if (ymm && !SlowAccess.TryRead(c, linear + VectorState.AvxOffset, image + VectorState.AvxOffset, ymmSize, Access.Read))
            return Flow.Fault(c, op);
        if (loadsMxcsr)
            c->Mxcsr = mxcsr;
        else if ((wanted & VectorState.Sse) != 0)
            c->Mxcsr = VectorState.DefaultMxcsr;
        Take(c, op, image, wanted, loaded);
        return op + 1;
    }

    private static void Take(CpuContext* c, Op* op, byte* image, ulong wanted, ulong loaded)
    {
        if ((loaded & VectorState.X87) != 0)
            TakeX87(c, op, image);
        else if ((wanted & VectorState.X87) != 0)
            VectorState.ResetX87(c);
        if ((wanted & VectorState.Sse) != 0)
        {
            if ((loaded & VectorState.Sse) == 0)
                new Span<byte>(image + XmmOffset, 256).Clear();
            TakeXmm(c, image);
        }
        if ((wanted & VectorState.Avx) == 0)
            return;
        if ((loaded & VectorState.Avx) == 0)
            new Span<byte>(image + VectorState.AvxOffset, 256).Clear();
        for (int i = 0; i < Registers(c); i++)
            Unsafe.CopyBlock(&c->Vectors.First + (i * 32) + 16, image + VectorState.AvxOffset + (i * 16), 16);
    }

    private static bool IsHeaderValid(CpuContext* c, byte* header, ulong present, ulong format)
    {
        var reserved = new ReadOnlySpan<byte>(header + 16, 48);
        if ((format & CompactedFormat) == 0)
            return (present & ~c->Xcr0) == 0 && format == 0 && !reserved[..8].ContainsAnyExcept((byte)0);
        ulong components = format & ~CompactedFormat;
        return (components & ~c->Xcr0) == 0 && (present & ~components) == 0 && !reserved.ContainsAnyExcept((byte)0);
    }

    private static ulong Requested(CpuContext* c) => ((uint)c->Gpr[0] | (c->Gpr[2] << 32)) & c->Xcr0;

    private static bool TryArea(CpuContext* c, Op* op, int size, ulong alignment, bool write, out ulong linear)
    {
        if (!GuestAccess.TryLinear(c, op, size, write, out linear))
            return false;
        if ((linear & alignment) == 0)
            return true;
        Flow.SetPending(c, Interpreter.Vector.Gp, 0);
        return false;
    }

    private static int Registers(CpuContext* c) => c->CodeBits == 64 ? 16 : 8;

    private static void PutX87(CpuContext* c, Op* op, byte* image)
    {
        byte* fx = &c->Fx.First;
        Unsafe.CopyBlock(image, fx, X87Size);
        if ((op->Extra & Wide) == 0)
        {
            *(uint*)(image + 12) = 0;
            *(uint*)(image + 20) = 0;
        }
        Unsafe.CopyBlock(image + RegistersOffset, fx + RegistersOffset, 128);
    }

    private static void TakeX87(CpuContext* c, Op* op, byte* image)
    {
        byte* fx = &c->Fx.First;
        Unsafe.CopyBlock(fx, image, X87Size);
        fx[5] = 0;
        X87State.LastOpcode(c) &= 0x7FF;
        if ((op->Extra & Wide) == 0)
        {
            *(uint*)(fx + 12) = 0;
            *(uint*)(fx + 20) = 0;
        }
        Unsafe.CopyBlock(fx + RegistersOffset, image + RegistersOffset, 128);
        X87State.Normalize(c);
    }

    private static void PutMxcsr(CpuContext* c, byte* image)
    {
        *(uint*)(image + 24) = c->Mxcsr;
        *(uint*)(image + 28) = VectorState.MxcsrMask;
    }

    private static void PutXmm(CpuContext* c, byte* image)
    {
        for (int i = 0; i < Registers(c); i++)
            Unsafe.CopyBlock(image + XmmOffset + (i * 16), &c->Vectors.First + (i * 32), 16);
    }

    private static void TakeXmm(CpuContext* c, byte* image)
    {
        for (int i = 0; i < Registers(c); i++)
            Unsafe.CopyBlock(&c->Vectors.First + (i * 32), image + XmmOffset + (i * 16), 16);
    }

    private static void PutYmm(CpuContext* c, byte* image)
    {
        for (int i = 0; i < Registers(c); i++)
            Unsafe.CopyBlock(image + VectorState.AvxOffset + (i * 16), &c->Vectors.First + (i * 32) + 16, 16);
    }
}
