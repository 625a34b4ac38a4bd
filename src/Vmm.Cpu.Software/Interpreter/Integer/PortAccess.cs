using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>IN, OUT, INS, OUTS, and who may use them (SDM vol. 1, 19.5).</summary>
internal static unsafe class PortAccess
{
    /// <summary>IN accumulator, imm8.</summary>
    public static Op* InImmediate<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => In<T>(c, op, (ushort)op->Imm);

    /// <summary>IN accumulator, DX.</summary>
    public static Op* InDx<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => In<T>(c, op, (ushort)c->Gpr[2]);

    /// <summary>OUT imm8, accumulator.</summary>
    public static Op* OutImmediate<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Out<T>(c, op, (ushort)op->Imm);

    /// <summary>OUT DX, accumulator.</summary>
    public static Op* OutDx<T>(CpuContext* c, Op* op)
        where T : unmanaged
        => Out<T>(c, op, (ushort)c->Gpr[2]);

    /// <summary>INS with and without REP.</summary>
    public static Op* Ins<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (op->Extra == Repeat.None)
            return TryInOne<T>(c, op) ? Next(c, op) : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            if (!TryInOne<T>(c, op))
                return Flow.Fault(c, op);
            StringAddressing.Set(c, op, StringAddressing.Rcx, --count);
            if (Volatile.Read(ref c->Request) != 0)
                return count == 0 ? Flow.Leave(c, op) : Flow.Restart(c, op);
        }
    }

    /// <summary>OUTS with and without REP.</summary>
    public static Op* Outs<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        if (op->Extra == Repeat.None)
            return TryOutOne<T>(c, op) ? Next(c, op) : Flow.Fault(c, op);
        while (true)
        {
            ulong count = c->Gpr[StringAddressing.Rcx] & op->Imm;
            if (count == 0)
                return op + 1;
            if (!TryOutOne<T>(c, op))
                return Flow.Fault(c, op);
            StringAddressing.Set(c, op, StringAddressing.Rcx, --count);
            if (Volatile.Read(ref c->Request) != 0)
                return count == 0 ? Flow.Leave(c, op) : Flow.Restart(c, op);
        }
    }

    /// <summary>Whether the current privilege may use ports: IOPL, else the I/O permission bitmap of the TSS.</summary>
    /// <returns>False with #GP(0), or what reading the TSS raised, pending.</returns>
    public static bool TryPermit(CpuContext* c, ushort port, int size)
    {
        Debugging.CheckPort(c, port, size);
        if ((c->Cr0 & Mode.Cr0Pe) == 0)
            return true;
        if ((c->Rflags & Flags.Vm) == 0 && (ulong)c->Cpl <= (c->Rflags & Flags.Iopl) >> 12)
            return true;
        ref SegmentCache tr = ref c->Segments[SegmentIndex.Tr];
        // A 16-bit TSS (types 1 and 3) has no bitmap.
        if (tr.Unusable == 0 && (tr.Attributes & 0xD) == 9 && tr.Limit >= 103)
        {
            if (!GuestAccess.TryReadLinear(c, tr.Base + 102, out ushort map, Access.Supervisor))
                return false;
            uint at = map + ((uint)port >> 3);
            // Two bytes are always read, since the ports may straddle two bytes of the map.
            if (at + 1 <= tr.Limit)
            {
                if (!GuestAccess.TryReadLinear(c, tr.Base + at, out ushort bits, Access.Supervisor))
                    return false;
                if (((bits >> (port & 7)) & ((1 << size) - 1)) == 0)
                    return true;
            }
        }
        Flow.SetPending(c, Vector.Gp, 0);
        return false;
    }

    private static Op* In<T>(CpuContext* c, Op* op, ushort port)
        where T : unmanaged
    {
        if (!TryPermit(c, port, sizeof(T)))
            return Flow.Fault(c, op);
        Operands.Set(c, OperandOffset.Rax, Operands.Truncate<T>(SoftwareCpu.From(c).Machine.Ports.Read(port, sizeof(T))));
        return Next(c, op);
    }

    private static Op* Out<T>(CpuContext* c, Op* op, ushort port)
        where T : unmanaged
    {
        if (!TryPermit(c, port, sizeof(T)))
            return Flow.Fault(c, op);
        SoftwareCpu.From(c).Machine.Ports.Write(port, sizeof(T), Operands.Zero(Operands.Get<T>(c, OperandOffset.Rax)));
        return Next(c, op);
    }

    // What a device did (an interrupt, a reset, a stop) shows at once, not only at the block's end.
    private static Op* Next(CpuContext* c, Op* op) => Volatile.Read(ref c->Request) != 0 ? Flow.Leave(c, op) : op + 1;

    private static bool TryInOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ushort port = (ushort)c->Gpr[2];
        ulong destination = c->Gpr[StringAddressing.Rdi] & op->Imm;
        if (!TryPermit(c, port, sizeof(T))
            || !StringAddressing.TryLinear(c, op, SegmentIndex.Es, destination, sizeof(T), write: true, out ulong linear))
        {
            return false;
        }
        // The port must not be read when the store will fault: a device's data would be lost.
        T value;
        if (GuestAccess.TryPin(c, linear, sizeof(T)) == null && !SlowAccess.TryReadForWrite(c, linear, &value, sizeof(T)))
            return false;
        value = Operands.Truncate<T>(SoftwareCpu.From(c).Machine.Ports.Read(port, sizeof(T)));
        if (!GuestAccess.TryWriteLinear(c, linear, value))
            return false;
        StringAddressing.Advance(c, op, StringAddressing.Rdi, (ulong)sizeof(T));
        return true;
    }

    private static bool TryOutOne<T>(CpuContext* c, Op* op)
        where T : unmanaged
    {
        ushort port = (ushort)c->Gpr[2];
        ulong source = c->Gpr[StringAddressing.Rsi] & op->Imm;
        if (!TryPermit(c, port, sizeof(T))
            || !StringAddressing.TryLinear(c, op, op->Segment, source, sizeof(T), write: false, out ulong linear)
            || !GuestAccess.TryReadLinear(c, linear, out T value))
        {
            return false;
        }
        SoftwareCpu.From(c).Machine.Ports.Write(port, sizeof(T), Operands.Zero(value));
        StringAddressing.Advance(c, op, StringAddressing.Rsi, (ulong)sizeof(T));
        return true;
    }
}
