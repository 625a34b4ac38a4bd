using System.Numerics;
using Iced.Intel;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>MUL, IMUL, MULX, DIV, IDIV against big integers.</summary>
public sealed unsafe class MultiplicationTests
{
    private static readonly ulong[] Corners =
    [
        0, 1, 2, 3, 7, 10, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000,
        0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF, 0x123456789ABCDEF0, 0xFEDCBA9876543210,
    ];

    private static BigInteger Unsigned(ulong value, int bits) => value & (bits == 64 ? ulong.MaxValue : (1UL << bits) - 1);

    private static BigInteger Signed(ulong value, int bits)
    {
        BigInteger v = Unsigned(value, bits);
        return v >= BigInteger.One << (bits - 1) ? v - (BigInteger.One << bits) : v;
    }

    private static ulong Low(BigInteger value, int bits) => (ulong)(value & ((BigInteger.One << bits) - 1));

    private static ulong Merge(ulong old, ulong value, int bits) => bits switch
    {
        8 => (old & ~0xFFUL) | value,
        16 => (old & ~0xFFFFUL) | value,
        _ => value,
    };

    // F6/F7 with an extension in ModRM and CL, CX, ECX or RCX as the operand.
    private static void EncodeOne(SingleInstruction i, int extension, int bits)
    {
        byte modRm = (byte)(0xC1 | (extension << 3));
        _ = bits switch
        {
            8 => i.Encode(0xF6, modRm),
            16 => i.Encode(0x66, 0xF7, modRm),
            32 => i.Encode(0xF7, modRm),
            _ => i.Encode(0x48, 0xF7, modRm),
        };
    }

    [Test]
    public void WideProducts([Values(8, 16, 32, 64)] int bits, [Values] bool signed)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        EncodeOne(i, signed ? 5 : 4, bits);
        foreach (ulong x in Corners)
        {
            foreach (ulong y in Corners)
            {
                c->Gpr[0] = x;
                c->Gpr[1] = y;
                c->Gpr[2] = 0x1111111111111111;
                i.Arithmetic = Flags.Zf | Flags.Sf;
                Assert.That(i.Execute());
                BigInteger r = signed ? Signed(x, bits) * Signed(y, bits) : Unsigned(x, bits) * Unsigned(y, bits);
                bool wide = signed ? Signed(Low(r, bits), bits) != r : r >> bits != 0;
                if (bits == 8)
                {
                    Assert.That(c->Gpr[0], Is.EqualTo(Merge(x, Low(r, 16), 16)), $"{x:X} * {y:X}");
                    Assert.That(c->Gpr[2], Is.EqualTo(0x1111111111111111));
                }
                else
                {
                    Assert.That(c->Gpr[0], Is.EqualTo(Merge(x, Low(r, bits), bits)), $"{x:X} * {y:X}");
                    Assert.That(c->Gpr[2], Is.EqualTo(Merge(0x1111111111111111, Low(r >> bits, bits), bits)), $"{x:X} * {y:X}");
                }
                Assert.That(i.Arithmetic & (Flags.Cf | Flags.Of), Is.EqualTo(wide ? Flags.Cf | Flags.Of : 0), $"{x:X} * {y:X}");
            }
        }
    }

    [Test]
    public void TruncatedProducts([Values(16, 32, 64)] int bits)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        Code code = bits switch { 16 => Code.Imul_r16_rm16, 32 => Code.Imul_r32_rm32, _ => Code.Imul_r64_rm64 };
        Register to = bits switch { 16 => Register.BX, 32 => Register.EBX, _ => Register.RBX };
        Register from = bits switch { 16 => Register.R9W, 32 => Register.R9D, _ => Register.R9 };
        i.Assemble(a => a.AddInstruction(Instruction.Create(code, to, from)));
        foreach (ulong x in Corners)
        {
            foreach (ulong y in Corners)
            {
                c->Gpr[3] = x;
                c->Gpr[9] = y;
                Assert.That(i.Execute());
                BigInteger r = Signed(x, bits) * Signed(y, bits);
                Assert.That(c->Gpr[3], Is.EqualTo(Merge(x, Low(r, bits), bits)));
                Assert.That(Flags.GetCf(c), Is.EqualTo(Signed(Low(r, bits), bits) != r));
                Assert.That(Flags.GetOf(c), Is.EqualTo(Flags.GetCf(c)));
            }
        }
    }

    [Test]
    public void ProductsWithImmediates()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Gpr[3] = 7;
        c->Gpr[1] = 0xFFFFFFFF00000007;
        Assert.That(i.Assemble(a => a.imul(eax, ebx, -5)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(unchecked((uint)-35)));
        Assert.That(i.Assemble(a => a.imul(ax, cx, 0x4000)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0xFFFFC000));
        Assert.That(Flags.GetOf(c));
        i.Write(TestMachine.DataAddress, 0x100000000);
        c->Gpr[6] = TestMachine.DataAddress;
        Assert.That(i.Assemble(a => a.imul(r10, __qword_ptr[rsi], 0x12345678)).Execute());
        Assert.That(c->Gpr[10], Is.EqualTo(0x1234567800000000));
        Assert.That(Flags.GetOf(c), Is.False);
    }

    [Test]
    public void MulxLeavesFlagsAndPrefersTheHighHalf()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Arithmetic = Flags.Cf | Flags.Zf;
        c->Gpr[2] = ulong.MaxValue;
        c->Gpr[1] = ulong.MaxValue;
        Assert.That(i.Assemble(a => a.mulx(rax, rbx, rcx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(ulong.MaxValue - 1));
        Assert.That(c->Gpr[3], Is.EqualTo(1));
        Assert.That(i.Assemble(a => a.mulx(eax, eax, ecx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(uint.MaxValue - 1));
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Zf));
    }

    [Test]
    public void Quotients([Values(8, 16, 32, 64)] int bits, [Values] bool signed)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        EncodeOne(i, signed ? 7 : 6, bits);
        var random = new Random(1);
        int faults = 0, done = 0;
        for (int n = 0; n < 5000; n++)
        {
            ulong low = Pick(random), high = Pick(random), divisor = Pick(random);
            if (random.Next(2) == 0)
                high = signed && (low >> (bits - 1) & 1) != 0 ? ulong.MaxValue : 0;
            c->Gpr[0] = low;
            c->Gpr[2] = high;
            c->Gpr[1] = divisor;
            BigInteger dividend;
            if (bits == 8)
                dividend = signed ? Signed(low, 16) : Unsigned(low, 16);
            else
                dividend = ((signed ? Signed(high, bits) : Unsigned(high, bits)) << bits) + Unsigned(low, bits);
            BigInteger d = signed ? Signed(divisor, bits) : Unsigned(divisor, bits);
            bool fits = d != 0;
            BigInteger remainder = 0, quotient = fits ? BigInteger.DivRem(dividend, d, out remainder) : 0;
            if (fits)
                fits = (signed ? Signed(Low(quotient, bits), bits) : Unsigned(Low(quotient, bits), bits)) == quotient;
            Assert.That(i.Execute(), Is.EqualTo(fits), $"{dividend} / {d}");
            if (!fits)
            {
                faults++;
                Assert.That(i.Fault, Is.EqualTo(Interpreter.Vector.De));
                Assert.That((c->Gpr[0], c->Gpr[2]), Is.EqualTo((low, high)));
                continue;
            }
            done++;
            if (bits == 8)
            {
                Assert.That(c->Gpr[0], Is.EqualTo(Merge(low, Low(quotient, 8) | (Low(remainder, 8) << 8), 16)), $"{dividend} / {d}");
                continue;
            }
            Assert.That(c->Gpr[0], Is.EqualTo(Merge(low, Low(quotient, bits), bits)), $"{dividend} / {d}");
            Assert.That(c->Gpr[2], Is.EqualTo(Merge(high, Low(remainder, bits), bits)), $"{dividend} % {d}");
        }
        Assert.That(faults, Is.GreaterThan(100));
        Assert.That(done, Is.GreaterThan(100));
    }

    private static ulong Pick(Random random) => random.Next(3) switch
    {
        0 => Corners[random.Next(Corners.Length)],
        1 => (ulong)random.NextInt64() >> random.Next(64),
        _ => 0 - ((ulong)random.NextInt64() >> random.Next(64)),
    };
}
