using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter;

/// <summary>Single-stepping and debug registers (SDM vol. 3, chapter 18).</summary>
internal static unsafe class Debugging
{
    /// <summary>Whether instructions have to be run one at a time.</summary>
    public static bool NeedsStep(CpuContext* c) => (c->Rflags & Flags.Tf) != 0;

    /// <summary>Looks for an instruction breakpoint at RIP.</summary>
    /// <returns>False when #DB is pending.</returns>
    public static bool BeforeInstruction(CpuContext* c) => true;

    /// <summary>Whether the instruction about to run will trap for RFLAGS.TF.</summary>
    public static bool IsSingleStepping(CpuContext* c) => (c->Rflags & Flags.Tf) != 0;

    /// <summary>Makes the traps pending that the instruction caused.</summary>
    public static void AfterStep(CpuContext* c, bool singleStep)
    {
    }
}
