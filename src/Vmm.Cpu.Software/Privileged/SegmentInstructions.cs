using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>MOV, PUSH and POP of segment registers, far pointer loads, LAR, LSL, VERR, VERW, ARPL. Imm is the segment register, Extra the operand size.</summary>
internal static unsafe class SegmentInstructions
{
    private const ulong LarTypesLegacy = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
    private const ulong LarTypesLong = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12);
    private const ulong LslTypesLegacy = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);
    private const ulong LslTypesLong = (1 << 2) | (1 << 9) | (1 << 11);

    /// <summary>MOV Sreg, r16.</summary>
    public static Op* MovToFromRegister(CpuContext* c, Op* op) => MovTo(c, op, Operands.Get<ushort>(c, op->Src));

    /// <summary>MOV Sreg, m16.</summary>
    public static Op* MovToFromMemory(CpuContext* c, Op* op)
        => GuestAccess.TryRead(c, op, out ushort selector) ? MovTo(c, op, selector) : Flow.Fault(c, op);

    /// <summary>MOV r, Sreg.</summary>
    public static Op* MovFromToRegister(CpuContext* c, Op* op)
    {
        StoreRegister(c, op, c->Segments[(int)op->Imm].Selector);
        return op + 1;
    }

    /// <summary>MOV m16, Sreg.</summary>
    public static Op* MovFromToMemory(CpuContext* c, Op* op)
        => GuestAccess.TryWrite(c, op, c->Segments[(int)op->Imm].Selector) ? op + 1 : Flow.Fault(c, op);

    /// <summary>PUSH Sreg.</summary>
    public static Op* Push(CpuContext* c, Op* op)
    {
        var stack = GuestStack.Current(c);
        if (!stack.TryPush(c, c->Segments[(int)op->Imm].Selector, (int)op->Extra))
            return Flow.Fault(c, op);
        stack.CommitPointer(c);
        return op + 1;
    }

    /// <summary>POP Sreg.</summary>
    public static Op* Pop(CpuContext* c, Op* op)
    {
        var stack = GuestStack.Current(c);
        if (!stack.TryPop(c, out ulong selector, (int)op->Extra) || !Segments.TryLoad(c, (int)op->Imm, (ushort)selector))
            return Flow.Fault(c, op);
        stack.CommitPointer(c);
        return AfterLoad(c, op, shadow: true);
    }

    /// <summary>LDS, LES, LFS, LGS, LSS.</summary>
    public static Op* LoadFarPointer(CpuContext* c, Op* op)
    {
        if (!TryReadFarPointer(c, op, out ushort selector, out ulong offset) || !Segments.TryLoad(c, (int)op->Imm, selector))
            return Flow.Fault(c, op);
        SetRegister(c, op->Dst, offset, (int)op->Extra);
        return AfterLoad(c, op, shadow: false);
    }

    /// <summary>Reads an offset of Extra bytes and the selector behind it.</summary>
    public static bool TryReadFarPointer(CpuContext* c, Op* op, out ushort selector, out ulong offset)
    {
        int size = (int)op->Extra;
        selector = 0;
        offset = 0;
        if (!GuestAccess.TryLinear(c, op, size + 2, write: false, out ulong linear))
            return false;
        if (!TryReadSized(c, linear, size, out offset))
            return false;
        ulong second = c->CodeBits == 64 ? linear + (ulong)size : (uint)(linear + (ulong)size);
        return GuestAccess.TryReadLinear(c, second, out selector);
    }

    /// <summary>LAR: Extra is the destination's size, Disp of the op the memory operand if <see cref="Op.Imm"/> is 1.</summary>
    public static Op* Lar(CpuContext* c, Op* op)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        if (!TryReadSelector(c, op, out ushort selector) || !TryInspect(c, selector, LarTypesLegacy, LarTypesLong, out bool ok, out Descriptor d))
            return Flow.Fault(c, op);
        if (ok)
            SetRegister(c, op->Dst, (d.Raw >> 32) & 0x00FFFF00, (int)op->Extra);
        SetZf(c, ok);
        return op + 1;
    }

    /// <summary>LSL.</summary>
    public static Op* Lsl(CpuContext* c, Op* op)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        if (!TryReadSelector(c, op, out ushort selector) || !TryInspect(c, selector, LslTypesLegacy, LslTypesLong, out bool ok, out Descriptor d))
            return Flow.Fault(c, op);
        if (ok)
            SetRegister(c, op->Dst, d.Limit, (int)op->Extra);
        SetZf(c, ok);
        return op + 1;
    }

    /// <summary>VERR.</summary>
    public static Op* Verr(CpuContext* c, Op* op) => Verify(c, op, write: false);

    /// <summary>VERW.</summary>
    public static Op* Verw(CpuContext* c, Op* op) => Verify(c, op, write: true);

    /// <summary>ARPL.</summary>
    public static Op* Arpl(CpuContext* c, Op* op)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        int rpl = Operands.Get<ushort>(c, op->Src) & 3;
        bool memory = op->Imm != 0;
        ushort selector = 0;
        ulong linear = 0;
        if (!memory)
            selector = Operands.Get<ushort>(c, op->Dst);
        else if (!GuestAccess.TryLinear(c, op, 2, write: true, out linear) || !SlowAccess.TryReadForWrite(c, linear, &selector, 2))
            return Flow.Fault(c, op);
        bool adjust = (selector & 3) < rpl;
        if (adjust)
        {
            selector = (ushort)((selector & 0xFFFC) | rpl);
            if (!memory)
                Operands.Set(c, op->Dst, selector);
            else if (!GuestAccess.TryWriteLinear(c, linear, selector))
                return Flow.Fault(c, op);
        }
        SetZf(c, adjust);
        return op + 1;
    }

    /// <summary>Reads a 16-bit operand from memory (Imm is 1) or from the source register.</summary>
    public static bool TryReadSelector(CpuContext* c, Op* op, out ushort selector)
    {
        if (op->Imm != 0)
            return GuestAccess.TryRead(c, op, out selector);
        selector = Operands.Get<ushort>(c, op->Src);
        return true;
    }

    /// <summary>Writes a register of 2, 4 or 8 bytes.</summary>
    public static void SetRegister(CpuContext* c, byte offset, ulong value, int size)
    {
        switch (size)
        {
            case 2:
                Operands.Set(c, offset, (ushort)value);
                break;
            case 4:
                Operands.Set(c, offset, (uint)value);
                break;
            default:
                Operands.Set(c, offset, value);
                break;
        }
    }

    /// <summary>Reads 2, 4 or 8 bytes.</summary>
    public static bool TryReadSized(CpuContext* c, ulong linear, int size, out ulong value)
    {
        bool done;
        switch (size)
        {
            case 2:
                done = GuestAccess.TryReadLinear(c, linear, out ushort v16);
                value = v16;
                return done;
            case 4:
                done = GuestAccess.TryReadLinear(c, linear, out uint v32);
                value = v32;
                return done;
            default:
                return GuestAccess.TryReadLinear(c, linear, out value);
        }
    }

    private static Op* MovTo(CpuContext* c, Op* op, ushort selector)
        => Segments.TryLoad(c, (int)op->Imm, selector) ? AfterLoad(c, op, shadow: true) : Flow.Fault(c, op);

    // MOV SS and POP SS hold off interrupts and debug traps for one instruction; loading SS by LSS does not.
    private static Op* AfterLoad(CpuContext* c, Op* op, bool shadow)
    {
        if ((int)op->Imm != SegmentIndex.Ss)
            return op + 1;
        if (shadow)
            c->Shadow = 2;
        Mode.Update(c);
        return Flow.Leave(c, op);
    }

    private static void StoreRegister(CpuContext* c, Op* op, ushort value) => SetRegister(c, op->Dst, value, (int)op->Extra);

    private static Op* Verify(CpuContext* c, Op* op, bool write)
    {
        if (Mode.IsRealOrV86(c))
            return Flow.Raise(c, op, Vector.Ud);
        if (!TryReadSelector(c, op, out ushort selector) || !TryInspect(c, selector, 0, 0, out bool ok, out Descriptor d))
            return Flow.Fault(c, op);
        SetZf(c, ok && (write ? d.IsWritableData : d.IsReadable));
        return op + 1;
    }

    // Fetches a descriptor for LAR and the like: what is not visible is not ok, but faults only if the table itself cannot be read.
    private static bool TryInspect(CpuContext* c, ushort selector, ulong typesLegacy, ulong typesLong, out bool ok, out Descriptor d)
    {
        ok = false;
        d = default;
        if ((selector & 0xFFFC) == 0 || !Segments.TryLocate(c, selector, 8, out ulong address))
            return true;
        if (!SystemMemory.TryRead(c, address, out ulong raw))
            return false;
        d = new Descriptor(raw);
        ulong types = Mode.IsLong(c) ? typesLong : typesLegacy;
        bool conforming = d.IsCode && d.IsConforming;
        bool known = d.IsSegment || ((types >> d.Type) & 1) != 0;
        ok = known && (conforming || (d.Dpl >= c->Cpl && d.Dpl >= (selector & 3)));
        return true;
    }

    private static void SetZf(CpuContext* c, bool value)
        => Flags.SetArithmetic(c, (Flags.GetArithmetic(c) & ~Flags.Zf) | (value ? Flags.Zf : 0));
}
