using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Privileged;
using Vmm.Cpu.Software.State;
using M = Vmm.Cpu.Software.Tests.Privileged.PrivilegedMachine;

namespace Vmm.Cpu.Software.Tests.Privileged;

/// <summary>32-bit code under a 64-bit kernel, and NMIs.</summary>
public sealed unsafe class CompatibilityModeTests
{
    private const uint User = 0x110000;

    // Enters 32-bit user code by IRETQ.
    private static M Enter(params byte[] code)
    {
        var m = M.Long();
        m.Load(a =>
        {
            a.push(M.UserData32);
            a.push((int)M.Stack);
            a.push(0x202);
            a.push(M.UserCode32);
            a.push((int)User);
            a.iretq();
        });
        Assert.That(m.Machine.Memory.TryLoad(User, code));
        return m;
    }

    [Test]
    public void IretqEntersIt()
    {
        // 0x40 is INC EAX there, a REX prefix in 64-bit mode; then a push of 4 bytes.
        using var m = Enter(0x31, 0xC0, 0x40, 0x50, 0x0F, 0x0B);
        m.Run();
        Assert.Multiple(() =>
        {
            Assert.That(m.HaltedVector, Is.EqualTo(Vector.Ud));
            Assert.That(m.C->CodeBits, Is.EqualTo(64));
            Assert.That(m.C->Gpr[0], Is.EqualTo(1));
            Assert.That(m.Top(0, 8), Is.EqualTo(User + 4));
            Assert.That(m.Top(1, 8), Is.EqualTo(M.UserCode32));
            Assert.That(m.Top(3, 8), Is.EqualTo(M.Stack - 4));
        });
    }

    [Test]
    public void InterruptGateOf64BitCodeServesIt()
    {
        using var m = Enter(0xCD, 0x80, 0x40, 0x0F, 0x0B);
        m.SetGate(0x80, M.Code64, M.Handlers + (0x80 * 16), 0xEE);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8), m.C->CodeBits), Is.EqualTo((0x80, (ulong)User + 2, 64)));
        // iretq
        m.Write16(M.Handlers + (0x80 * 16) + 1, 0xCF48);
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8)), Is.EqualTo((Vector.Ud, (ulong)User + 3)));
    }

    [Test]
    public void SyscallGoesToCstarAndSysretdBack()
    {
        using var m = Enter(0x0F, 0x05, 0x40, 0x0F, 0x0B);
        m.C->Cstar = 0x120000;
        m.C->Lstar = 0x130000;
        m.C->Star = (0x1BUL << 48) | (8UL << 32);
        // hlt; sysretd
        m.Write32(0x120000, 0x070FF4);
        m.Run();
        Assert.That((m.C->Rip, m.C->Cpl, m.C->Gpr[1]), Is.EqualTo((0x120001UL, 0, (ulong)User + 2)));
        m.C->Gpr[0] = 0xFFFFFFFF;
        m.Run();
        Assert.That((m.HaltedVector, m.Top(0, 8), m.Top(1, 8), m.C->Gpr[0]), Is.EqualTo((Vector.Ud, (ulong)User + 3, 0x1BUL, 0UL)));
    }

    [Test]
    public void AddressesWrapAt4GiB()
    {
        // The return to level 3 took DS away: mov ax, 0x23; mov ds, ax.
        // mov ecx, 0xFFFFFFFC; mov eax, [ecx + 0x200004]: at 0x200000.
        using var m = Enter(0x66, 0xB8, (byte)M.UserData32, 0, 0x8E, 0xD8, 0xB9, 0xFC, 0xFF, 0xFF, 0xFF, 0x8B, 0x81, 0x04, 0x00, 0x20, 0x00, 0x0F, 0x0B);
        m.Write32(M.Data, 0xCAFEBABE);
        m.Run();
        Assert.That((m.HaltedVector, m.C->Gpr[0]), Is.EqualTo((Vector.Ud, 0xCAFEBABEUL)));
    }

    [Test]
    public void FarJumpIntoCompatibilityCodeAndBack()
    {
        using var m = M.Long();
        m.Write32(M.Data, User);
        m.Write16(M.Data + 4, M.Code32);
        // jmp far [Data]
        m.LoadBytes(0xFF, 0x2C, 0x25, 0, 0, 0x20, 0);
        // inc eax; jmp 28:120000
        m.Machine.Memory.TryLoad(User, [0x40, 0xEA, 0, 0, 0x12, 0, (byte)M.Code64, 0]);
        m.Write8(0x120000, 0xF4);
        m.Run();
        Assert.That((m.C->Rip, m.C->CodeBits, m.C->Gpr[0]), Is.EqualTo((0x120001UL, 64, 1UL)));
    }

    [Test]
    public void NmiIsBlockedUntilIret()
    {
        using var m = M.Long();
        m.SetGate(Vector.Nmi, M.Code64, M.Handlers + (Vector.Nmi * 16), 0x8E, 1);
        m.LoadBytes(0x90, 0x90, 0xF4);
        m.Cpu.Nmi();
        m.Run();
        Assert.That((m.HaltedVector, m.C->NmiBlocked, m.C->Gpr[4]), Is.EqualTo((Vector.Nmi, 1, (ulong)M.Ist1 - 40)));
        // A second one waits; iretq lets it in before the next instruction.
        m.Cpu.Nmi();
        m.Write16(M.Handlers + (Vector.Nmi * 16) + 1, 0xCF48);
        m.C->Gpr[8] = 1;
        m.Run();
        Assert.That((m.HaltedVector, m.C->NmiBlocked, m.Top(0, 8)), Is.EqualTo((Vector.Nmi, 1, (ulong)M.Code)));
    }

    [Test]
    public void StiHltIsWokenByNothingInBetween()
    {
        using var m = M.Long();
        m.LoadBytes(0xFB, 0xF4, 0x0F, 0x0B);
        m.Run();
        Assert.That((m.C->Rip, m.C->Shadow), Is.EqualTo((M.Code + 2UL, 0)));
    }
}
