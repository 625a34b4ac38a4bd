using System.Text;
using Iced.Intel;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>What must be equal after a run, and what need not be.</summary>
internal static unsafe class StateComparison
{
    // MXCSR.MM of AMD processors: LDMXCSR accepts it there, and it is reserved in the software CPU.
    private const uint MisalignedMode = 0x20000;

    private static readonly string[] Names = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"];

    /// <summary>Describes the differences, or gives null.</summary>
    public static string? Compare(SandboxState* native, SandboxState* software, Sequence sequence, ReadOnlySpan<byte> nativeData, ReadOnlySpan<byte> softwareData)
    {
        var text = new StringBuilder();
        void Check(string name, ulong n, ulong s)
        {
            if (n != s)
                text.AppendLine($"  {name}: processor {n:X}, software {s:X}");
        }
        FaultRule rule = RuleAt(sequence, native->Rip);
        bool misalignedMode = (*(uint*)(native->Xsave + 24) & MisalignedMode) != 0;
        if (rule == FaultRule.Ignored || misalignedMode)
            return null;
        Check("RIP", native->Rip, software->Rip);
        if (rule != FaultRule.Any || native->Vector == 6 || software->Vector == 6)
            Check("vector", native->Vector, software->Vector);
        if (native->Vector == 14 && software->Vector == 14 && rule != FaultRule.Any)
        {
            // Linux reports every fault in the kernel's half as one on a present page (arch/x86/mm/fault.c, sanitize_error_code).
            ulong mask = (long)native->Cr2 < 0 ? ~1UL : ulong.MaxValue;
            Check("CR2", native->Cr2, software->Cr2);
            Check("error code", native->ErrorCode & mask, software->ErrorCode & mask);
        }
        for (int i = 0; i < 16; i++)
            Check(Names[i], native->Gpr[i], software->Gpr[i]);
        ulong undefined = ToRflags(UndefinedAt(sequence, native->Rip));
        ulong flags = 0xCD5 & ~undefined;
        Check("flags", native->Rflags & flags, software->Rflags & flags);
        CompareVectors(native->Xsave, software->Xsave, Check);
        bool storesSelectors = sequence.Instructions.Exists(g => g.Instruction.Mnemonic is Mnemonic.Fnstenv or Mnemonic.Fnsave);
        for (int i = 0; i < nativeData.Length; i++)
        {
            if (nativeData[i] != softwareData[i] && !(storesSelectors && IsPointerDifference(nativeData[i], softwareData[i])))
                Check($"[{UserModeHarness.DataAddress + (ulong)i:X}]", nativeData[i], softwareData[i]);
        }
        return text.Length == 0 ? null : text.ToString();
    }

    // The software CPU reports that FCS and FDS are not saved (CPUID.7.EBX[13]); Linux's selectors are 23h, 2Bh, 33h. On AMD processors FIP, FDP and FOP
    // do not survive when another thread runs in between.
    private static bool IsPointerDifference(byte native, byte software) => native == 0 || (software == 0 && native is (0x23 or 0x2B or 0x33));

    private static void CompareVectors(byte* native, byte* software, Action<string, ulong, ulong> check)
    {
        check("FCW", *(ushort*)native, *(ushort*)software);
        check("FSW", *(ushort*)(native + 2), *(ushort*)(software + 2));
        check("FTW", native[4], software[4]);
        // AMD processors save the pointers only while an exception is pending (APM vol. 2, 11.4.4), so another thread in between may have cleared them.
        void CheckPointer(string name, ulong n, ulong s) => check(name, n, n == 0 ? 0 : s);
        if ((native[2] & 0x80) != 0)
        {
            CheckPointer("FOP", *(ushort*)(native + 6), *(ushort*)(software + 6));
            CheckPointer("FIP", *(ulong*)(native + 8), *(ulong*)(software + 8));
            CheckPointer("FDP", *(ulong*)(native + 16), *(ulong*)(software + 16));
        }
        for (int i = 0; i < 8; i++)
        {
            check($"ST{i} significand", *(ulong*)(native + 32 + (i * 16)), *(ulong*)(software + 32 + (i * 16)));
            check($"ST{i} exponent", *(ushort*)(native + 40 + (i * 16)), *(ushort*)(software + 40 + (i * 16)));
        }
        check("MXCSR", *(uint*)(native + 24), *(uint*)(software + 24));
        for (int i = 0; i < 64; i++)
        {
            int offset = (i & 2) == 0 ? 160 + ((i >> 2) * 16) + ((i & 1) * 8) : 576 + ((i >> 2) * 16) + ((i & 1) * 8);
            check($"YMM{i >> 2}[{i & 3}]", *(ulong*)(native + offset), *(ulong*)(software + offset));
        }
    }

    // What a fault must have in common.
    private enum FaultRule
    {
        Exact,

        // Nothing: whether bytes that the mask leaves out fault is implementation-specific (SDM vol. 2, MASKMOVDQU), and so is what ENTER has pushed when
        // a later push or the probe of the new frame faults.
        Ignored,

        // Only that there is one: an instruction with several accesses may check them in any order.
        Any,
    }

    private static FaultRule RuleAt(Sequence sequence, ulong rip)
    {
        foreach (GeneratedInstruction g in sequence.Instructions)
        {
            if (g.Instruction.IP != rip)
                continue;
            if (g.Instruction.MemorySize is MemorySize.Float80 or MemorySize.Bcd)
                return FaultRule.Any;
            return g.Instruction.Mnemonic switch
            {
                Mnemonic.Maskmovq or Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu or Mnemonic.Enter => FaultRule.Ignored,
                Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq or Mnemonic.Call or Mnemonic.Frstor
                    or Mnemonic.Fldenv or Mnemonic.Fnsave or Mnemonic.Fnstenv => FaultRule.Any,
                _ => FaultRule.Exact,
            };
        }
        return FaultRule.Exact;
    }

    private static RflagsBits UndefinedAt(Sequence sequence, ulong rip)
    {
        foreach (GeneratedInstruction g in sequence.Instructions)
        {
            if (g.Instruction.IP == rip)
                return g.UndefinedBefore;
        }
        // A branch may have left in the middle: what is undefined anywhere counts.
        RflagsBits all = sequence.UndefinedAtEnd;
        foreach (GeneratedInstruction g in sequence.Instructions)
        {
            if (g.Instruction.FlowControl != FlowControl.Next)
                all |= g.UndefinedBefore;
        }
        return all;
    }

    private static ulong ToRflags(RflagsBits bits) => (bits.HasFlag(RflagsBits.CF) ? 1u : 0) | (bits.HasFlag(RflagsBits.PF) ? 4u : 0)
        | (bits.HasFlag(RflagsBits.AF) ? 0x10u : 0) | (bits.HasFlag(RflagsBits.ZF) ? 0x40u : 0) | (bits.HasFlag(RflagsBits.SF) ? 0x80u : 0)
        | (bits.HasFlag(RflagsBits.OF) ? 0x800u : 0);
}
