using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerSystem(ref LoweringContext l)
        => LowerSegments(ref l) || LowerFar(ref l) || LowerTables(ref l) || LowerControl(ref l) || LowerCalls(ref l) || LowerSystemMiscellaneous(ref l);

    // One handler with operand size and a further number; ends the block where the handler always leaves it.
    private static bool SetSystem(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler, uint extra = 0, ulong imm = 0, bool ends = false)
    {
        l.Op->Handler = handler;
        l.Op->Extra = extra;
        l.Op->Imm = imm;
        l.EndsBlock |= ends;
        return true;
    }

    private static bool IsSystemMemory(ref LoweringContext l, int operand) => l.Instruction.GetOpKind(operand) == OpKind.Memory;

    // Bytes of a register operand.
    private static uint SizeOf(Register register) => (uint)register.GetSize();

    private static bool LowerSegments(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Mnemonic)
        {
            case Mnemonic.Mov when i.Op0Register.IsSegmentRegister() && i.Op0Kind == OpKind.Register:
                if (i.Op0Register == Register.CS)
                    return SetSystem(ref l, &Miscellaneous.Undefined, ends: true);
                l.Op->Src = OffsetOf(i.Op1Register);
                return SetSystem(ref l, IsSystemMemory(ref l, 1) ? &SegmentInstructions.MovToFromMemory : &SegmentInstructions.MovToFromRegister, 0,
                    IndexOf(i.Op0Register), i.Op0Register == Register.SS);
            case Mnemonic.Mov when i.Op1Kind == OpKind.Register && i.Op1Register.IsSegmentRegister():
                if (IsSystemMemory(ref l, 0))
                    return SetSystem(ref l, &SegmentInstructions.MovFromToMemory, 2, IndexOf(i.Op1Register));
                l.Op->Dst = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &SegmentInstructions.MovFromToRegister, SizeOf(i.Op0Register), IndexOf(i.Op1Register));
            case Mnemonic.Push when i.Op0Kind == OpKind.Register && i.Op0Register.IsSegmentRegister():
                return SetSystem(ref l, &SegmentInstructions.Push, (uint)-i.StackPointerIncrement, IndexOf(i.Op0Register));
            case Mnemonic.Pop when i.Op0Kind == OpKind.Register && i.Op0Register.IsSegmentRegister():
                return SetSystem(ref l, &SegmentInstructions.Pop, (uint)i.StackPointerIncrement, IndexOf(i.Op0Register), i.Op0Register == Register.SS);
            case Mnemonic.Lds:
                return LowerFarPointer(ref l, SegmentIndex.Ds);
            case Mnemonic.Les:
                return LowerFarPointer(ref l, SegmentIndex.Es);
            case Mnemonic.Lfs:
                return LowerFarPointer(ref l, SegmentIndex.Fs);
            case Mnemonic.Lgs:
                return LowerFarPointer(ref l, SegmentIndex.Gs);
            case Mnemonic.Lss:
                return LowerFarPointer(ref l, SegmentIndex.Ss);
            case Mnemonic.Lar:
                return LowerInspect(ref l, &SegmentInstructions.Lar);
            case Mnemonic.Lsl:
                return LowerInspect(ref l, &SegmentInstructions.Lsl);
            case Mnemonic.Verr:
                return LowerSelector(ref l, &SegmentInstructions.Verr);
            case Mnemonic.Verw:
                return LowerSelector(ref l, &SegmentInstructions.Verw);
            case Mnemonic.Arpl:
                l.Op->Dst = OffsetOf(i.Op0Register);
                l.Op->Src = OffsetOf(i.Op1Register);
                return SetSystem(ref l, &SegmentInstructions.Arpl, 2, IsSystemMemory(ref l, 0) ? 1u : 0);
            default:
                return false;
        }
    }

    private static ulong IndexOf(Register segment) => (ulong)(segment - Register.ES);

    private static bool LowerFarPointer(ref LoweringContext l, int segment)
    {
        l.Op->Dst = OffsetOf(l.Instruction.Op0Register);
        return SetSystem(ref l, &SegmentInstructions.LoadFarPointer, SizeOf(l.Instruction.Op0Register), (ulong)segment, segment == SegmentIndex.Ss);
    }

    private static bool LowerInspect(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler)
    {
        ref var i = ref l.Instruction;
        l.Op->Dst = OffsetOf(i.Op0Register);
        l.Op->Src = OffsetOf(i.Op1Register);
        return SetSystem(ref l, handler, SizeOf(i.Op0Register), IsSystemMemory(ref l, 1) ? 1u : 0);
    }

    // An instruction with one 16-bit source.
    private static bool LowerSelector(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler, bool ends = false)
    {
        l.Op->Src = OffsetOf(l.Instruction.Op0Register);
        return SetSystem(ref l, handler, 2, IsSystemMemory(ref l, 0) ? 1u : 0, ends);
    }

    // An instruction with one destination that is 16 bits in memory.
    private static bool LowerStore(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler)
    {
        bool memory = IsSystemMemory(ref l, 0);
        l.Op->Dst = OffsetOf(l.Instruction.Op0Register);
        return SetSystem(ref l, handler, memory ? 2 : SizeOf(l.Instruction.Op0Register), memory ? 1u : 0);
    }

    private static bool LowerFar(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Code)
        {
            case Code.Jmp_ptr1616 or Code.Jmp_ptr1632:
                return LowerFarImmediate(ref l, &FarInstructions.JumpImmediate, i.Code == Code.Jmp_ptr1616 ? 2u : 4);
            case Code.Call_ptr1616 or Code.Call_ptr1632:
                return LowerFarImmediate(ref l, &FarInstructions.CallImmediate, i.Code == Code.Call_ptr1616 ? 2u : 4);
            case Code.Jmp_m1616:
                return SetSystem(ref l, &FarInstructions.JumpMemory, 2, 0, true);
            case Code.Jmp_m1632:
                return SetSystem(ref l, &FarInstructions.JumpMemory, 4, 0, true);
            case Code.Jmp_m1664:
                return SetSystem(ref l, &FarInstructions.JumpMemory, 8, 0, true);
            case Code.Call_m1616:
                return SetSystem(ref l, &FarInstructions.CallMemory, 2, 0, true);
            case Code.Call_m1632:
                return SetSystem(ref l, &FarInstructions.CallMemory, 4, 0, true);
            case Code.Call_m1664:
                return SetSystem(ref l, &FarInstructions.CallMemory, 8, 0, true);
            case Code.Retfw or Code.Retfw_imm16:
                return SetSystem(ref l, &FarReturn.Retf, 2, ReleaseOf(ref i), true);
            case Code.Retfd or Code.Retfd_imm16:
                return SetSystem(ref l, &FarReturn.Retf, 4, ReleaseOf(ref i), true);
            case Code.Retfq or Code.Retfq_imm16:
                return SetSystem(ref l, &FarReturn.Retf, 8, ReleaseOf(ref i), true);
            case Code.Iretw:
                return SetSystem(ref l, &FarReturn.Iret, 2, 0, true);
            case Code.Iretd:
                return SetSystem(ref l, &FarReturn.Iret, 4, 0, true);
            case Code.Iretq:
                return SetSystem(ref l, &FarReturn.Iret, 8, 0, true);
            default:
                return false;
        }
    }

    private static ulong ReleaseOf(ref Instruction i) => i.OpCount == 0 ? 0 : (ulong)i.Immediate16;

    private static bool LowerFarImmediate(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler, uint size)
    {
        ref var i = ref l.Instruction;
        // The offset in the low half, the selector above it.
        ulong pointer = (size == 2 ? i.FarBranch16 : i.FarBranch32) | ((ulong)i.FarBranchSelector << 32);
        return SetSystem(ref l, handler, size, pointer, true);
    }

    private static bool LowerTables(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        uint table = i.Code switch
        {
            Code.Lgdt_m1632_16 or Code.Lidt_m1632_16 => 2u,
            Code.Lgdt_m1664 or Code.Lidt_m1664 or Code.Sgdt_m1664 or Code.Sidt_m1664 => 8,
            _ => 4,
        };
        return i.Mnemonic switch
        {
            Mnemonic.Lgdt => SetSystem(ref l, &TableInstructions.Lgdt, table),
            Mnemonic.Lidt => SetSystem(ref l, &TableInstructions.Lidt, table),
            Mnemonic.Sgdt => SetSystem(ref l, &TableInstructions.Sgdt, table),
            Mnemonic.Sidt => SetSystem(ref l, &TableInstructions.Sidt, table),
            Mnemonic.Lldt => LowerSelector(ref l, &TableInstructions.Lldt),
            Mnemonic.Ltr => LowerSelector(ref l, &TableInstructions.Ltr),
            Mnemonic.Lmsw => LowerSelector(ref l, &TableInstructions.Lmsw, ends: true),
            Mnemonic.Sldt => LowerStore(ref l, &TableInstructions.Sldt),
            Mnemonic.Str => LowerStore(ref l, &TableInstructions.Str),
            Mnemonic.Smsw => LowerStore(ref l, &TableInstructions.Smsw),
            _ => false,
        };
    }

    private static bool LowerControl(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Code)
        {
            case Code.Mov_r32_cr or Code.Mov_r64_cr:
                l.Op->Dst = OffsetOf(i.Op0Register);
                return LowerControlRegister(ref l, &ControlRegisters.Read, i.Op1Register, i.Code == Code.Mov_r64_cr ? 8u : 4, ends: false);
            case Code.Mov_cr_r32 or Code.Mov_cr_r64:
                l.Op->Src = OffsetOf(i.Op1Register);
                return LowerControlRegister(ref l, &ControlRegisters.Write, i.Op0Register, i.Code == Code.Mov_cr_r64 ? 8u : 4, ends: true);
            case Code.Mov_r32_dr or Code.Mov_r64_dr:
                l.Op->Dst = OffsetOf(i.Op0Register);
                return LowerDebugRegister(ref l, &DebugRegisters.Read, i.Op1Register, i.Code == Code.Mov_r64_dr ? 8u : 4, ends: false);
            case Code.Mov_dr_r32 or Code.Mov_dr_r64:
                l.Op->Src = OffsetOf(i.Op1Register);
                return LowerDebugRegister(ref l, &DebugRegisters.Write, i.Op0Register, i.Code == Code.Mov_dr_r64 ? 8u : 4, ends: true);
            case Code.Clts:
                return SetSystem(ref l, &ControlRegisters.Clts);
            case Code.Invlpg_m:
                return SetSystem(ref l, &ControlRegisters.Invlpg, ends: true);
            case Code.Invpcid_r32_m128 or Code.Invpcid_r64_m128:
                l.Op->Src = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &ControlRegisters.Invpcid, i.Code == Code.Invpcid_r64_m128 ? 8u : 4, 0, true);
            case Code.Rdmsr:
                return SetSystem(ref l, &Msrs.Rdmsr);
            case Code.Wrmsr:
                return SetSystem(ref l, &Msrs.Wrmsr, ends: true);
            default:
                return false;
        }
    }

    private static bool LowerControlRegister(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler, Register register, uint size, bool ends)
    {
        int number = register - Register.CR0;
        bool exists = number is 0 or 2 or 3 or 4 or 8;
        return exists ? SetSystem(ref l, handler, size, (ulong)number, ends) : SetSystem(ref l, &Miscellaneous.Undefined, ends: true);
    }

    private static bool LowerDebugRegister(ref LoweringContext l, delegate*<CpuContext*, Op*, Op*> handler, Register register, uint size, bool ends)
    {
        int number = register - Register.DR0;
        return number < 8 ? SetSystem(ref l, handler, size, (ulong)number, ends) : SetSystem(ref l, &Miscellaneous.Undefined, ends: true);
    }

    private static bool LowerCalls(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Code)
        {
            case Code.Syscall:
                return SetSystem(ref l, &SystemCalls.Syscall, ends: true);
            case Code.Sysretd or Code.Sysretq:
                return SetSystem(ref l, &SystemCalls.Sysret, i.Code == Code.Sysretq ? 8u : 4, 0, true);
            case Code.Sysenter:
                return SetSystem(ref l, &SystemCalls.Sysenter, ends: true);
            case Code.Sysexitd or Code.Sysexitq:
                return SetSystem(ref l, &SystemCalls.Sysexit, i.Code == Code.Sysexitq ? 8u : 4, 0, true);
            case Code.Swapgs:
                return SetSystem(ref l, &SystemCalls.Swapgs);
            case Code.Int_imm8:
                return SetSystem(ref l, &SystemCalls.IntN, 0, i.Immediate8, true);
            case Code.Int3:
                return SetSystem(ref l, &SystemCalls.Int3, ends: true);
            case Code.Into:
                return SetSystem(ref l, &SystemCalls.Into, ends: true);
            case Code.Int1:
                return SetSystem(ref l, &SystemCalls.Int1, ends: true);
            case Code.Rdfsbase_r32 or Code.Rdfsbase_r64 or Code.Rdgsbase_r32 or Code.Rdgsbase_r64:
                l.Op->Dst = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &SystemCalls.ReadBase, SizeOf(i.Op0Register), BaseOf(i.Mnemonic == Mnemonic.Rdfsbase));
            case Code.Wrfsbase_r32 or Code.Wrfsbase_r64 or Code.Wrgsbase_r32 or Code.Wrgsbase_r64:
                l.Op->Src = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &SystemCalls.WriteBase, SizeOf(i.Op0Register), BaseOf(i.Mnemonic == Mnemonic.Wrfsbase));
            default:
                return false;
        }
    }

    private static ulong BaseOf(bool fs) => fs ? SegmentIndex.Fs : (ulong)SegmentIndex.Gs;

    private static bool LowerSystemMiscellaneous(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        switch (i.Mnemonic)
        {
            case Mnemonic.Pushfq:
                // For #SS where the stack pointer is not canonical.
                l.Op->Segment = SegmentIndex.Ss;
                return SetSystem(ref l, &FlagInstructions.Pushfq);
            case Mnemonic.Pushf or Mnemonic.Pushfd:
                return SetSystem(ref l, &FlagInstructions.Pushf, (uint)-i.StackPointerIncrement);
            case Mnemonic.Popf or Mnemonic.Popfd or Mnemonic.Popfq:
                return SetSystem(ref l, &FlagInstructions.Popf, (uint)i.StackPointerIncrement, 0, true);
            case Mnemonic.Cli:
                return SetSystem(ref l, &FlagInstructions.Cli);
            case Mnemonic.Sti:
                return SetSystem(ref l, &FlagInstructions.Sti, ends: true);
            case Mnemonic.Clac:
                return SetSystem(ref l, &FlagInstructions.Clac);
            case Mnemonic.Stac:
                return SetSystem(ref l, &FlagInstructions.Stac);
            case Mnemonic.Cpuid:
                return SetSystem(ref l, &Miscellaneous.CpuId);
            case Mnemonic.Hlt:
                return SetSystem(ref l, &Miscellaneous.Hlt, ends: true);
            case Mnemonic.Pause or Mnemonic.Cldemote:
                return SetSystem(ref l, &Miscellaneous.Nothing);
            case Mnemonic.Monitor:
                return LowerMonitor(ref l);
            case Mnemonic.Mwait:
                return SetSystem(ref l, &Miscellaneous.Mwait);
            case Mnemonic.Wbinvd or Mnemonic.Wbnoinvd or Mnemonic.Invd:
                return SetSystem(ref l, &Miscellaneous.Wbinvd);
            case Mnemonic.Clflush or Mnemonic.Clflushopt or Mnemonic.Clwb:
                return SetSystem(ref l, &Miscellaneous.Clflush);
            case Mnemonic.Rdtsc:
                return SetSystem(ref l, &TimeStamp.Rdtsc);
            case Mnemonic.Rdtscp:
                return SetSystem(ref l, &TimeStamp.Rdtscp);
            case Mnemonic.Rdpid:
                l.Op->Dst = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &TimeStamp.Rdpid);
            case Mnemonic.Rdpmc:
                return SetSystem(ref l, &TimeStamp.Rdpmc);
            case Mnemonic.Bound:
                l.Op->Dst = OffsetOf(i.Op0Register);
                return SetSystem(ref l, &Miscellaneous.Bound, SizeOf(i.Op0Register));
            case Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2 or Mnemonic.Rsm or Mnemonic.Vmcall or Mnemonic.Vmmcall:
                return SetSystem(ref l, &Miscellaneous.Undefined, ends: true);
            default:
                return false;
        }
    }

    // MONITOR's address is DS:rAX with the address size of the instruction.
    private static bool LowerMonitor(ref LoweringContext l)
    {
        ref var i = ref l.Instruction;
        Op* op = l.Op;
        op->Base = OperandOffset.Rax;
        op->Index = OperandOffset.Zero;
        op->Scale = 0;
        op->Disp = 0;
        Register segment = i.SegmentPrefix;
        op->Segment = segment == Register.None ? (byte)SegmentIndex.Ds : (byte)(segment - Register.ES);
        bool based = op->Segment >= SegmentIndex.Fs;
        op->AddressKind = i.Code switch
        {
            Code.Monitorq => based ? AddressKind.Based64 : AddressKind.Flat64,
            Code.Monitord => l.CodeBits == 64 ? AddressKind.Address32In64 : AddressKind.Legacy32,
            _ => AddressKind.Legacy16,
        };
        return SetSystem(ref l, &Miscellaneous.Monitor);
    }
}
