using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>ENTER, LEAVE, PUSHA, POPA, BOUND.</summary>
internal static unsafe class StackFrames
{
    private const int Rsp = 4;
    private const int Rbp = 5;

    /// <summary>LEAVE.</summary>
    public static Op* Leave<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong frame = c->Gpr[Rbp];
        if (!TryLinear(c, frame, sizeof(T), write: false, out ulong linear) || !GuestAccess.TryReadLinear(c, linear, out T value))
            return Fault(c, op);
        SetSp(c, frame + (ulong)sizeof(T));
        Operands.Set(c, OperandOffset.Rbp, value);
        return op + 1;
    }

    /// <summary>ENTER: Imm is the size of the frame, Extra the nesting level.</summary>
    public static Op* Enter<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        uint level = op->Extra;
        ulong sp = c->Gpr[Rsp];
        ulong bp = c->Gpr[Rbp];
        ulong final = sp - ((ulong)sizeof(T) * (level + 1)) - op->Imm;
        if (!TryPush(c, ref sp, Operands.Truncate<T>(bp)))
            return Fault(c, op);
        ulong frame = sp;
        for (uint i = 1; i < level; i++)
        {
            bp -= (ulong)sizeof(T);
            if (!TryLinear(c, bp, sizeof(T), write: false, out ulong linear) || !GuestAccess.TryReadLinear(c, linear, out T link)
                || !TryPush(c, ref sp, link))
            {
                return Fault(c, op);
            }
        }
        // The last word of the new frame must be writable, even when nothing is written there.
        if ((level != 0 && !TryPush(c, ref sp, Operands.Truncate<T>(frame))) || !TryProbe<T>(c, final))
            return Fault(c, op);
        Operands.Set(c, OperandOffset.Rbp, Operands.Truncate<T>(frame));
        SetSp(c, final);
        return op + 1;
    }

    /// <summary>PUSHA, PUSHAD.</summary>
    public static Op* Pusha<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ulong sp = c->Gpr[Rsp];
        for (int i = 0; i < 8; i++)
        {
            if (!TryPush(c, ref sp, Operands.Truncate<T>(c->Gpr[i])))
                return Fault(c, op);
        }
        SetSp(c, sp);
        return op + 1;
    }

    /// <summary>POPA, POPAD.</summary>
    public static Op* Popa<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        T* values = stackalloc T[8];
        ulong sp = c->Gpr[Rsp];
        for (int i = 0; i < 8; i++, sp += (ulong)sizeof(T))
        {
            if (!TryLinear(c, sp, sizeof(T), write: false, out ulong linear) || !GuestAccess.TryReadLinear(c, linear, out values[i]))
                return Fault(c, op);
        }
        for (int i = 0; i < 8; i++)
        {
            if (i != 7 - Rsp)
                Operands.Set(c, (byte)((7 - i) * 8), values[i]);
        }
        SetSp(c, sp);
        return op + 1;
    }

    /// <summary>BOUND.</summary>
    public static Op* Bound<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (!GuestAccess.TryLinear(c, op, sizeof(T) * 2, write: false, out ulong linear)
            || !GuestAccess.TryReadLinear(c, linear, out T lower)
            || !GuestAccess.TryReadLinear(c, linear + (ulong)sizeof(T), out T upper))
        {
            return Flow.Fault(c, op);
        }
        long index = (long)Operands.Sign(Operands.Get<T>(c, op->Dst));
        return index < (long)Operands.Sign(lower) || index > (long)Operands.Sign(upper) ? Flow.Raise(c, op, Vector.Br) : op + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool TryLinear(CpuContext* c, ulong sp, int size, bool write, out ulong linear)
    {
        linear = sp & c->StackMask;
        return c->CodeBits == 64 || SegmentedAccess.TryLinear(c, SegmentIndex.Ss, ref linear, size, write);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetSp(CpuContext* c, ulong sp)
    {
        if (c->StackMask == 0xFFFF)
            *(ushort*)&c->Gpr[Rsp] = (ushort)sp;
        else
            c->Gpr[Rsp] = sp & c->StackMask;
    }

    private static Op* Fault(CpuContext* c, Op* op)
    {
        Stack.StackFault(c);
        return Flow.Fault(c, op);
    }

    private static bool TryPush<T>(CpuContext* c, ref ulong sp, T value)
        where T : unmanaged
    {
        sp -= (ulong)sizeof(T);
        return TryLinear(c, sp, sizeof(T), write: true, out ulong linear) && GuestAccess.TryWriteLinear(c, linear, value);
    }

    private static bool TryProbe<T>(CpuContext* c, ulong sp)
        where T : unmanaged
    {
        T ignored;
        return TryLinear(c, sp, sizeof(T), write: true, out ulong linear)
            && (GuestAccess.TryPin(c, linear, sizeof(T)) != null || SlowAccess.TryReadForWrite(c, linear, &ignored, sizeof(T)));
    }
}
