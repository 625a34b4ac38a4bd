using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>XCHG, XADD, CMPXCHG and locked arithmetic on one processor: values, flags, faults.</summary>
public sealed unsafe class ExchangeTests
{
    private const ulong Data = TestMachine.DataAddress;

    [Test]
    public void CompareExchange()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[6] = Data;
        i.Write(Data, 0x1111111122222222);
        c->Gpr[0] = 0xFFFFFFFF22222222;
        c->Gpr[2] = 0x33333333;
        Assert.That(i.Assemble(a => a.@lock.cmpxchg(__dword_ptr[rsi], edx)).Execute());
        Assert.That(i.Read(Data), Is.EqualTo(0x1111111133333333));
        Assert.That(c->Gpr[0], Is.EqualTo(0xFFFFFFFF22222222), "the accumulator is not written on success");
        Assert.That(Flags.GetZf(c));
        Assert.That(i.Assemble(a => a.cmpxchg(__qword_ptr[rsi], rdx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x1111111133333333));
        Assert.That(Flags.GetZf(c), Is.False);
        // Flags are those of accumulator - destination.
        c->Gpr[0] = 1;
        i.Write(Data, 2, 1);
        Assert.That(i.Assemble(a => a.@lock.cmpxchg(__byte_ptr[rsi], dl)).Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Af | Flags.Sf | Flags.Pf));
        Assert.That(c->Gpr[0], Is.EqualTo(2));
    }

    [Test]
    public void CompareExchangeOfPairs()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[6] = Data;
        i.Write(Data, 5);
        i.Write(Data + 8, 6);
        (c->Gpr[0], c->Gpr[2], c->Gpr[3], c->Gpr[1]) = (5, 6, 7, 8);
        i.Arithmetic = Flags.Cf | Flags.Of;
        Assert.That(i.Assemble(a => a.@lock.cmpxchg16b(__xmmword_ptr[rsi])).Execute());
        Assert.That((i.Read(Data), i.Read(Data + 8)), Is.EqualTo((7, 8)));
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Of | Flags.Zf));
        Assert.That(i.Execute());
        Assert.That((c->Gpr[0], c->Gpr[2]), Is.EqualTo((7, 8)));
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Of));
        i.Write(Data, 0x0000000600000005);
        (c->Gpr[0], c->Gpr[2], c->Gpr[3], c->Gpr[1]) = (0xFFFFFFFF00000005, 6, 7, 8);
        Assert.That(i.Assemble(a => a.@lock.cmpxchg8b(__qword_ptr[rsi])).Execute());
        Assert.That(i.Read(Data), Is.EqualTo(0x0000000800000007));
        Assert.That(i.Assemble(a => a.cmpxchg8b(__qword_ptr[rsi])).Execute());
        Assert.That((c->Gpr[0], c->Gpr[2]), Is.EqualTo((7, 8)));
        c->Gpr[6] = Data + 8;
        Assert.That(i.Assemble(a => a.cmpxchg16b(__xmmword_ptr[rsi])).Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.Gp));
    }

    [Test]
    public void LockedArithmeticEqualsThePlainForms([Values(1, 2, 4, 8)] int size, [Values(0, 1, 4093)] int offset)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var random = new Random(size);
        byte[] opcodes = [0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30];
        ulong address = Data + (ulong)offset;
        for (int n = 0; n < 300; n++)
        {
            // add/or/adc/sbb/and/sub/xor [rsi], rcx or not/neg/inc/dec [rsi].
            int kind = random.Next(opcodes.Length + 4);
            byte wide = (byte)(size == 1 ? 0 : 1);
            byte[] form = kind < opcodes.Length
                ? [(byte)(opcodes[kind] | wide), 0x0E]
                : [(byte)((kind - opcodes.Length < 2 ? 0xF6 : 0xFE) | wide), new byte[] { 0x16, 0x1E, 0x06, 0x0E }[kind - opcodes.Length]];
            byte[] prefix = size switch { 2 => [0x66], 8 => [0x48], _ => [] };
            ulong value = (ulong)random.NextInt64() * (ulong)random.Next(3), operand = (ulong)random.NextInt64() >> random.Next(64);
            ulong flags = random.Next(2) == 0 ? 0 : Flags.Arithmetic;
            c->Gpr[6] = address;
            c->Gpr[1] = operand;
            i.Write(address, value);
            i.Arithmetic = flags;
            Assert.That(i.Encode([.. prefix, .. form]).Execute());
            ulong expected = i.Read(address), expectedFlags = i.Arithmetic;
            i.Write(address, value);
            i.Arithmetic = flags;
            Assert.That(i.Encode([0xF0, .. prefix, .. form]).Execute());
            Assert.That((i.Read(address), i.Arithmetic), Is.EqualTo((expected, expectedFlags)), Convert.ToHexString(form));
        }
    }

    [Test]
    public void ExchangeAndAddReturnTheOldValue()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[6] = Data + 4094;
        i.Write(Data + 4094, 0xAABBCCDD, 4);
        c->Gpr[0] = 0x1111111111111111;
        Assert.That(i.Assemble(a => a.xchg(__dword_ptr[rsi], eax)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0xAABBCCDD));
        Assert.That(i.Read(Data + 4094, 4), Is.EqualTo(0x11111111));
        Assert.That(i.Assemble(a => a.@lock.xadd(__word_ptr[rsi], ax)).Execute());
        Assert.That(i.Read(Data + 4094, 4), Is.EqualTo(0x1111DDEE));
        Assert.That(c->Gpr[0], Is.EqualTo(0xAABB1111));
        c->Gpr[3] = 3;
        Assert.That(i.Assemble(a => a.xadd(rbx, rbx)).Execute());
        Assert.That(c->Gpr[3], Is.EqualTo(6));
    }

    [Test]
    public void FaultsLeaveEverythingAsItWas()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Protect(Data + 0x1000, present: true);
        c->Gpr[6] = Data + 0xFFC;
        c->Gpr[0] = 9;
        i.Write(Data + 0xFFC, 0x5555555555555555);
        i.Arithmetic = Flags.Cf | Flags.Zf;
        foreach (var write in new Action<Iced.Intel.Assembler>[]
        {
            a => a.@lock.add(__qword_ptr[rsi], rax), a => a.xchg(__qword_ptr[rsi], rax), a => a.@lock.xadd(__qword_ptr[rsi], rax),
            a => a.rol(__qword_ptr[rsi], 3), a => a.bts(__qword_ptr[rsi], 3), a => a.cmpxchg(__qword_ptr[rsi], rax),
            a => a.shld(__qword_ptr[rsi], rax, 3), a => a.@lock.cmpxchg8b(__qword_ptr[rsi]),
        })
        {
            Assert.That(i.Assemble(write).Execute(), Is.False);
            Assert.That(i.Fault, Is.EqualTo(Vector.Pf));
            Assert.That(c->PendingErrorCode & 3, Is.EqualTo(3), "a write to a present page, for the read of a read-modify-write too");
            Assert.That(i.Read(Data + 0xFFC), Is.EqualTo(0x5555555555555555));
            Assert.That((c->Gpr[0], i.Arithmetic), Is.EqualTo((9, Flags.Cf | Flags.Zf)));
        }
    }

    [Test]
    public void LockIsUndefinedWhereItIsNotAllowed()
    {
        using var i = new SingleInstruction();
        i.Context->Gpr[6] = Data;
        // lock add eax, ecx; lock mov [rsi], eax; lock cmp [rsi], eax; lock add eax, [rsi]; lock bt [rsi], eax; lock shl [rsi], 1; lock nop
        foreach (string bytes in new[] { "F001C8", "F08906", "F03906", "F00306", "F00FA306", "F0D126", "F090" })
        {
            Assert.That(i.Encode(Convert.FromHexString(bytes)).Execute(), Is.False, bytes);
            Assert.That(i.Fault, Is.EqualTo(Vector.Ud), bytes);
        }
    }
}
