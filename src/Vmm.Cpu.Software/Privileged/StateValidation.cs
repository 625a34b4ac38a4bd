using Vmm.Core.Cpu;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Simd;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Whether a state record is one that this processor can be in: the consistency that the instructions themselves keep up.</summary>
internal static class StateValidation
{
    private const ulong RflagsDefined = 0x3F7FD7;

    /// <summary>Checks a state.</summary>
    /// <exception cref="InvalidDataException">It is not a possible one.</exception>
    public static void Check(CpuState state)
    {
        if (!state.Msrs.TryGetValue(Msrs.Efer, out ulong efer))
            throw new InvalidDataException("The processor state has no IA32_EFER.");
        Require((state.Rflags & ~RflagsDefined) == 0, "RFLAGS", state.Rflags);
        Require(state.Cr0 >> 32 == 0 && (state.Cr0 & (Mode.Cr0Pg | Mode.Cr0Pe)) != Mode.Cr0Pg, "CR0", state.Cr0);
        Require((state.Cr0 & (Mode.Cr0Nw | Mode.Cr0Cd)) != Mode.Cr0Nw, "CR0", state.Cr0);
        Require((state.Cr4 & ~ControlRegisters.Cr4Defined) == 0, "CR4", state.Cr4);
        Require((efer & ~ControlRegisters.EferDefined) == 0, "IA32_EFER", efer);
        bool paging = (state.Cr0 & Mode.Cr0Pg) != 0;
        bool lma = (efer & Mode.EferLma) != 0;
        Require(lma == (paging && (efer & Mode.EferLme) != 0), "IA32_EFER", efer);
        Require(!lma || (state.Cr4 & Mode.Cr4Pae) != 0, "CR4", state.Cr4);
        Require(lma || (state.Cr4 & Mode.Cr4Pcide) == 0, "CR4", state.Cr4);
        Require((state.Cr3 >> ControlRegisters.PhysicalBits) == 0, "CR3", state.Cr3);
        Require(state.Cr8 <= 15, "CR8", state.Cr8);
        bool v86 = (state.Rflags & Flags.Vm) != 0;
        Require(!v86 || ((state.Cr0 & Mode.Cr0Pe) != 0 && !lma), "RFLAGS", state.Rflags);
        Require((state.Xcr0 & 1) != 0 && (state.Xcr0 & ~VectorState.SupportedXcr0) == 0 && (state.Xcr0 & 6) != 4, "XCR0", state.Xcr0);
        Require(Enum.IsDefined(state.MpState), "MP state", (ulong)state.MpState);
        bool code64 = lma && (state.Segments[SegmentIndex.Cs].Attributes & Descriptor.LongBit) != 0;
        Require(code64 ? SystemMemory.IsCanonical(state.Rip) : state.Rip >> 32 == 0, "RIP", state.Rip);
        CheckSegments(state, code64);
        foreach (uint msr in Msrs.Stored)
        {
            if (state.Msrs.TryGetValue(msr, out ulong value) && !Msrs.Accepts(msr, value))
                throw new InvalidDataException($"The processor state is not one that this processor can be in: MSR 0x{msr:X} is 0x{value:X}.");
        }
    }

    /// <summary>The current privilege level of a state: that of SS, which is always right where it exists (SDM vol. 3, 5.5).</summary>
    public static int PrivilegeOf(CpuState state)
    {
        if ((state.Cr0 & Mode.Cr0Pe) == 0)
            return 0;
        if ((state.Rflags & Flags.Vm) != 0)
            return 3;
        return (state.Segments[SegmentIndex.Ss].Attributes >> 5) & 3;
    }

    private static void CheckSegments(CpuState state, bool code64)
    {
        bool legacyPe = (state.Cr0 & Mode.Cr0Pe) != 0 && (state.Rflags & Flags.Vm) == 0;
        ref SegmentState cs = ref state.Segments[SegmentIndex.Cs];
        Require(!cs.Unusable && (cs.Attributes & Descriptor.Segment) != 0, "CS attributes", cs.Attributes);
        Require(!code64 || (cs.Attributes & (Descriptor.Code | Descriptor.DefaultBit)) == Descriptor.Code, "CS attributes", cs.Attributes);
        for (int i = 0; i < 6; i++)
        {
            ref SegmentState s = ref state.Segments[i];
            bool wide = code64 || i >= SegmentIndex.Fs;
            Require(wide ? SystemMemory.IsCanonical(s.Base) : s.Base >> 32 == 0, "segment base", s.Base);
        }
        if (legacyPe)
            return;
        // Real and virtual-8086 mode run at fixed privilege; what the hidden parts say besides is theirs.
        Require(!code64, "CS attributes", cs.Attributes);
    }

    private static void Require(bool condition, string register, ulong value)
    {
        if (!condition)
            throw new InvalidDataException($"The processor state is not one that this processor can be in: {register} is 0x{value:X}.");
    }
}
