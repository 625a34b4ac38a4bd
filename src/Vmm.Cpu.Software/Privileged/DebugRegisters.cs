using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>MOV to and from DRn (SDM vol. 2, MOV—Move to/from Debug Registers; vol. 3, 18.2). Imm is the register's number.</summary>
internal static unsafe class DebugRegisters
{
    private const ulong Dr6Fixed = 0xFFFF0FF0;
    private const ulong Dr6Writable = 0xE00F;
    private const ulong Dr7Writable = 0xFFFF23FF;

    /// <summary>DR6 after reset.</summary>
    public const ulong Dr6Reset = 0xFFFF0FF0;

    /// <summary>DR7 after reset.</summary>
    public const ulong Dr7Reset = 0x400;

    /// <summary>MOV r, DRn.</summary>
    public static Op* Read(CpuContext* c, Op* op)
    {
        if (!TrySelect(c, op, out int register))
            return Flow.Fault(c, op);
        ulong value = register switch
        {
            6 => c->Dr6,
            7 => c->Dr7,
            _ => c->Dr[register],
        };
        SegmentInstructions.SetRegister(c, op->Dst, value, (int)op->Extra);
        return op + 1;
    }

    /// <summary>MOV DRn, r.</summary>
    public static Op* Write(CpuContext* c, Op* op)
    {
        if (!TrySelect(c, op, out int register))
            return Flow.Fault(c, op);
        ulong value = op->Extra == 8 ? Operands.Get<ulong>(c, op->Src) : Operands.Get<uint>(c, op->Src);
        if (register >= 6 && value >> 32 != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        switch (register)
        {
            case 6:
                c->Dr6 = ToDr6(value);
                break;
            case 7:
                SetDr7(c, ToDr7(value));
                break;
            default:
                c->Dr[register] = value;
                break;
        }
        return Flow.Leave(c, op);
    }

    /// <summary>DR6 with its fixed bits.</summary>
    public static ulong ToDr6(ulong value) => (value & Dr6Writable) | Dr6Fixed;

    /// <summary>DR7 with its fixed bits.</summary>
    public static ulong ToDr7(ulong value) => (value & Dr7Writable) | Dr7Reset;

    // While breakpoints are enabled the TLBs stay empty, so that every access is looked at.
    private static void SetDr7(CpuContext* c, ulong value)
    {
        bool enabled = (c->Dr7 & Debugging.EnableBits) != 0;
        c->Dr7 = value;
        if (!enabled && (value & Debugging.EnableBits) != 0)
            Paging.FlushAll(c);
    }

    private static bool TrySelect(CpuContext* c, Op* op, out int register)
    {
        register = (int)op->Imm;
        if (register is 4 or 5)
        {
            if ((c->Cr4 & Mode.Cr4De) != 0)
            {
                Flow.SetPending(c, Vector.Ud);
                return false;
            }
            register += 2;
        }
        if (c->Cpl != 0)
            return Segments.FailZero(c, Vector.Gp);
        if ((c->Dr7 & Debugging.GeneralDetect) == 0)
            return true;
        Debugging.RaiseGeneralDetect(c);
        return false;
    }
}
