using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>CR0, CR3, CR4, CR8 and what their changes bring about (SDM vol. 3, 2.5, 4.10.4, 9.8.5). Imm is the register's number.</summary>
internal static unsafe class ControlRegisters
{
    /// <summary>Physical address bits.</summary>
    public const int PhysicalBits = 46;

    private const ulong Cr0Defined = Mode.Cr0Pe | Mode.Cr0Mp | Mode.Cr0Em | Mode.Cr0Ts | Mode.Cr0Et | Mode.Cr0Ne | Mode.Cr0Wp | Mode.Cr0Am
        | Mode.Cr0Nw | Mode.Cr0Cd | Mode.Cr0Pg;

    /// <summary>The bits of CR4 whose features CPUID reports. VME and PVI are not there.</summary>
    public const ulong Cr4Defined = Mode.Cr4Tsd | Mode.Cr4De | Mode.Cr4Pse | Mode.Cr4Pae | Mode.Cr4Mce | Mode.Cr4Pge | Mode.Cr4Pce
        | Mode.Cr4Osfxsr | Mode.Cr4Osxmmexcpt | Mode.Cr4Umip | Mode.Cr4Fsgsbase | Mode.Cr4Pcide | Mode.Cr4Osxsave | Mode.Cr4Smep | Mode.Cr4Smap;

    /// <summary>What EFER may hold: SCE, LME, LMA, NXE and AUTOIBRS (APM vol. 2, 3.1.7).</summary>
    public const ulong EferDefined = Mode.EferSce | Mode.EferLme | Mode.EferLma | Mode.EferNxe | EferAutoIbrs;

    private const ulong EferAutoIbrs = 1UL << 21;
    private const ulong NoFlush = 1UL << 63;
    private const ulong PhysicalMask = (1UL << PhysicalBits) - 1;

    /// <summary>MOV r, CRn.</summary>
    public static Op* Read(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong value = op->Imm switch
        {
            0 => c->Cr0,
            2 => c->Cr2,
            3 => c->Cr3,
            4 => c->Cr4,
            _ => SoftwareCpu.From(c).Apic.Cr8,
        };
        if (op->Extra == 8)
            Operands.Set(c, op->Dst, value);
        else
            Operands.Set(c, op->Dst, (uint)value);
        return op + 1;
    }

    /// <summary>MOV CRn, r.</summary>
    public static Op* Write(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong value = op->Extra == 8 ? Operands.Get<ulong>(c, op->Src) : Operands.Get<uint>(c, op->Src);
        return TryWrite(c, (int)op->Imm, value) ? Flow.Leave(c, op) : Flow.Fault(c, op);
    }

    /// <summary>CLTS.</summary>
    public static Op* Clts(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->Cr0 &= ~Mode.Cr0Ts;
        SimdGate.Update(c);
        return op + 1;
    }

    /// <summary>INVLPG.</summary>
    public static Op* Invlpg(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        ulong linear = GuestAccess.Effective(c, op);
        switch (op->AddressKind)
        {
            case AddressKind.Flat64:
                break;
            case AddressKind.Based64:
                linear += c->Segments[op->Segment].Base;
                break;
            case AddressKind.Address32In64:
                linear = (uint)linear + (op->Segment >= SegmentIndex.Fs ? c->Segments[op->Segment].Base : 0);
                break;
            default:
                linear = op->AddressKind == AddressKind.Legacy16 ? (ushort)linear : linear;
                linear = (uint)(linear + c->Segments[op->Segment].Base);
                break;
        }
        if (c->CodeBits != 64 || SystemMemory.IsCanonical(linear))
            Paging.FlushPage(c, linear);
        return Flow.Leave(c, op);
    }

    /// <summary>INVPCID: Src is the type's register, Extra its size.</summary>
    public static Op* Invpcid(CpuContext* c, Op* op)
    {
        if ((c->Cr0 & Mode.Cr0Pe) == 0)
            return Flow.Raise(c, op, Vector.Ud);
        if (c->Cpl != 0)
            return Flow.Raise(c, op, Vector.Gp, 0);
        if (!GuestAccess.TryLinear(c, op, 16, write: false, out ulong linear) || !GuestAccess.TryReadLinear(c, linear, out ulong low)
            || !GuestAccess.TryReadLinear(c, linear + 8, out ulong address))
            return Flow.Fault(c, op);
        ulong type = op->Extra == 8 ? Operands.Get<ulong>(c, op->Src) : Operands.Get<uint>(c, op->Src);
        bool single = type <= 1;
        bool valid = type <= 3 && low <= 0xFFF && !(single && low != 0 && (c->Cr4 & Mode.Cr4Pcide) == 0)
            && !(type == 0 && !SystemMemory.IsCanonical(address));
        if (!valid)
            return Flow.Raise(c, op, Vector.Gp, 0);
        // The TLB holds the current PCID alone, so that whatever is asked for another has nothing to do.
        bool current = low == (c->Cr3 & 0xFFF) || (c->Cr4 & Mode.Cr4Pcide) == 0;
        if (type == 0 && current)
            Paging.FlushPage(c, address);
        else if (type == 2)
            Paging.FlushAll(c);
        else if (type == 3 || (type == 1 && current))
            Paging.FlushNonGlobal(c);
        return Flow.Leave(c, op);
    }

    /// <summary>Writes CR0 with all checks.</summary>
    /// <returns>False with #GP(0) (or a fault of the PDPTE reads) pending.</returns>
    public static bool TryWriteCr0(CpuContext* c, ulong value)
    {
        if (value >> 32 != 0)
            return Segments.FailZero(c, Vector.Gp);
        value = (value & Cr0Defined) | Mode.Cr0Et;
        bool paging = (value & Mode.Cr0Pg) != 0;
        if ((paging && (value & Mode.Cr0Pe) == 0) || (value & (Mode.Cr0Nw | Mode.Cr0Cd)) == Mode.Cr0Nw)
            return Segments.FailZero(c, Vector.Gp);
        ulong changed = c->Cr0 ^ value;
        ulong efer = c->Efer;
        if ((changed & Mode.Cr0Pg) != 0 && !TrySwitchPaging(c, paging, ref efer))
            return Segments.FailZero(c, Vector.Gp);
        bool legacyPae = paging && (c->Cr4 & Mode.Cr4Pae) != 0 && (efer & Mode.EferLma) == 0;
        if (legacyPae && (changed & (Mode.Cr0Pg | Mode.Cr0Cd | Mode.Cr0Nw)) != 0 && !TryCheckPdptes(c, c->Cr3))
            return false;
        c->Cr0 = value;
        c->Efer = efer;
        if ((changed & (Mode.Cr0Pg | Mode.Cr0Pe | Mode.Cr0Wp)) != 0)
            Paging.FlushAll(c);
        Mode.Update(c);
        return true;
    }

    /// <summary>Writes CR3.</summary>
    public static bool TryWriteCr3(CpuContext* c, ulong value)
    {
        bool pcid = (c->Cr4 & Mode.Cr4Pcide) != 0;
        if (pcid)
            value &= ~NoFlush;
        if (Mode.IsLong(c))
        {
            if ((value & ~PhysicalMask) != 0)
                return Segments.FailZero(c, Vector.Gp);
        }
        else if ((c->Cr0 & Mode.Cr0Pg) != 0 && (c->Cr4 & Mode.Cr4Pae) != 0 && !TryCheckPdptes(c, value))
        {
            return false;
        }
        c->Cr3 = value;
        Paging.FlushNonGlobal(c);
        return true;
    }

    /// <summary>Writes CR4.</summary>
    public static bool TryWriteCr4(CpuContext* c, ulong value)
    {
        ulong changed = c->Cr4 ^ value;
        bool lng = Mode.IsLong(c);
        bool bad = (value & ~Cr4Defined) != 0
            || (lng && (value & Mode.Cr4Pae) == 0)
            || ((changed & value & Mode.Cr4Pcide) != 0 && (!lng || (c->Cr3 & 0xFFF) != 0));
        if (bad)
            return Segments.FailZero(c, Vector.Gp);
        bool legacyPae = !lng && (c->Cr0 & Mode.Cr0Pg) != 0 && (value & Mode.Cr4Pae) != 0;
        if (legacyPae && (changed & (Mode.Cr4Pae | Mode.Cr4Pge | Mode.Cr4Pse | Mode.Cr4Smep)) != 0 && !TryCheckPdptes(c, c->Cr3))
            return false;
        c->Cr4 = value;
        if ((changed & (Mode.Cr4Pae | Mode.Cr4Pge | Mode.Cr4Pse | Mode.Cr4Smep | Mode.Cr4Smap | Mode.Cr4Pcide)) != 0)
            Paging.FlushAll(c);
        Mode.Update(c);
        return true;
    }

    /// <summary>Writes IA32_EFER. LMA follows CR0.PG and is not written.</summary>
    public static bool TryWriteEfer(CpuContext* c, ulong value)
    {
        if ((value & ~EferDefined) != 0)
            return Segments.FailZero(c, Vector.Gp);
        ulong changed = c->Efer ^ value;
        if ((changed & Mode.EferLme) != 0 && (c->Cr0 & Mode.Cr0Pg) != 0)
            return Segments.FailZero(c, Vector.Gp);
        c->Efer = (value & ~Mode.EferLma) | (c->Efer & Mode.EferLma);
        if ((changed & Mode.EferNxe) != 0)
            Paging.FlushAll(c);
        Mode.Update(c);
        return true;
    }

    private static bool TryWrite(CpuContext* c, int register, ulong value)
    {
        switch (register)
        {
            case 0:
                return TryWriteCr0(c, value);
            case 2:
                c->Cr2 = value;
                return true;
            case 3:
                return TryWriteCr3(c, value);
            case 4:
                return TryWriteCr4(c, value);
            default:
                if (value > 15)
                    return Segments.FailZero(c, Vector.Gp);
                SoftwareCpu.From(c).Apic.Cr8 = (byte)value;
                return true;
        }
    }

    // Activates or deactivates IA-32e mode with paging (SDM vol. 3, 10.8.5).
    private static bool TrySwitchPaging(CpuContext* c, bool paging, ref ulong efer)
    {
        if (!paging)
        {
            if ((c->Cr4 & Mode.Cr4Pcide) != 0 || c->CodeBits == 64)
                return false;
            efer &= ~Mode.EferLma;
            return true;
        }
        if ((efer & Mode.EferLme) == 0)
            return true;
        ref SegmentCache tr = ref c->Segments[SegmentIndex.Tr];
        bool tss16 = tr.Unusable == 0 && (tr.Attributes & 0xF) is Descriptor.TssAvailable16 or Descriptor.TssBusy16;
        bool longCode = (c->Segments[SegmentIndex.Cs].Attributes & Descriptor.LongBit) != 0;
        if ((c->Cr4 & Mode.Cr4Pae) == 0 || longCode || tss16)
            return false;
        efer |= Mode.EferLma;
        return true;
    }

    // PAE paging loads four PDPTEs with CR3: those that are present must have no reserved bits set (SDM vol. 3, 4.4.1).
    private static bool TryCheckPdptes(CpuContext* c, ulong cr3)
    {
        var memory = SoftwareCpu.From(c).Physical;
        ulong table = cr3 & 0xFFFF_FFE0;
        ulong reserved = c->PhysicalReservedMask | (1UL << 63) | 0x1E6;
        for (uint i = 0; i < 4; i++)
        {
            byte* host = memory.Find(table + (i * 8));
            ulong entry = host == null ? ulong.MaxValue : *(ulong*)host;
            if ((entry & 1) != 0 && (entry & reserved) != 0)
                return Segments.FailZero(c, Vector.Gp);
        }
        return true;
    }
}
