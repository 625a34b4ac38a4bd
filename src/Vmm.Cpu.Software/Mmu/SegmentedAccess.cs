using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Address formation off the fast path: FS and GS, 32-bit addresses, and segment checks outside 64-bit mode (SDM vol. 3, 5.3–5.5).</summary>
internal static unsafe class SegmentedAccess
{
    /// <summary>As the other, with <see cref="CpuContext.AccessLinear"/> as the address.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool TryLinear(CpuContext* c, Op* op, int size, bool write) => TryLinear(c, op, ref c->AccessLinear, size, write);

    /// <summary>Turns an untruncated effective address into a linear one, checking the segment.</summary>
    /// <returns>False with #GP or #SS pending.</returns>
    public static bool TryLinear(CpuContext* c, Op* op, ref ulong address, int size, bool write)
    {
        ref SegmentCache s = ref c->Segments[op->Segment];
        switch (op->AddressKind)
        {
            case AddressKind.Based64:
                address += s.Base;
                return true;
            case AddressKind.Address32In64:
                address = (uint)address;
                if (op->Segment >= SegmentIndex.Fs)
                    address += s.Base;
                return true;
            case AddressKind.Legacy32:
                address = (uint)address;
                break;
            default:
                address = (ushort)address;
                break;
        }
        return TryLinear(c, op->Segment, ref address, size, write);
    }

    /// <summary>Checks an offset in a segment outside 64-bit mode and turns it into a linear address.</summary>
    /// <returns>False with #GP(0) or #SS(0) pending.</returns>
    public static bool TryLinear(CpuContext* c, int segment, ref ulong address, int size, bool write)
    {
        ref SegmentCache s = ref c->Segments[segment];
        // An access past 4 GiB does not wrap around: it exceeds the limit.
        if (s.Flat != 0 && address + (ulong)(size - 1) <= uint.MaxValue)
            return true;
        return TryChecked(c, s, segment == SegmentIndex.Ss ? Vector.Ss : Vector.Gp, 0, ref address, size, write);
    }

    /// <summary>Checks type and limit of a segment (SDM vol. 3, 5.3 and 5.5) and adds its base.</summary>
    /// <param name="c">The CPU.</param>
    /// <param name="s">The segment.</param>
    /// <param name="vector">What to raise: #GP, or #SS for a stack.</param>
    /// <param name="error">Its error code.</param>
    /// <param name="address">Offset in, linear address out.</param>
    /// <param name="size">Bytes.</param>
    /// <param name="write">A write.</param>
    public static bool TryChecked(CpuContext* c, in SegmentCache s, int vector, uint error, ref ulong address, int size, bool write)
    {
        bool code = (s.Attributes & 8) != 0;
        bool readableOrWritable = (s.Attributes & 2) != 0;
        bool permitted = s.Unusable == 0 && (write ? !code && readableOrWritable : !code || readableOrWritable);
        // In real mode CS can be written: loading it leaves a data type behind, but before the first load it still has that of protected mode.
        if (!permitted && s.Unusable == 0 && (c->Cr0 & Mode.Cr0Pe) == 0)
            permitted = true;
        ulong last = address + (ulong)(size - 1);
        bool within;
        if (!code && (s.Attributes & 4) != 0)
            within = address > s.Limit && last <= ((s.Attributes & 0x4000) != 0 ? 0xFFFFFFFFUL : 0xFFFFUL);
        else
            within = last <= s.Limit;
        if (!permitted || !within)
        {
            Flow.SetPending(c, vector, error);
            return false;
        }
        address = (uint)(address + s.Base);
        return true;
    }
}
