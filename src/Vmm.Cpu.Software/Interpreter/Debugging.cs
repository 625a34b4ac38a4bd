using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>
/// Single-step and hardware breakpoints (SDM vol. 3, 18.2 and 18.3). While any breakpoint is enabled or TF is set, the run loop executes
/// instructions one at a time and the data TLBs are not filled.
/// </summary>
internal static unsafe class Debugging
{
    /// <summary>L0–G3 in DR7.</summary>
    public const ulong EnableBits = 0xFF;

    /// <summary>GD in DR7.</summary>
    public const ulong GeneralDetect = 1UL << 13;

    private const ulong Dr6GeneralDetect = 1UL << 13;
    private const ulong Dr6SingleStep = 1UL << 14;
    private const ulong Dr6Hits = 0xF;

    private const int KindExecute = 0;
    private const int KindWrite = 1;
    private const int KindPort = 2;

    /// <summary>Whether instructions have to be run one at a time.</summary>
    public static bool NeedsStep(CpuContext* c) => (c->Rflags & Flags.Tf) != 0 || (c->Dr7 & EnableBits) != 0;

    /// <summary>Looks for an instruction breakpoint at RIP.</summary>
    /// <returns>False when #DB is pending.</returns>
    public static bool BeforeInstruction(CpuContext* c)
    {
        c->StepTrapCancelled = 0;
        if ((c->Dr7 & EnableBits) == 0)
            return true;
        // Hits held off by MOV SS stay for the trap after the next instruction; MOV SS holds off this instruction's breakpoint too.
        if (c->Shadow == 2)
            return true;
        c->PendingDebugHits = 0;
        if ((c->Rflags & Flags.Rf) != 0)
            return true;
        ulong linear = c->CodeBits == 64 ? c->Rip : (uint)(c->Segments[SegmentIndex.Cs].Base + c->Rip);
        ulong hits = 0;
        for (int i = 0; i < 4; i++)
        {
            if (IsEnabled(c, i) && Kind(c, i) == KindExecute && c->Dr[i] == linear)
                hits |= 1UL << i;
        }
        if (hits == 0)
            return true;
        Raise(c, hits);
        return false;
    }

    /// <summary>Whether the instruction about to run will trap for RFLAGS.TF.</summary>
    public static bool IsSingleStepping(CpuContext* c) => (c->Rflags & Flags.Tf) != 0;

    /// <summary>Makes the traps pending that the instruction caused.</summary>
    public static void AfterStep(CpuContext* c, bool singleStep)
    {
        if ((c->Dr7 & EnableBits) != 0 && c->RfLoaded == 0)
            c->Rflags &= ~Flags.Rf;
        c->RfLoaded = 0;
        // MOV SS and POP SS hold traps off until after the next instruction.
        if (c->Shadow == 2)
            return;
        ulong bits = (uint)c->PendingDebugHits;
        c->PendingDebugHits = 0;
        if (singleStep && c->StepTrapCancelled == 0)
            bits |= Dr6SingleStep;
        if (bits != 0)
            Raise(c, bits);
    }

    /// <summary>Whether any breakpoint is on data.</summary>
    public static bool HasDataBreakpoints(CpuContext* c)
    {
        if ((c->Dr7 & EnableBits) == 0)
            return false;
        for (int i = 0; i < 4; i++)
        {
            if (IsEnabled(c, i) && (Kind(c, i) & KindWrite) != 0)
                return true;
        }
        return false;
    }

    /// <summary>Notes the data breakpoints that an access hits; they trap after the instruction.</summary>
    public static void CheckData(CpuContext* c, ulong linear, int size, bool write)
    {
        for (int i = 0; i < 4; i++)
        {
            int kind = Kind(c, i);
            bool watches = IsEnabled(c, i) && (kind == 3 || (kind == KindWrite && write));
            if (watches && Overlaps(c, i, linear, size))
                c->PendingDebugHits |= 1 << i;
        }
    }

    /// <summary>Notes the I/O breakpoints that a port access hits (CR4.DE).</summary>
    public static void CheckPort(CpuContext* c, ushort port, int size)
    {
        if ((c->Dr7 & EnableBits) == 0 || (c->Cr4 & Mode.Cr4De) == 0)
            return;
        for (int i = 0; i < 4; i++)
        {
            if (IsEnabled(c, i) && Kind(c, i) == KindPort && Overlaps(c, i, port, size))
                c->PendingDebugHits |= 1 << i;
        }
    }

    /// <summary>Raises #DB for an access to a debug register under DR7.GD; a fault, thus with RF in the pushed flags.</summary>
    public static void RaiseGeneralDetect(CpuContext* c)
    {
        Raise(c, Dr6GeneralDetect);
        c->Rflags |= Flags.Rf;
    }

    /// <summary>Makes #DB pending and records why in DR6. BS and BD stay until software clears them, B0–B3 tell of the last #DB.</summary>
    public static void Raise(CpuContext* c, ulong bits)
    {
        c->Dr6 = (c->Dr6 & ~Dr6Hits) | bits;
        Flow.SetPending(c, Vector.Db);
    }

    private static bool IsEnabled(CpuContext* c, int i) => ((c->Dr7 >> (2 * i)) & 3) != 0;

    private static int Kind(CpuContext* c, int i) => (int)(c->Dr7 >> (16 + (4 * i))) & 3;

    // LEN 00, 01, 10, 11: 1, 2, 8, 4 bytes; the address is taken as aligned to the length.
    private static bool Overlaps(CpuContext* c, int i, ulong start, int size)
    {
        int code = (int)(c->Dr7 >> (18 + (4 * i))) & 3;
        uint length = code switch
        {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => 4,
        };
        ulong watched = c->Dr[i] & ~(ulong)(length - 1);
        return start - watched < length || watched - start < (ulong)size;
    }
}
