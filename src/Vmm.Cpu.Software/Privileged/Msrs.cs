using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>RDMSR and WRMSR (SDM vol. 4; APM vol. 2, appendix A). A register that is not here raises #GP(0).</summary>
internal static unsafe class Msrs
{
    public const uint Tsc = 0x10;
    public const uint PlatformId = 0x17;
    public const uint ApicBase = 0x1B;
    public const uint TscAdjust = 0x3B;
    public const uint BiosSignature = 0x8B;
    public const uint MtrrCap = 0xFE;
    public const uint SysenterCs = 0x174;
    public const uint SysenterEsp = 0x175;
    public const uint SysenterEip = 0x176;
    public const uint McgCap = 0x179;
    public const uint McgStatus = 0x17A;
    public const uint MiscEnable = 0x1A0;
    public const uint DebugControl = 0x1D9;
    public const uint MtrrVariableFirst = 0x200;
    public const uint MtrrVariableLast = 0x20F;
    public const uint Pat = 0x277;
    public const uint MtrrDefType = 0x2FF;
    public const uint TscDeadline = 0x6E0;
    public const uint Efer = 0xC0000080;
    public const uint Star = 0xC0000081;
    public const uint Lstar = 0xC0000082;
    public const uint Cstar = 0xC0000083;
    public const uint Fmask = 0xC0000084;
    public const uint FsBase = 0xC0000100;
    public const uint GsBase = 0xC0000101;
    public const uint KernelGsBase = 0xC0000102;
    public const uint TscAux = 0xC0000103;

    /// <summary>IA32_PAT after reset: WB, WT, UC-, UC, twice.</summary>
    public const ulong PatReset = 0x0007040600070406;

    /// <summary>IA32_MISC_ENABLE: fast strings, and no branch trace store or PEBS.</summary>
    public const ulong MiscEnableReset = 0x1801;

    // 8 variable ranges, fixed ranges, write-combining.
    private const ulong MtrrCapValue = 0x508;
    private const ulong PatchLevel = 0x0A101148;

    /// <summary>RDMSR.</summary>
    public static Op* Rdmsr(CpuContext* c, Op* op)
    {
        if (c->Cpl != 0 || !TryRead(c, (uint)c->Gpr[1], out ulong value))
            return Flow.Raise(c, op, Vector.Gp, 0);
        c->Gpr[0] = (uint)value;
        c->Gpr[2] = value >> 32;
        return op + 1;
    }

    /// <summary>WRMSR.</summary>
    public static Op* Wrmsr(CpuContext* c, Op* op)
    {
        uint msr = (uint)c->Gpr[1];
        ulong value = (c->Gpr[2] << 32) | (uint)c->Gpr[0];
        if (c->Cpl != 0 || !TryWrite(c, msr, value))
            return Flow.Raise(c, op, Vector.Gp, 0);
        // The run loop has to look again after a change of mode, and after whatever the APIC was told: an EOI can make an interrupt deliverable.
        bool leaves = msr is Efer or ApicBase or (>= TscDeadline and <= 0x8FF);
        return leaves ? Flow.Leave(c, op) : Flow.Goto(c, op, Flow.MaskRip(c, Flow.NextRip(c, op)));
    }

    /// <summary>Reads a register.</summary>
    /// <returns>False when there is no such register.</returns>
    public static bool TryRead(CpuContext* c, uint msr, out ulong value)
    {
        switch (msr)
        {
            case FsBase:
                value = c->Segments[SegmentIndex.Fs].Base;
                return true;
            case GsBase:
                value = c->Segments[SegmentIndex.Gs].Base;
                return true;
            case Tsc:
                value = TimeStamp.Read(c);
                return true;
            case TscDeadline:
                return TryReadDeadline(c, out value);
            case ApicBase:
            case >= 0x800 and <= 0x8FF:
                return SoftwareCpu.From(c).Apic.TryReadMsr(msr, out value);
            case MtrrCap:
                value = MtrrCapValue;
                return true;
            case BiosSignature:
                value = PatchLevel;
                return true;
            case >= 0xC0010000:
                return AmdMsrs.TryRead(msr, out value);
            case PlatformId:
            case McgCap:
            case McgStatus:
            case DebugControl:
            case >= 0x1DB and <= 0x1DE:
                value = 0;
                return true;
        }
        ulong* place = Place(c, msr);
        value = place == null ? 0 : *place;
        return place != null;
    }

    /// <summary>Writes a register.</summary>
    /// <returns>False when there is no such register or it does not take the value.</returns>
    public static bool TryWrite(CpuContext* c, uint msr, ulong value)
    {
        switch (msr)
        {
            case FsBase:
                return TryWriteBase(c, SegmentIndex.Fs, value);
            case GsBase:
                return TryWriteBase(c, SegmentIndex.Gs, value);
            case Efer:
                return ControlRegisters.TryWriteEfer(c, value);
            case Tsc:
                c->TscAdjust += value - TimeStamp.Read(c);
                return true;
            case TscDeadline:
                return SoftwareCpu.From(c).Apic.TryWriteMsr(msr, ToClock(c, value));
            case ApicBase:
            case >= 0x800 and <= 0x8FF:
                return SoftwareCpu.From(c).Apic.TryWriteMsr(msr, value);
            case BiosSignature:
                return true;
            case McgStatus:
                return value == 0;
            case DebugControl:
                return (value & ~0x3FUL) == 0;
            case >= 0xC0010000:
                return AmdMsrs.TryWrite(msr);
        }
        if (!Accepts(msr, value))
            return false;
        ulong* place = Place(c, msr);
        if (place == null)
            return false;
        *place = value;
        return true;
    }

    /// <summary>Whether a register that is storage takes a value.</summary>
    public static bool Accepts(uint msr, ulong value) => msr switch
    {
        Lstar or Cstar or KernelGsBase or SysenterEsp or SysenterEip => SystemMemory.IsCanonical(value),
        Fmask or TscAux => value >> 32 == 0,
        >= MtrrVariableFirst and <= MtrrDefType => Mtrrs.IsValid(msr, value),
        _ => true,
    };

    /// <summary>The registers that are nothing but storage, for snapshots too.</summary>
    public static ReadOnlySpan<uint> Stored =>
    [
        TscAdjust, SysenterCs, SysenterEsp, SysenterEip, MiscEnable, Pat, MtrrDefType, Star, Lstar, Cstar, Fmask, KernelGsBase, TscAux,
        0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20A, 0x20B, 0x20C, 0x20D, 0x20E, 0x20F,
        0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F,
    ];

    private static ulong* Place(CpuContext* c, uint msr) => msr switch
    {
        Efer => &c->Efer,
        Star => &c->Star,
        Lstar => &c->Lstar,
        Cstar => &c->Cstar,
        Fmask => &c->Fmask,
        KernelGsBase => &c->KernelGsBase,
        TscAux => &c->TscAux,
        TscAdjust => &c->TscAdjust,
        SysenterCs => &c->SysenterCs,
        SysenterEsp => &c->SysenterEsp,
        SysenterEip => &c->SysenterEip,
        MiscEnable => &c->MiscEnable,
        Pat => &c->Pat,
        MtrrDefType => &c->MtrrDefType,
        >= MtrrVariableFirst and <= MtrrVariableLast => &c->MtrrVariable[msr - MtrrVariableFirst],
        0x250 => &c->MtrrFixed[0],
        0x258 => &c->MtrrFixed[1],
        0x259 => &c->MtrrFixed[2],
        >= 0x268 and <= 0x26F => &c->MtrrFixed[3 + (msr - 0x268)],
        _ => null,
    };

    private static bool TryWriteBase(CpuContext* c, int segment, ulong value)
    {
        if (!SystemMemory.IsCanonical(value))
            return false;
        SystemCalls.SetBase(c, segment, value);
        return true;
    }

    // The APIC's deadline is in clock time; the guest's counter is ahead of it by IA32_TSC_ADJUST. 0 disarms.
    private static ulong ToClock(CpuContext* c, ulong deadline)
    {
        if (deadline == 0 || c->TscAdjust == 0)
            return deadline;
        long clock = (long)(deadline - c->TscAdjust);
        return clock <= 0 ? 1 : (ulong)clock;
    }

    private static bool TryReadDeadline(CpuContext* c, out ulong value)
    {
        bool known = SoftwareCpu.From(c).Apic.TryReadMsr(TscDeadline, out value);
        if (value != 0)
            value += c->TscAdjust;
        return known;
    }
}
