using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;
using static Vmm.Cpu.Software.Simd.VectorOperands;

namespace Vmm.Cpu.Software.Simd;

/// <summary>x87 control instructions and the environment in its four memory formats (SDM vol. 1, 8.1.10).</summary>
internal static unsafe class X87Control
{
    private const int RegistersSize = 80;

    /// <summary>FNINIT: the data registers keep their content.</summary>
    public static Op* Init(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        Initialize(c);
        return op + 1;
    }

    /// <summary>FNCLEX.</summary>
    public static Op* ClearExceptions(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        X87State.StatusWord(c) &= 0x7F00;
        return op + 1;
    }

    /// <summary>FNENI, FNDISI, FNSETPM: nothing since the 80387.</summary>
    public static Op* Nothing(CpuContext* c, Op* op) => Closed(c, op) ? GateFault(c, op) : op + 1;

    /// <summary>FNSTCW.</summary>
    public static Op* StoreControlWord(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return GuestAccess.TryWrite(c, op, X87State.ControlWord(c)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>FNSTSW m16.</summary>
    public static Op* StoreStatusWord(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        return GuestAccess.TryWrite(c, op, X87State.StatusWord(c)) ? op + 1 : Flow.Fault(c, op);
    }

    /// <summary>FNSTSW AX.</summary>
    public static Op* StatusWordToAx(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        *(ushort*)c = X87State.StatusWord(c);
        return op + 1;
    }

    /// <summary>FLDCW.</summary>
    public static Op* LoadControlWord(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        if (!GuestAccess.TryRead(c, op, out ushort value))
            return Flow.Fault(c, op);
        X87State.ControlWord(c) = value;
        X87State.Normalize(c);
        return op + 1;
    }

    /// <summary>FNSTENV: afterwards all exceptions are masked.</summary>
    public static Op* StoreEnvironment(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        byte* image = stackalloc byte[28];
        PutEnvironment(c, op->Src == 28, image);
        if (!TryWriteImage(c, op, image, op->Src))
            return Flow.Fault(c, op);
        X87State.ControlWord(c) |= 0x3F;
        X87State.StatusWord(c) &= 0x7F7F;
        return op + 1;
    }

    /// <summary>FLDENV.</summary>
    public static Op* LoadEnvironment(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        byte* image = stackalloc byte[28];
        if (!TryReadImage(c, op, image, op->Src))
            return Flow.Fault(c, op);
        TakeEnvironment(c, op->Src == 28, image);
        X87State.Normalize(c);
        return op + 1;
    }

    /// <summary>FNSAVE: environment, registers, and FNINIT.</summary>
    public static Op* Save(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        byte* image = stackalloc byte[28 + RegistersSize];
        int environment = op->Src - RegistersSize;
        PutEnvironment(c, environment == 28, image);
        for (int i = 0; i < 8; i++)
            Unsafe.CopyBlock(image + environment + (i * 10), X87State.StackRegister(c, i), 10);
        if (!TryWriteImage(c, op, image, op->Src))
            return Flow.Fault(c, op);
        Initialize(c);
        return op + 1;
    }

    /// <summary>FRSTOR.</summary>
    public static Op* Restore(CpuContext* c, Op* op)
    {
        if (Closed(c, op))
            return GateFault(c, op);
        if (X87State.IsExceptionPending(c))
            return Flow.Raise(c, op, Interpreter.Vector.Mf);
        byte* image = stackalloc byte[28 + RegistersSize];
        int environment = op->Src - RegistersSize;
        if (!TryReadImage(c, op, image, op->Src))
            return Flow.Fault(c, op);
        TakeEnvironment(c, environment == 28, image);
        for (int i = 0; i < 8; i++)
        {
            byte* register = X87State.StackRegister(c, i);
            Unsafe.CopyBlock(register, image + environment + (i * 10), 10);
            new Span<byte>(register + 10, 6).Clear();
        }
        X87State.Normalize(c);
        return op + 1;
    }

    private static void Initialize(CpuContext* c)
    {
        X87State.SetTop(c, 0);
        X87State.ControlWord(c) = 0x37F;
        X87State.StatusWord(c) = 0;
        X87State.Tags(c) = 0;
        X87State.LastOpcode(c) = 0;
        X87State.LastInstruction(c) = 0;
        X87State.LastData(c) = 0;
    }

    private static bool TryWriteImage(CpuContext* c, Op* op, byte* image, int size)
        => GuestAccess.TryLinear(c, op, size, write: true, out ulong linear) && SlowAccess.TryWrite(c, linear, image, size, Access.Write);

    private static bool TryReadImage(CpuContext* c, Op* op, byte* image, int size)
        => GuestAccess.TryLinear(c, op, size, write: false, out ulong linear) && SlowAccess.TryRead(c, linear, image, size, Access.Read);

    private static void PutEnvironment(CpuContext* c, bool wide, byte* image)
    {
        ushort control = X87State.ControlWord(c);
        ushort status = X87State.StatusWord(c);
        ushort tags = X87State.GetFullTags(c);
        uint opcode = X87State.LastOpcode(c) & 0x7FFu;
        uint instruction = (uint)X87State.LastInstruction(c);
        uint data = (uint)X87State.LastData(c);
        bool real = Mode.IsRealOrV86(c);
        if (real)
        {
            // Real-mode formats have linear addresses.
            instruction += (uint)c->Segments[SegmentIndex.Cs].Base;
        }
        if (wide)
        {
            uint* d = (uint*)image;
            (d[0], d[1], d[2]) = (0xFFFF0000u | control, 0xFFFF0000u | status, 0xFFFF0000u | tags);
            if (real)
                (d[3], d[4], d[5], d[6]) = ((ushort)instruction, ((instruction >> 16) << 12) | opcode, (ushort)data, (data >> 16) << 12);
            else
                (d[3], d[4], d[5], d[6]) = (instruction, opcode << 16, data, 0xFFFF0000u);
            return;
        }
        ushort* w = (ushort*)image;
        (w[0], w[1], w[2]) = (control, status, tags);
        if (real)
            (w[3], w[4], w[5], w[6]) = ((ushort)instruction, (ushort)(((instruction >> 16) << 12) | opcode), (ushort)data, (ushort)((data >> 16) << 12));
        else
            (w[3], w[4], w[5], w[6]) = ((ushort)instruction, 0, (ushort)data, 0);
    }

    private static void TakeEnvironment(CpuContext* c, bool wide, byte* image)
    {
        bool real = Mode.IsRealOrV86(c);
        ushort control;
        ushort status;
        ushort tags;
        uint instruction;
        uint data;
        uint opcode = 0;
        if (wide)
        {
            uint* d = (uint*)image;
            (control, status, tags) = ((ushort)d[0], (ushort)d[1], (ushort)d[2]);
            instruction = real ? (ushort)d[3] | ((d[4] >> 12) << 16) : d[3];
            opcode = real ? d[4] : d[4] >> 16;
            data = real ? (ushort)d[5] | ((d[6] >> 12) << 16) : d[5];
        }
        else
        {
            ushort* w = (ushort*)image;
            (control, status, tags) = (w[0], w[1], w[2]);
            instruction = real ? w[3] | ((uint)(w[4] >> 12) << 16) : w[3];
            opcode = real ? w[4] : 0u;
            data = real ? w[5] | ((uint)(w[6] >> 12) << 16) : w[5];
        }
        X87State.SetTop(c, (status >> 11) & 7);
        X87State.ControlWord(c) = control;
        X87State.StatusWord(c) = status;
        X87State.SetFullTags(c, tags);
        X87State.LastOpcode(c) = (ushort)(opcode & 0x7FF);
        X87State.LastInstruction(c) = instruction;
        X87State.LastData(c) = data;
    }
}
