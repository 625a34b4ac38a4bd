using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Mmu;

/// <summary>Address formation off the fast path: FS and GS, 32-bit addresses, and segment checks outside 64-bit mode (SDM vol. 3, 5.3–5.5).</summary>
internal static unsafe class SegmentedAccess
{
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
        if (s.Flat != 0)
            return true;
        return TryChecked(c, ref s, segment, ref address, size, write);
    }

    private static bool TryChecked(CpuContext* c, ref SegmentCache s, int segment, ref ulong address, int size, bool write)
    {
        bool code = (s.Attributes & 8) != 0;
        bool readableOrWritable = (s.Attributes & 2) != 0;
        bool permitted = s.Unusable == 0 && (write ? !code && readableOrWritable : !code || readableOrWritable);
        ulong last = address + (ulong)(size - 1);
        bool within;
        if (!code && (s.Attributes & 4) != 0)
            within = address > s.Limit && last <= ((s.Attributes & 0x4000) != 0 ? 0xFFFFFFFFUL : 0xFFFFUL);
        else
            within = last <= s.Limit;
        if (!permitted || !within)
        {
            Interpreter.Flow.SetPending(c, segment == SegmentIndex.Ss ? Interpreter.Vector.Ss : Interpreter.Vector.Gp, 0);
            return false;
        }
        address = (uint)(address + s.Base);
        return true;
    }
}
