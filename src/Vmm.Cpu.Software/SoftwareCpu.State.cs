using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software;

/// <content>Reset states (SDM vol. 3, table 10-1) and the state record.</content>
internal sealed unsafe partial class SoftwareCpu
{
    private const ulong PhysicalAddressReserved = ((1UL << 52) - 1) & ~((1UL << ControlRegisters.PhysicalBits) - 1);

    /// <inheritdoc/>
    public void Reset()
    {
        CpuContext* c = _context;
        ResetCommon(c);
        c->Cr0 = Mode.Cr0Cd | Mode.Cr0Nw | Mode.Cr0Et;
        c->Xcr0 = 1;
        c->Star = c->Lstar = c->Cstar = c->Fmask = c->KernelGsBase = 0;
        c->SysenterCs = c->SysenterEsp = c->SysenterEip = 0;
        c->TscAux = 0;
        c->TscAdjust = 0;
        c->Pat = Msrs.PatReset;
        c->MiscEnable = Msrs.MiscEnableReset;
        c->MtrrDefType = 0;
        for (int i = 0; i < 11; i++)
            c->MtrrFixed[i] = 0;
        for (int i = 0; i < 16; i++)
            c->MtrrVariable[i] = 0;
        VectorState.Reset(c);
        c->NmiBlocked = 0;
        // What the machine asked for stays, above all code to invalidate: the loader may just have written a kernel.
        Interlocked.And(ref c->Request, Requests.Kick | Requests.CodeWritten | Requests.Safepoint);
        c->MpState = (int)(Index == 0 ? MpState.Runnable : MpState.WaitForSipi);
        Paging.FlushAll(c);
        Mode.Update(c);
    }

    /// <summary>INIT: as reset, but x87, vector state, MSRs and the caching bits of CR0 stay. Processors other than the first then wait for a SIPI.</summary>
    private void InitReset()
    {
        CpuContext* c = _context;
        ulong caching = c->Cr0 & (Mode.Cr0Cd | Mode.Cr0Nw);
        ResetCommon(c);
        c->Cr0 = caching | Mode.Cr0Et;
        c->MpState = (int)(Index == 0 ? MpState.Runnable : MpState.WaitForSipi);
        Paging.FlushAll(c);
        Mode.Update(c);
    }

    /// <summary>A start-up IPI: runs in real mode at <c>vector &lt;&lt; 12</c>.</summary>
    private void StartAt(byte vector)
    {
        CpuContext* c = _context;
        Segments.SetReal(c, SegmentIndex.Cs, (ushort)(vector << 8));
        c->Rip = 0;
        c->MpState = (int)MpState.Runnable;
        Mode.Update(c);
    }

    /// <inheritdoc/>
    public void Capture(CpuState state)
    {
        CpuContext* c = _context;
        for (int i = 0; i < 16; i++)
            state.Gpr[i] = c->Gpr[i];
        state.Rip = c->Rip;
        state.Rflags = Flags.GetRflags(c);
        for (int i = 0; i < 6; i++)
            state.Segments[i] = ToState(c->Segments[i]);
        state.Ldtr = ToState(c->Segments[SegmentIndex.Ldtr]);
        state.Tr = ToState(c->Segments[SegmentIndex.Tr]);
        state.Gdtr = new DescriptorTableState { Base = c->GdtrBase, Limit = (ushort)c->GdtrLimit };
        state.Idtr = new DescriptorTableState { Base = c->IdtrBase, Limit = (ushort)c->IdtrLimit };
        state.Cr0 = c->Cr0;
        state.Cr2 = c->Cr2;
        state.Cr3 = c->Cr3;
        state.Cr4 = c->Cr4;
        state.Cr8 = Apic.Cr8;
        for (int i = 0; i < 4; i++)
            state.DebugAddresses[i] = c->Dr[i];
        state.Dr6 = c->Dr6;
        state.Dr7 = c->Dr7;
        state.Xcr0 = c->Xcr0;
        VectorState.Capture(c, state.Xsave);
        CaptureMsrs(c, state.Msrs);
        state.Events = CaptureEvents(c);
        state.MpState = (MpState)c->MpState;
    }

    /// <inheritdoc/>
    public void Restore(CpuState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        StateValidation.Check(state);
        CpuContext* c = _context;
        if (!VectorState.TryRestore(c, state.Xsave))
            throw new InvalidDataException("The processor state's XSAVE area is not one that this processor can load.");
        for (int i = 0; i < 16; i++)
            c->Gpr[i] = state.Gpr[i];
        c->Rip = state.Rip;
        Flags.SetRflags(c, state.Rflags);
        for (int i = 0; i < 6; i++)
            Segments.Set(c, i, FromState(state.Segments[i]));
        Segments.Set(c, SegmentIndex.Ldtr, FromState(state.Ldtr));
        Segments.Set(c, SegmentIndex.Tr, FromState(state.Tr));
        c->GdtrBase = state.Gdtr.Base;
        c->GdtrLimit = state.Gdtr.Limit;
        c->IdtrBase = state.Idtr.Base;
        c->IdtrLimit = state.Idtr.Limit;
        c->Cr0 = state.Cr0 | Mode.Cr0Et;
        c->Cr2 = state.Cr2;
        c->Cr3 = state.Cr3;
        c->Cr4 = state.Cr4;
        c->Efer = state.Msrs[Msrs.Efer];
        Apic.Cr8 = (byte)state.Cr8;
        for (int i = 0; i < 4; i++)
            c->Dr[i] = state.DebugAddresses[i];
        c->Dr6 = DebugRegisters.ToDr6(state.Dr6);
        c->Dr7 = DebugRegisters.ToDr7(state.Dr7);
        c->Xcr0 = state.Xcr0;
        RestoreMsrs(c, state);
        c->Cpl = StateValidation.PrivilegeOf(state);
        RestoreEvents(c, state.Events);
        c->MpState = (int)state.MpState;
        c->PhysicalReservedMask = PhysicalAddressReserved;
        Paging.FlushAll(c);
        Mode.Update(c);
    }

    private static void ResetCommon(CpuContext* c)
    {
        for (int i = 0; i < 16; i++)
            c->Gpr[i] = 0;
        c->Gpr[2] = Cpuid.Signature;
        Flags.SetRflags(c, 2);
        for (int i = 0; i < 6; i++)
            Segments.Set(c, i, new SegmentCache { Limit = 0xFFFF, Attributes = 0x93 });
        Segments.Set(c, SegmentIndex.Cs, new SegmentCache { Base = 0xFFFF0000, Limit = 0xFFFF, Selector = 0xF000, Attributes = 0x93 });
        Segments.Set(c, SegmentIndex.Ldtr, new SegmentCache { Limit = 0xFFFF, Attributes = 0x82 });
        Segments.Set(c, SegmentIndex.Tr, new SegmentCache { Limit = 0xFFFF, Attributes = 0x8B });
        c->Rip = 0xFFF0;
        c->GdtrBase = c->IdtrBase = 0;
        c->GdtrLimit = c->IdtrLimit = 0xFFFF;
        c->Cr2 = c->Cr3 = c->Cr4 = c->Efer = 0;
        for (int i = 0; i < 4; i++)
            c->Dr[i] = 0;
        c->Dr6 = DebugRegisters.Dr6Reset;
        c->Dr7 = DebugRegisters.Dr7Reset;
        c->Cpl = 0;
        c->Shadow = 0;
        c->PendingVector = -1;
        c->PendingNonCanonical = 0;
        c->PendingDebugHits = 0;
        c->StepTrapCancelled = 0;
        c->RfLoaded = 0;
        c->LinkFrom = null;
        c->PhysicalReservedMask = PhysicalAddressReserved;
    }

    private static SegmentState ToState(in SegmentCache s) => new()
    {
        Selector = s.Selector,
        Attributes = s.Attributes,
        Limit = s.Limit,
        Base = s.Base,
        Unusable = s.Unusable != 0,
    };

    private static SegmentCache FromState(in SegmentState s) => new()
    {
        Selector = s.Selector,
        Attributes = (ushort)(s.Attributes & 0xF0FF),
        Limit = s.Limit,
        Base = s.Base,
        Unusable = s.Unusable ? 1 : 0,
    };

    private static void CaptureMsrs(CpuContext* c, SortedDictionary<uint, ulong> msrs)
    {
        msrs.Clear();
        foreach (uint msr in Msrs.Stored)
        {
            Msrs.TryRead(c, msr, out ulong value);
            msrs[msr] = value;
        }
        msrs[Msrs.Efer] = c->Efer;
        msrs[Msrs.Tsc] = TimeStamp.Read(c);
        msrs[Msrs.FsBase] = c->Segments[SegmentIndex.Fs].Base;
        msrs[Msrs.GsBase] = c->Segments[SegmentIndex.Gs].Base;
    }

    // The TSC follows from VM time and IA32_TSC_ADJUST; FS and GS bases come with the segments. Others may be of another engine: they have no place here.
    private static void RestoreMsrs(CpuContext* c, CpuState state)
    {
        foreach (uint msr in Msrs.Stored)
        {
            if (state.Msrs.TryGetValue(msr, out ulong value))
                Msrs.TryWrite(c, msr, value);
        }
    }

    private static PendingEvents CaptureEvents(CpuContext* c)
    {
        bool pending = c->PendingVector >= 0;
        return new PendingEvents
        {
            ExceptionPending = pending,
            ExceptionVector = pending ? (byte)c->PendingVector : (byte)0,
            ExceptionHasErrorCode = pending && c->PendingHasErrorCode != 0,
            ExceptionErrorCode = pending ? c->PendingErrorCode : 0,
            NmiPending = (Volatile.Read(ref c->Request) & Requests.Nmi) != 0,
            NmiMasked = c->NmiBlocked != 0,
            StiShadow = c->Shadow == 1,
            MovSsShadow = c->Shadow == 2,
        };
    }

    private static void RestoreEvents(CpuContext* c, in PendingEvents events)
    {
        c->PendingVector = -1;
        if (events.ExceptionPending)
        {
            Flow.SetPending(c, events.ExceptionVector, events.ExceptionErrorCode);
            c->PendingHasErrorCode = events.ExceptionHasErrorCode ? 1 : 0;
        }
        if (events.NmiPending)
            Interlocked.Or(ref c->Request, Requests.Nmi);
        else
            Interlocked.And(ref c->Request, ~Requests.Nmi);
        c->NmiBlocked = events.NmiMasked ? 1 : 0;
        c->Shadow = events.MovSsShadow ? 2 : events.StiShadow ? 1 : 0;
        c->PendingNonCanonical = 0;
        c->PendingDebugHits = 0;
        c->LinkFrom = null;
    }
}
