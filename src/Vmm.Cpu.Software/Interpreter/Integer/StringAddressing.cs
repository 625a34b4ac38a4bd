using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>Repeat prefixes of string instructions, in <see cref="Op.Extra"/>.</summary>
internal static class Repeat
{
    public const uint None = 0;

    /// <summary>REP, REPE.</summary>
    public const uint WhileEqual = 1;

    /// <summary>REPNE.</summary>
    public const uint WhileNotEqual = 2;
}

/// <summary>
/// Addressing of string instructions. <see cref="Op.Imm"/> is the mask of the address size, <see cref="Op.Segment"/> the source's segment.
/// </summary>
internal static unsafe class StringAddressing
{
    public const int Rcx = 1;
    public const int Rsi = 6;
    public const int Rdi = 7;

    /// <summary>Writes RCX, RSI or RDI in the address size.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set(CpuContext* c, Op* op, int register, ulong value)
    {
        if (op->Imm == 0xFFFF)
            *(ushort*)&c->Gpr[register] = (ushort)value;
        else
            c->Gpr[register] = value & op->Imm;
    }

    /// <summary>Moves RSI or RDI over a number of elements in the direction of DF.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Advance(CpuContext* c, Op* op, int register, ulong bytes)
        => Set(c, op, register, IsDown(c) ? c->Gpr[register] - bytes : c->Gpr[register] + bytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsDown(CpuContext* c) => (c->Rflags & Flags.Df) != 0;

    /// <summary>How many elements may be done before the run loop looks at requests: one while single-stepping.</summary>
    public static ulong Limit(CpuContext* c, ulong count) => (Volatile.Read(ref c->Request) & Requests.Step) != 0 ? Math.Min(count, 1) : count;

    /// <summary>The linear address of one element.</summary>
    /// <returns>False with #GP or #SS pending.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryLinear(CpuContext* c, Op* op, int segment, ulong offset, int size, bool write, out ulong linear)
    {
        linear = offset;
        if (op->AddressKind > AddressKind.Address32In64)
            return SegmentedAccess.TryLinear(c, segment, ref linear, size, write);
        if (segment >= SegmentIndex.Fs)
            linear += c->Segments[segment].Base;
        return true;
    }

    /// <summary>How many elements from an offset on lie within one page and do not wrap around the address size.</summary>
    /// <returns>0 when the first element crosses pages.</returns>
    public static ulong Contiguous(CpuContext* c, Op* op, int segment, ulong offset, int size, ulong count)
    {
        bool based = segment >= SegmentIndex.Fs || op->AddressKind > AddressKind.Address32In64;
        uint page = (uint)(offset + (based ? c->Segments[segment].Base : 0)) & 0xFFF;
        uint bytes = (uint)size;
        if (page + bytes > 4096)
            return 0;
        if (IsDown(c))
        {
            count = Math.Min(count, (page / bytes) + 1);
            return Math.Min(count, (offset / bytes) + 1);
        }
        count = Math.Min(count, (4096 - page) / bytes);
        ulong room = op->Imm - offset;
        return room >= 4095 ? count : Math.Min(count, (room + 1) / bytes);
    }

    /// <summary>Host address of elements that <see cref="Contiguous"/> counted, that of the lowest one.</summary>
    /// <returns>Null when the elements have to be done one by one.</returns>
    public static byte* TryPin(CpuContext* c, Op* op, int segment, ulong offset, int size, ulong count, bool write)
    {
        ulong bytes = count * (ulong)size;
        if (IsDown(c))
            offset -= bytes - (ulong)size;
        if (!TryLinear(c, op, segment, offset, (int)bytes, write, out ulong linear))
        {
            c->PendingVector = -1;
            return null;
        }
        TlbEntry* e = Tlb.Find(c->DataTlb, linear);
        if (((write ? e->TagWrite : e->TagRead) ^ linear) < 4096)
            return (byte*)linear + e->Addend;
        // Source and destination may be rivals for one entry: each is brought in when its turn comes, and a pointer once had stays good.
        if (!SlowAccess.TryFill(c, linear, write ? Access.Write : Access.Read))
        {
            c->PendingVector = -1;
            return null;
        }
        return ((write ? e->TagWrite : e->TagRead) ^ linear) < 4096 ? (byte*)linear + e->Addend : null;
    }
}
