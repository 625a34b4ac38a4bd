using System.Runtime.CompilerServices;
using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>What a lowering gets: the decoded instruction and the op to fill, with addressing, length and offsets already in place.</summary>
internal unsafe ref struct LoweringContext
{
    /// <summary>The instruction, decoded with IP = its offset from the start of the block (so branch targets and RIP-relative addresses are relative).</summary>
    public ref Instruction Instruction;

    /// <summary>The op; <see cref="Op.Handler"/>, operands and immediates are the lowering's to fill.</summary>
    public Op* Op;

    /// <summary>16, 32 or 64.</summary>
    public int CodeBits;

    /// <summary>Set by the lowering when nothing may follow in the block: branches, and everything that returns through Flow.Leave/Goto.</summary>
    public bool EndsBlock;

    /// <summary>The instruction's bytes, for stubs and messages.</summary>
    public ReadOnlySpan<byte> Bytes;

    /// <summary>The CPU that decodes.</summary>
    public SoftwareCpu Cpu;
}

/// <summary>
/// Turns decoded instructions into ops. The families are in files of their own; each fills the op and returns true, or returns false when the
/// instruction is not one of its own. What no family knows raises #UD in the guest.
/// </summary>
internal static unsafe partial class Lowering
{
    /// <summary>Fills the op of one instruction.</summary>
    public static void Lower(ref LoweringContext l)
    {
        LowerMemoryOperand(ref l);
        if (LowerCore(ref l) || LowerInteger(ref l) || LowerVector(ref l) || LowerX87(ref l) || LowerSystem(ref l))
            return;
        l.Op->Handler = &Undefined;
        l.EndsBlock = true;
    }

    /// <summary>Fills the op for bytes that are no instruction: #UD, or #GP(0) when it would be longer than 15 bytes.</summary>
    public static void LowerInvalid(ref LoweringContext l, bool tooLong)
    {
        l.Op->Handler = tooLong ? &TooLong : &Undefined;
        l.EndsBlock = true;
    }

    private static Op* TooLong(CpuContext* c, Op* op) => Flow.Raise(c, op, Vector.Gp, 0);

    /// <summary>Byte offset of a general register in the context, AH–BH included.</summary>
    public static byte OffsetOf(Register register) => register switch
    {
        >= Register.RAX and <= Register.R15 => (byte)((register - Register.RAX) * 8),
        >= Register.EAX and <= Register.R15D => (byte)((register - Register.EAX) * 8),
        >= Register.AX and <= Register.R15W => (byte)((register - Register.AX) * 8),
        >= Register.AL and <= Register.BL => (byte)((register - Register.AL) * 8),
        >= Register.AH and <= Register.BH => (byte)(((register - Register.AH) * 8) + 1),
        >= Register.SPL and <= Register.R15L => (byte)((register - Register.SPL + 4) * 8),
        Register.RIP or Register.EIP => OperandOffset.BlockRip,
        _ => OperandOffset.Zero,
    };

    private static Op* Undefined(CpuContext* c, Op* op)
    {
        SoftwareCpu.From(c).ReportUndefined(c, op);
        return Flow.Raise(c, op, Vector.Ud);
    }

    // Addressing is common to all families. Far-pointer and string operands have no memory displacement form and set up their own.
    private static void LowerMemoryOperand(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        op->Base = OffsetOf(i.MemoryBase);
        op->Index = OffsetOf(i.MemoryIndex);
        op->Scale = (byte)System.Numerics.BitOperations.Log2((uint)i.MemoryIndexScale);
        op->Disp = (long)i.MemoryDisplacement64;
        Register segment = i.MemorySegment;
        op->Segment = segment == Register.None ? (byte)SegmentIndex.Ds : (byte)(segment - Register.ES);
        bool based = op->Segment >= SegmentIndex.Fs;
        bool address32 = IsAddress32(ref i);
        if (l.CodeBits == 64)
            op->AddressKind = address32 ? AddressKind.Address32In64 : based ? AddressKind.Based64 : AddressKind.Flat64;
        else
            op->AddressKind = IsAddress16(ref i, l.CodeBits) ? AddressKind.Legacy16 : AddressKind.Legacy32;
    }

    private static bool IsAddress32(ref Instruction i)
    {
        if (i.MemoryBase is (>= Register.EAX and <= Register.R15D) or Register.EIP)
            return true;
        if (i.MemoryIndex is >= Register.EAX and <= Register.R15D)
            return true;
        return i.MemoryBase == Register.None && i.MemoryIndex == Register.None && i.MemoryDisplSize == 4;
    }

    private static bool IsAddress16(ref Instruction i, int codeBits)
    {
        if (i.MemoryBase != Register.None || i.MemoryIndex != Register.None)
            return i.MemoryBase is >= Register.AX and <= Register.R15W || i.MemoryIndex is >= Register.AX and <= Register.R15W;
        return i.MemoryDisplSize == 2 || (i.MemoryDisplSize == 0 && codeBits == 16);
    }
}
