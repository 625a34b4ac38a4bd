using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>
/// A stack that far transfers and events push to and pop from before anything of them is committed: the current one, or that of
/// another privilege level.
/// </summary>
internal unsafe struct GuestStack
{
    /// <summary>The stack pointer, whole register.</summary>
    public ulong Pointer;

    /// <summary>Which bits of the pointer count (SS.B; 64-bit mode).</summary>
    public ulong Mask;

    /// <summary>The stack segment; not looked at when <see cref="Is64"/>.</summary>
    public SegmentCache Segment;

    /// <summary>64-bit stack: no segment.</summary>
    public bool Is64;

    /// <summary>The stack of a supervisor level, while the CPL is still 3.</summary>
    public bool Implicit;

    /// <summary>Error code of #SS: 0 for the current stack, the selector for a new one.</summary>
    public uint Error;

    /// <summary>The stack that SS:RSP point to now.</summary>
    public static GuestStack Current(CpuContext* c) => new()
    {
        Pointer = c->Gpr[4],
        Mask = c->StackMask,
        Segment = c->Segments[SegmentIndex.Ss],
        Is64 = c->CodeBits == 64,
    };

    /// <summary>A 64-bit stack at a given level.</summary>
    public static GuestStack Long(CpuContext* c, ulong pointer, int cpl) => new()
    {
        Pointer = pointer,
        Mask = ulong.MaxValue,
        Is64 = true,
        Implicit = c->Cpl == 3 && cpl != 3,
    };

    /// <summary>The stack of another level in a given segment.</summary>
    public static GuestStack Inner(CpuContext* c, in SegmentCache ss, ulong pointer, int cpl) => new()
    {
        Pointer = pointer,
        Mask = (ss.Attributes & Descriptor.DefaultBit) != 0 ? 0xFFFFFFFF : 0xFFFF,
        Segment = ss,
        Implicit = c->Cpl == 3 && cpl != 3,
        Error = ss.Selector & 0xFFFCu,
    };

    /// <summary>Pushes 2, 4 or 8 bytes.</summary>
    /// <returns>False with an exception pending.</returns>
    public bool TryPush(CpuContext* c, ulong value, int size)
    {
        Move(-size);
        if (!TryLinear(c, 0, size, write: true, out ulong linear))
            return false;
        if (Implicit)
        {
            return size switch
            {
                2 => SystemMemory.TryWrite(c, linear, (ushort)value),
                4 => SystemMemory.TryWrite(c, linear, (uint)value),
                _ => SystemMemory.TryWrite(c, linear, value),
            };
        }
        return size switch
        {
            2 => GuestAccess.TryWriteLinear(c, linear, (ushort)value),
            4 => GuestAccess.TryWriteLinear(c, linear, (uint)value),
            _ => GuestAccess.TryWriteLinear(c, linear, value),
        };
    }

    /// <summary>Pops 2, 4 or 8 bytes.</summary>
    /// <returns>False with an exception pending.</returns>
    public bool TryPop(CpuContext* c, out ulong value, int size)
    {
        if (!TryPeek(c, 0, out value, size))
            return false;
        Move(size);
        return true;
    }

    /// <summary>Reads the stack at an offset from the pointer without popping.</summary>
    public readonly bool TryPeek(CpuContext* c, int offset, out ulong value, int size)
    {
        value = 0;
        if (!TryLinear(c, offset, size, write: false, out ulong linear))
            return false;
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

    /// <summary>Moves the pointer by a number of bytes.</summary>
    public void Move(int bytes) => Pointer = (Pointer & ~Mask) | ((Pointer + (ulong)bytes) & Mask);

    /// <summary>Puts the pointer into RSP (ESP, SP: the upper part of ESP stays with a 16-bit stack).</summary>
    public readonly void CommitPointer(CpuContext* c) => c->Gpr[4] = Mask == 0xFFFFFFFF ? (uint)Pointer : Pointer;

    private readonly bool TryLinear(CpuContext* c, int offset, int size, bool write, out ulong linear)
    {
        linear = (Pointer + (ulong)offset) & Mask;
        if (Is64)
        {
            if (SystemMemory.IsCanonical(linear) && SystemMemory.IsCanonical(linear + (ulong)(size - 1)))
                return true;
            Flow.SetPending(c, Vector.Ss, Error);
            return false;
        }
        if (Segment.Flat != 0)
            return true;
        return SegmentedAccess.TryChecked(c, Segment, Vector.Ss, Error, ref linear, size, write);
    }
}
