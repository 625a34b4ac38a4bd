using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>Far jumps, calls, returns, gates, tasks and the fast system calls.</summary>
public sealed unsafe class FarTransferTests
{
    private const uint Target = 0x110000;

    private static byte[] Far(byte opcode, ushort selector, uint offset)
        => [opcode, .. BitConverter.GetBytes(offset), .. BitConverter.GetBytes(selector)];

    // Selector, CPL, expected vector (-1: arrives) and error code.
    [TestCase(M.Code32, 0, -1, 0u)]
    [TestCase(M.Code32 | 3, 0, Vector.Gp, 8u)]
    [TestCase(M.UserCode32, 0, Vector.Gp, 0x18u)]
    [TestCase(M.Code32, 3, Vector.Gp, 8u)]
    [TestCase(M.UserCode32, 3, -1, 0u)]
    [TestCase(M.Conforming, 3, -1, 0u)]
    [TestCase(M.Data32, 0, Vector.Gp, 0x10u)]
    [TestCase(M.NotPresentCode, 0, Vector.Np, 0xB0u)]
    [TestCase(0, 0, Vector.Gp, 0u)]
    [TestCase(M.LastSelector, 0, Vector.Gp, 0xB8u)]
    [TestCase(M.LdtSelector, 0, Vector.Gp, 0x60u)]
    [TestCase(M.Code16, 0, Vector.Gp, 0u, Description = "The offset is beyond the limit")]
    public void FarJump(int selector, int cpl, int vector, uint error)
    {
        using var m = M.Protected(cpl);
        m.LoadBytes(Far(0xEA, (ushort)selector, Target));
        m.Write16(Target, 0x0B0F);
        m.Run();
        if (vector < 0)
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
            Assert.That(m.Top(0, 4), Is.EqualTo(Target));
            Assert.That(m.Top(1, 4), Is.EqualTo((selector & ~3) | cpl));
            return;
        }
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((vector, (ulong)error, (ulong)M.Code)));
    }

    [Test]
    public void FarCallPushesAndReturnsWithParametersReleased()
    {
        using var m = M.Protected();
        m.LoadBytes([.. Far(0x9A, M.Code32, Target), 0xF4]);
        // retf 8
        m.Write8(Target, 0xCA);
        m.Write16(Target + 1, 8);
        m.Run();
        Assert.That((m.C->Rip, m.C->Gpr[4]), Is.EqualTo((M.Code + 8UL, M.Stack + 8UL)));
    }

    [TestCase(0x8Cu, 4)]
    [TestCase(0x84u, 2)]
    public void CallGateToInnerLevelCopiesParametersAndReturnDropsSegments(uint type, int size)
    {
        using var m = M.Protected(3);
        uint offset = size == 2 ? 0x4000u : Target;
        m.SetDescriptor(M.Gate, M.MakeGate(M.Code32, offset, type | 0x60, 2));
        m.Write32(M.Stack, 0xAAAABBBB);
        m.Write32(M.Stack + 4, 0xCCCCDDDD);
        // mov ax, ds at level 0 is loaded by the inner code; then retf.
        m.LoadBytes([.. Far(0x9A, M.Gate | 3, 0x12345), 0x0F, 0x0B]);
        Span<byte> inner = [0x66, 0xB8, (byte)M.Data32, 0, 0x8E, 0xD8, 0xF4, 0xCA, (byte)(2 * size), 0];
        for (int i = 0; i < inner.Length; i++)
            m.Write8(offset + (uint)i, inner[i]);
        if (size == 2)
            m.Write8(offset + 7, 0x66);
        if (size == 2)
        {
            m.Write8(offset + 8, 0xCA);
            m.Write16(offset + 9, 4);
        }
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Cpl, Is.Zero);
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack0 - (6 * size)));
            Assert.That(m.Top(1, size), Is.EqualTo(M.UserCode32));
            Assert.That(m.Top(2, size), Is.EqualTo(m.Read(M.Stack, size)));
            Assert.That(m.Top(3, size), Is.EqualTo(m.Read(M.Stack + (ulong)size, size)));
            Assert.That(m.Top(4, size), Is.EqualTo(size == 4 ? M.Stack : M.Stack & 0xFFFF));
            Assert.That(m.Top(5, size), Is.EqualTo(M.UserData32));
        });
        if (size == 2)
            return;
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.Code + 7));
            Assert.That(m.Top(3, 4), Is.EqualTo(M.Stack + 8));
            Assert.That(m.C->Segments[SegmentIndex.Ds].Unusable, Is.EqualTo(1), "The level 0 segment may not stay at level 3.");
            Assert.That(m.C->Segments[SegmentIndex.Es].Selector, Is.EqualTo(M.UserData32));
        });
    }

    [Test]
    public void LongModeCallGateSwitchesToRsp0()
    {
        using var m = M.Long(3);
        m.SetDescriptor(M.Gate, M.MakeGate(M.Code64, Target, 0xEC));
        m.SetDescriptor(M.Gate + 8, 0);
        m.Write32(M.Data, 0);
        m.Write16(M.Data + 4, M.Gate | 3);
        m.Write8(Target, 0xF4);
        // call far dword [Data]
        m.LoadBytes(0xFF, 0x1C, 0x25, 0, 0, 0x20, 0);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(Target + 1));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack0 - 32));
            Assert.That(m.Top(0, 8), Is.EqualTo(M.Code + 7));
            Assert.That(m.Top(1, 8), Is.EqualTo(M.UserCode64));
            Assert.That(m.Top(2, 8), Is.EqualTo(M.Stack));
            Assert.That(m.Top(3, 8), Is.EqualTo(M.UserData32));
        });
    }

    [Test]
    public void EntryIntoLongModeFromProtectedMode()
    {
        using var m = M.Protected();
        m.Load(a =>
        {
            a.mov(eax, (uint)(Mode.Cr4Pae | Mode.Cr4Pge));
            a.mov(cr4, eax);
            a.mov(eax, 0x1000);
            a.mov(cr3, eax);
            a.mov(ecx, Msrs.Efer);
            a.rdmsr();
            a.or(eax, 0x901);
            a.wrmsr();
            a.mov(eax, cr0);
            a.or(eax, 0x80000000u);
            a.mov(cr0, eax);
            a.db(Far(0xEA, M.Code64, Target));
        });
        // mov rax, 0x123456789ABCDEF0; hlt
        byte[] code = [0x48, 0xB8, 0xF0, 0xDE, 0xBC, 0x9A, 0x78, 0x56, 0x34, 0x12, 0xF4];
        for (int i = 0; i < code.Length; i++)
            m.Write8(Target + (uint)i, code[i]);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Gpr[0], Is.EqualTo(0x123456789ABCDEF0));
            Assert.That(m.C->Efer & Mode.EferLma, Is.Not.Zero);
            Assert.That(m.C->CodeBits, Is.EqualTo(64));
        });
    }

    [Test]
    public void SyscallAndSysretGoThereAndBack()
    {
        using var m = M.Long(3);
        m.C->Lstar = Target;
        // CS 8 for the kernel; the user's are at 0x20 - 8 = 0x18 and so on: SS 0x23, CS 0x33 are not in a row here, so the base is 0x18 | 3.
        m.C->Star = (0x1BUL << 48) | (8UL << 32);
        m.C->Fmask = Flags.If | Flags.Tf;
        m.C->Rflags |= Flags.If;
        // syscall; ud2
        m.LoadBytes(0x0F, 0x05, 0x0F, 0x0B);
        // hlt; sysretq
        byte[] kernel = [0xF4, 0x48, 0x0F, 0x07];
        for (int i = 0; i < kernel.Length; i++)
            m.Write8(Target + (uint)i, kernel[i]);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(Target + 1));
            Assert.That(m.C->Cpl, Is.Zero);
            Assert.That(m.C->Gpr[1], Is.EqualTo(M.Code + 2));
            Assert.That(m.C->Gpr[11] & Flags.If, Is.Not.Zero);
            Assert.That(m.C->Rflags & Flags.If, Is.Zero);
            Assert.That(m.C->Segments[SegmentIndex.Cs].Selector, Is.EqualTo(8));
            Assert.That(m.C->Segments[SegmentIndex.Ss].Selector, Is.EqualTo(16));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack), "SYSCALL leaves the stack alone.");
        });
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
            Assert.That(m.Top(0, 8), Is.EqualTo(M.Code + 2));
            Assert.That(m.Top(1, 8), Is.EqualTo(0x1B + 16));
            Assert.That(m.Top(2, 8) & Flags.If, Is.Not.Zero);
            Assert.That(m.Top(4, 8), Is.EqualTo(0x1B + 8));
        });
    }

    [Test]
    public void SysretToNonCanonicalAddressFaultsInTheKernel()
    {
        using var m = M.Long();
        m.C->Gpr[1] = 0x8000_0000_0000;
        m.LoadBytes(0x48, 0x0F, 0x07);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(2, 8)), Is.EqualTo((Vector.Gp, (ulong)M.Code64)));
    }

    [Test]
    public void SysenterAndSysexitIn32BitMode()
    {
        using var m = M.Protected(3);
        m.C->SysenterCs = M.Code32;
        m.C->SysenterEsp = M.Stack0;
        m.C->SysenterEip = Target;
        m.LoadBytes(0x0F, 0x34);
        m.Write32(Target, 0x35_0F_F4);
        m.Run();
        Assert.That((m.C->Cpl, m.C->Gpr[4], m.C->Rip), Is.EqualTo((0, (ulong)M.Stack0, (ulong)Target + 1)));
        m.C->Gpr[1] = M.Stack;
        m.C->Gpr[2] = M.Data;
        m.Write16(M.Data, 0x0B0F);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((Vector.Ud, (ulong)M.Data, (ulong)M.UserCode32)));
    }

    [Test]
    public void CallThroughTaskGateSavesAndIretComesBack()
    {
        using var m = M.Protected();
        WriteTask(m, M.Tss2, Target);
        m.C->Gpr[0] = 0xA0A0;
        m.C->Gpr[3] = 0xB0B0;
        m.LoadBytes([.. Far(0x9A, M.TaskGate, 0), 0xF4]);
        // mov ebx, esp; hlt; iretd
        m.Write32(Target, 0xCFF4E389);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(Target + 3));
            Assert.That(m.C->Gpr[3], Is.EqualTo(0x190000));
            Assert.That(m.C->Gpr[0], Is.EqualTo(0x1234));
            Assert.That(m.C->Rflags & Flags.Nt, Is.Not.Zero);
            Assert.That(m.C->Cr0 & Mode.Cr0Ts, Is.Not.Zero);
            Assert.That(m.C->Segments[SegmentIndex.Tr].Selector, Is.EqualTo(M.Tss2Selector));
            Assert.That(m.Read(M.Tss2, 2), Is.EqualTo(M.TssSelector));
            Assert.That((m.GetDescriptor(M.Tss2Selector) >> 41) & 1, Is.EqualTo(1));
            Assert.That(m.Read(M.Tss + 0x20, 4), Is.EqualTo(M.Code + 7));
            Assert.That(m.Read(M.Tss + 0x28, 4), Is.EqualTo(0xA0A0));
        });
        // The first TSS was never marked by LTR here.
        m.SetDescriptor(M.TssSelector, m.GetDescriptor(M.TssSelector) | (1UL << 41));
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(M.Code + 8));
            Assert.That(m.C->Gpr[0], Is.EqualTo(0xA0A0));
            Assert.That(m.C->Gpr[3], Is.EqualTo(0xB0B0));
            Assert.That(m.C->Gpr[4], Is.EqualTo(M.Stack));
            Assert.That((m.GetDescriptor(M.Tss2Selector) >> 41) & 1, Is.Zero);
            Assert.That(m.Read(M.Tss2 + 0x20, 4), Is.EqualTo(Target + 4));
            Assert.That(m.Read(M.Tss2 + 0x24, 4) & Flags.Nt, Is.Zero);
        });
    }

    [Test]
    public void FaultThroughTaskGatePushesItsErrorCodeOnTheNewStack()
    {
        using var m = M.Protected();
        WriteTask(m, M.Tss2, Target);
        m.Write64(M.Idt + (Vector.Gp * 8), M.MakeGate(M.Tss2Selector, 0, 0x85));
        m.Write8(Target, 0xF4);
        m.C->Gpr[0] = M.ExecuteOnly;
        m.LoadBytes(0x8E, 0xD8);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.C->Rip, Is.EqualTo(Target + 1));
            Assert.That(m.C->Gpr[4], Is.EqualTo(0x190000 - 4));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.ExecuteOnly));
            Assert.That(m.Read(M.Tss + 0x20, 4), Is.EqualTo(M.Code));
        });
    }

    [Test]
    public void BadSegmentOfANewTaskFaultsInTheNewTask()
    {
        using var m = M.Protected();
        WriteTask(m, M.Tss2, Target);
        m.Write16(M.Tss2 + 0x54, M.ExecuteOnly);
        m.LoadBytes(Far(0xEA, M.Tss2Selector, 0));
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ts));
            Assert.That(m.Top(0, 4), Is.EqualTo(M.ExecuteOnly));
            Assert.That(m.Top(1, 4), Is.EqualTo(Target));
            Assert.That(m.C->Segments[SegmentIndex.Tr].Selector, Is.EqualTo(M.Tss2Selector));
        });
    }

    [Test]
    public void TssThatIsTooSmallFaultsInTheOldTask()
    {
        using var m = M.Protected();
        m.SetDescriptor(M.Tss2Selector, M.Make(M.Tss2, 0x66, 0x89));
        m.LoadBytes(Far(0xEA, M.Tss2Selector, 0));
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 4), m.Top(1, 4)), Is.EqualTo((Vector.Ts, (ulong)M.Tss2Selector, (ulong)M.Code)));
    }

    [Test]
    public void SwapgsExchangesAndNeedsLevelZero()
    {
        using var m = M.Long();
        m.C->KernelGsBase = 0x1111;
        m.C->Segments[SegmentIndex.Gs].Base = 0x2222;
        m.LoadBytes(0x0F, 0x01, 0xF8, 0xF4);
        m.Run();
        Assert.That((m.C->KernelGsBase, m.C->Segments[SegmentIndex.Gs].Base), Is.EqualTo((0x2222UL, 0x1111UL)));
        using var user = M.Long(3);
        user.LoadBytes(0x0F, 0x01, 0xF8);
        user.Run();
        Assert.That(user.HaltedVector, Is.EqualTo(Vector.Gp));
    }

    private static void WriteTask(M m, uint tss, uint eip)
    {
        m.Write32(tss + 0x20, eip);
        m.Write32(tss + 0x24, 2);
        m.Write32(tss + 0x28, 0x1234);
        m.Write32(tss + 0x38, 0x190000);
        m.Write16(tss + 0x48, M.Data32);
        m.Write16(tss + 0x4C, M.Code32);
        m.Write16(tss + 0x50, M.Data32);
        m.Write16(tss + 0x54, M.Data32);
    }
}
