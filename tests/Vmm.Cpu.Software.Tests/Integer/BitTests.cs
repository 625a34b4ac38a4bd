using System.Numerics;
using Vmm.Cpu.Software.Interpreter.Integer;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Bit tests, scans and counts, BMI, ADX, CRC32.</summary>
public sealed unsafe class BitTests
{
    [Test]
    public void BitStringsReachBehindAndBeforeTheOperand([Values(-1000, -64, -1, 0, 1, 31, 32, 63, 64, 4095, 100000)] int bit)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        ulong address = TestMachine.DataAddress + 0x8000;
        ulong at = address + (ulong)(long)(int)Math.Floor(bit / 8.0);
        byte mask = (byte)(1 << (bit & 7));
        c->Gpr[6] = address;
        c->Gpr[1] = (ulong)(long)bit;
        Assert.That(i.Assemble(a => a.bts(__qword_ptr[rsi], rcx)).Execute());
        Assert.That(Flags.GetCf(c), Is.False);
        Assert.That(i.Read(at, 1), Is.EqualTo(mask));
        Assert.That(i.Assemble(a => a.bt(__dword_ptr[rsi], ecx)).Execute());
        Assert.That(Flags.GetCf(c));
        Assert.That(i.Assemble(a => a.@lock.btc(__dword_ptr[rsi], ecx)).Execute());
        Assert.That(Flags.GetCf(c));
        Assert.That(i.Read(at, 1), Is.Zero);
        Assert.That(i.Assemble(a => a.@lock.bts(__qword_ptr[rsi], rcx)).Execute());
        Assert.That(i.Read(at, 1), Is.EqualTo(mask));
        Assert.That(i.Assemble(a => a.btr(__word_ptr[rsi], cx)).Execute());
        if (bit is >= short.MinValue and <= short.MaxValue)
            Assert.That(i.Read(at, 1), Is.Zero);
    }

    [Test]
    public void ImmediateAndRegisterIndicesWrapAround()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Arithmetic = Flags.Zf | Flags.Sf | Flags.Of;
        c->Gpr[0] = 0;
        c->Gpr[1] = 67;
        Assert.That(i.Assemble(a => a.bts(rax, rcx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(8));
        Assert.That(i.Assemble(a => a.btr(eax, 35)).Execute());
        Assert.That(c->Gpr[0], Is.Zero);
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Zf | Flags.Sf | Flags.Of));
        i.Write(TestMachine.DataAddress, 0);
        c->Gpr[6] = TestMachine.DataAddress;
        Assert.That(i.Assemble(a => a.btc(__word_ptr[rsi], 18)).Execute());
        Assert.That(i.Read(TestMachine.DataAddress), Is.EqualTo(4));
    }

    [Test]
    public void ScansAndCounts()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[0] = 0x1122334455667788;
        c->Gpr[1] = 0;
        Assert.That(i.Assemble(a => a.bsf(eax, ecx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x1122334455667788), "a zero source leaves the destination whole");
        Assert.That(Flags.GetZf(c));
        Assert.That(i.Assemble(a => a.tzcnt(ax, cx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x1122334455660010));
        Assert.That(Flags.GetCf(c));
        Assert.That(i.Assemble(a => a.lzcnt(rax, rcx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(64));
        for (int bit = 0; bit < 64; bit++)
        {
            c->Gpr[1] = (1UL << bit) | (bit < 63 ? 1UL << 63 : 0);
            Assert.That(i.Assemble(a => a.bsf(rax, rcx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo((ulong)bit));
            Assert.That(Flags.GetZf(c), Is.False);
            c->Gpr[1] = (1UL << bit) | 1;
            Assert.That(i.Assemble(a => a.bsr(rax, rcx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo((ulong)bit));
            Assert.That(i.Assemble(a => a.lzcnt(rax, rcx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo((ulong)(63 - bit)));
            Assert.That(Flags.GetZf(c), Is.EqualTo(bit == 63));
            Assert.That(i.Assemble(a => a.popcnt(eax, ecx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo((ulong)BitOperations.PopCount((uint)c->Gpr[1])));
        }
    }

    [Test]
    public void Bmi()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[1] = 0x00000000F0F0F0F0;
        c->Gpr[2] = 0xFF00FF00;
        void Expect(Action<Iced.Intel.Assembler> write, ulong value, ulong defined, ulong flags)
        {
            i.Arithmetic = Flags.Arithmetic;
            Assert.That(i.Assemble(write).Execute());
            Assert.That(i.Context->Gpr[0], Is.EqualTo(value));
            Assert.That(i.Arithmetic & defined, Is.EqualTo(flags));
        }

        const ulong Defined = Flags.Cf | Flags.Zf | Flags.Sf | Flags.Of;
        Expect(a => a.andn(eax, edx, ecx), 0x00F000F0, Defined, 0);
        Expect(a => a.blsi(rax, rcx), 0x10, Defined, Flags.Cf);
        Expect(a => a.blsr(eax, ecx), 0xF0F0F0E0, Defined, Flags.Sf);
        Expect(a => a.blsmsk(eax, ecx), 0x1F, Defined, 0);
        c->Gpr[2] = 0x0804;
        Expect(a => a.bextr(eax, ecx, edx), 0x0F, Flags.Cf | Flags.Zf | Flags.Of, 0);
        c->Gpr[2] = 0xFF40;
        Expect(a => a.bextr(rax, rcx, rdx), 0, Flags.Cf | Flags.Zf | Flags.Of, Flags.Zf);
        c->Gpr[2] = 9;
        Expect(a => a.bzhi(eax, ecx, edx), 0xF0, Defined, 0);
        c->Gpr[2] = 32;
        Expect(a => a.bzhi(eax, ecx, edx), 0xF0F0F0F0, Defined, Flags.Cf | Flags.Sf);
        c->Gpr[2] = 36;
        Expect(a => a.rorx(eax, ecx, 4), 0x0F0F0F0F, Flags.Arithmetic, Flags.Arithmetic);
        Expect(a => a.sarx(eax, ecx, edx), 0xFF0F0F0F, Flags.Arithmetic, Flags.Arithmetic);
        Expect(a => a.shrx(eax, ecx, edx), 0x0F0F0F0F, Flags.Arithmetic, Flags.Arithmetic);
        Expect(a => a.shlx(rax, rcx, rdx), 0x0F0F0F0000000000, Flags.Arithmetic, Flags.Arithmetic);
        Expect(a => a.shlx(eax, ecx, edx), 0x0F0F0F00, Flags.Arithmetic, Flags.Arithmetic);
    }

    [Test]
    public void DepositAndExtractAgreeWithTheLoops()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var random = new Random(2);
        for (int n = 0; n < 500; n++)
        {
            ulong value = (ulong)random.NextInt64(), mask = (ulong)random.NextInt64() & (ulong)random.NextInt64();
            c->Gpr[1] = value;
            c->Gpr[2] = mask;
            Assert.That(i.Assemble(a => a.pdep(rax, rcx, rdx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo(Pdep.Deposit(value, mask)));
            Assert.That(i.Assemble(a => a.pext(eax, ecx, edx)).Execute());
            Assert.That(c->Gpr[0], Is.EqualTo(Pext.Extract((uint)value, (uint)mask)));
            Assert.That(i.Assemble(a => a.pext(rax, rcx, rdx)).Execute());
            Assert.That(Pdep.Deposit(c->Gpr[0], mask), Is.EqualTo(value & mask));
        }
    }

    [Test]
    public void CarryChainsAreIndependent()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Arithmetic = Flags.Of | Flags.Zf;
        c->Gpr[0] = uint.MaxValue;
        c->Gpr[1] = 1;
        Assert.That(i.Assemble(a => a.adcx(eax, ecx)).Execute());
        Assert.That(c->Gpr[0], Is.Zero);
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Of | Flags.Zf));
        c->Gpr[0] = 5;
        Assert.That(i.Assemble(a => a.adox(rax, rcx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(7));
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Zf));
        c->Gpr[0] = ulong.MaxValue;
        Assert.That(i.Assemble(a => a.adcx(rax, rcx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(1));
        Assert.That(Flags.GetCf(c));
    }

    [Test]
    public void Crc32OfTheCheckString()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[0] = 0xAAAAAAAAFFFFFFFF;
        foreach (byte b in "123456789"u8)
        {
            c->Gpr[1] = b;
            Assert.That(i.Assemble(a => a.crc32(eax, cl)).Execute());
        }
        // CRC-32C's published check value.
        Assert.That(c->Gpr[0], Is.EqualTo(0xE3069283 ^ 0xFFFFFFFF));
    }

    [Test]
    public void ByteOrders()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[1] = 0x1122334455667788;
        c->Gpr[6] = TestMachine.DataAddress;
        Assert.That(i.Assemble(a => a.movbe(__word_ptr[rsi], cx)).Execute());
        Assert.That(i.Read(TestMachine.DataAddress, 2), Is.EqualTo(0x8877));
        Assert.That(i.Assemble(a => a.movbe(__qword_ptr[rsi], rcx)).Execute());
        Assert.That(i.Read(TestMachine.DataAddress), Is.EqualTo(0x8877665544332211));
        Assert.That(i.Assemble(a => a.movbe(eax, __dword_ptr[rsi])).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x11223344));
        Assert.That(i.Assemble(a => a.bswap(ecx)).Execute());
        Assert.That(c->Gpr[1], Is.EqualTo(0x88776655));
    }
}
