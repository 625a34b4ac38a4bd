using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Decimal adjustments, stack frames, flags and other instructions that are older than the rest.</summary>
public sealed unsafe class LegacyTests
{
    private const ulong Stack = 0x180000;

    // Packed addition: DAA makes the sum of two decimal numbers out of the sum of their bytes.
    [Test]
    public void DecimalAdditionAndSubtraction()
    {
        using var i = new SingleInstruction();
        i.EnterLegacyMode(32);
        CpuContext* c = i.Context;
        static byte Packed(int value) => (byte)((value / 10 % 10 << 4) | (value % 10));
        for (int x = 0; x < 100; x++)
        {
            for (int y = 0; y < 100; y += 7)
            {
                (c->Gpr[0], c->Gpr[1]) = (Packed(x), Packed(y));
                Assert.That(i.Encode(0x00, 0xC8).Execute());
                Assert.That(i.Encode(0x27).Execute());
                Assert.That((c->Gpr[0], Flags.GetCf(c)), Is.EqualTo(((ulong)Packed(x + y), x + y > 99)), $"{x} + {y}");
                (c->Gpr[0], c->Gpr[1]) = (Packed(x), Packed(y));
                Assert.That(i.Encode(0x28, 0xC8).Execute());
                Assert.That(i.Encode(0x2F).Execute());
                Assert.That((c->Gpr[0], Flags.GetCf(c)), Is.EqualTo(((ulong)Packed((x - y + 100) % 100), x < y)), $"{x} - {y}");
            }
        }
    }

    [Test]
    public void UnpackedDecimals()
    {
        using var i = new SingleInstruction();
        i.EnterLegacyMode(32);
        CpuContext* c = i.Context;
        for (uint x = 0; x < 10; x++)
        {
            for (uint y = 0; y < 10; y++)
            {
                (c->Gpr[0], c->Gpr[1]) = (0x300 | x, y);
                i.Encode(0x00, 0xC8).Execute();
                i.Encode(0x37).Execute();
                Assert.That(c->Gpr[0], Is.EqualTo(((3 + ((x + y) / 10)) << 8) | ((x + y) % 10)), $"{x} + {y}");
                (c->Gpr[0], c->Gpr[1]) = (0x300 | x, y);
                i.Encode(0x28, 0xC8).Execute();
                i.Encode(0x3F).Execute();
                Assert.That(c->Gpr[0], Is.EqualTo(((x < y ? 2u : 3u) << 8) | ((x + 10 - y) % 10)), $"{x} - {y}");
                Assert.That(Flags.GetCf(c), Is.EqualTo(x < y));
                c->Gpr[0] = x * y;
                Assert.That(i.Encode(0xD4, 10).Execute());
                Assert.That(c->Gpr[0], Is.EqualTo((x * y / 10 << 8) | (x * y % 10)));
                Assert.That(i.Encode(0xD5, 10).Execute());
                Assert.That(c->Gpr[0], Is.EqualTo(x * y));
                Assert.That(Flags.GetZf(c), Is.EqualTo(x * y == 0));
            }
        }
        Assert.That(i.Encode(0xD4, 0).Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.De));
    }

    // Results and all flags of daa, das, aaa, aas, aam, aad, aam 7, aad 19 and salc over inputs in this order, recorded on a Zen 3 processor in 32-bit mode.
    [Test]
    public void DecimalAdjustmentsGiveWhatAProcessorGave()
    {
        (byte[] Bytes, int Step)[] instructions =
            [([0x27], 255), ([0x2F], 255), ([0x37], 17), ([0x3F], 17), ([0xD4, 10], 85), ([0xD5, 10], 17), ([0xD4, 7], 85), ([0xD5, 0x13], 17), ([0xD6], 255)];
        using var i = new SingleInstruction();
        i.EnterLegacyMode(32);
        CpuContext* c = i.Context;
        using var results = new MemoryStream();
        foreach (var (bytes, step) in instructions)
        {
            i.Encode(bytes);
            for (int ah = 0; ah < 256; ah += step)
            {
                for (int n = 0; n < 256 * 8; n++)
                {
                    c->Gpr[0] = 0xAAAA0000 | (uint)(ah << 8) | (uint)(n >> 3);
                    i.Arithmetic = ((n & 1) != 0 ? Flags.Cf : 0) | ((n & 2) != 0 ? Flags.Af : 0) | ((n & 4) != 0 ? Flags.Zf | Flags.Sf | Flags.Pf | Flags.Of : 0);
                    i.Execute();
                    results.Write(BitConverter.GetBytes((ushort)c->Gpr[0]));
                    results.Write(BitConverter.GetBytes((ushort)i.Arithmetic));
                }
            }
        }
        string digest = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(results.ToArray()));
        Assert.That(digest, Is.EqualTo("2994B45DE189C00EC0BC13DCC07FBC647098A743828DF1A060482C261FA41C81"));
    }

    [Test]
    public void FramesNestAndUnwind()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        (c->Gpr[4], c->Gpr[5]) = (Stack, 0x190000);
        Assert.That(i.Assemble(a => a.enter(0x20, 0)).Execute());
        Assert.That((c->Gpr[4], c->Gpr[5], i.Read(Stack - 8)), Is.EqualTo((Stack - 0x28, Stack - 8, 0x190000UL)));
        i.Write(Stack - 16, 0xAAAA);
        i.Write(Stack - 24, 0xBBBB);
        Assert.That(i.Assemble(a => a.enter(0x10, 3)).Execute());
        ulong frame = Stack - 0x30;
        Assert.That((c->Gpr[4], c->Gpr[5]), Is.EqualTo((frame - 24 - 0x10, frame)));
        Assert.That((i.Read(frame), i.Read(frame - 8), i.Read(frame - 16), i.Read(frame - 24)), Is.EqualTo((Stack - 8, 0xAAAAUL, 0xBBBBUL, frame)));
        Assert.That(i.Assemble(a => a.leave()).Execute());
        Assert.That(i.Execute());
        Assert.That((c->Gpr[4], c->Gpr[5]), Is.EqualTo((Stack, 0x190000UL)));
        c->Gpr[5] = 0x8000000000000000;
        Assert.That(i.Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.Ss), "a non-canonical frame");
        Assert.That(c->Gpr[4], Is.EqualTo(Stack));
    }

    [Test]
    public void AllRegistersOnTheStack([Values(16, 32)] int bits)
    {
        using var i = new SingleInstruction();
        i.EnterLegacyMode(bits, 0, bits == 16 ? 0xFFFFu : uint.MaxValue);
        CpuContext* c = i.Context;
        for (uint n = 0; n < 8; n++)
            c->Gpr[n] = 0x11110000 + n;
        c->Gpr[4] = 0x8000;
        Assert.That(i.Encode(0x60).Execute());
        int size = bits / 8;
        Assert.That(c->Gpr[4], Is.EqualTo(0x8000 - (8 * (ulong)size)));
        Assert.That(i.Read(0x8000 - (5 * (ulong)size), size), Is.EqualTo(0x8000), "SP as before");
        Assert.That(i.Read(c->Gpr[4], 2), Is.EqualTo(7));
        for (uint n = 0; n < 8; n++)
        {
            if (n != 4)
                c->Gpr[n] = 0x22220000;
        }
        Assert.That(i.Encode(0x61).Execute());
        for (uint n = 0; n < 8; n++)
            Assert.That(c->Gpr[n], Is.EqualTo(n == 4 ? 0x8000 : (bits == 16 ? 0x22220000 : 0x11110000) + n));
    }

    [Test]
    public void BoundsAreInclusiveAndSigned()
    {
        using var i = new SingleInstruction();
        i.EnterLegacyMode(32);
        CpuContext* c = i.Context;
        c->Gpr[6] = TestMachine.DataAddress;
        i.Write(TestMachine.DataAddress, unchecked((uint)-5), 4);
        i.Write(TestMachine.DataAddress + 4, 7, 4);
        i.Encode(0x62, 0x06);
        for (int n = -7; n < 10; n++)
        {
            c->Gpr[0] = (uint)n;
            Assert.That(i.Execute(), Is.EqualTo(n is >= -5 and <= 7));
            Assert.That(i.Fault, Is.EqualTo(n is >= -5 and <= 7 ? -1 : Vector.Br));
        }
    }

    [Test]
    public void FlagsInAh()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Arithmetic = Flags.Arithmetic;
        Assert.That(i.Assemble(a => a.lahf()).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0xD700));
        c->Gpr[0] = 0x4100;
        Assert.That(i.Assemble(a => a.sahf()).Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Zf | Flags.Cf | Flags.Of));
        Assert.That(i.Assemble(a => a.cmc()).Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Zf | Flags.Of));
        Assert.That(i.Assemble(a => a.stc()).Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Zf | Flags.Of | Flags.Cf));
        Assert.That(i.Assemble(a => a.clc()).Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Zf | Flags.Of));
        Assert.That(i.Assemble(a => a.std()).Execute());
        Assert.That(c->Rflags & Flags.Df, Is.EqualTo(Flags.Df));
        Assert.That(i.Assemble(a => a.cld()).Execute());
        Assert.That(c->Rflags & Flags.Df, Is.Zero);
    }

    [Test]
    public void TableLookup()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Write(TestMachine.DataAddress + 200, 0x99, 1);
        (c->Gpr[0], c->Gpr[3]) = (0x1122334455667700 | 200, TestMachine.DataAddress);
        Assert.That(i.Encode(0xD7).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x1122334455667799));
    }

    [Test]
    public void RandomNumbersDiffer([Values] bool seed)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var seen = new HashSet<ulong>();
        for (int n = 0; n < 100; n++)
        {
            Assert.That(i.Assemble(a => { if (seed) { a.rdseed(rax); } else { a.rdrand(rax); } }).Execute());
            Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf));
            Assert.That(seen.Add(c->Gpr[0]));
        }
    }

    [Test]
    public void HintsTouchNothing()
    {
        using var i = new SingleInstruction();
        i.Context->Gpr[6] = 0x7FFFFFFFF000;
        // prefetcht0, prefetchw, nop, endbr64, reserved nop, sfence, lfence, mfence, pause
        foreach (string bytes in new[] { "0F180E", "0F0D0E", "0F1F06", "F30F1EFA", "0F1E06", "0FAEF8", "0FAEE8", "0FAEF0", "F390" })
            Assert.That(i.Encode(Convert.FromHexString(bytes)).Execute(), bytes);
        // clflush, clflushopt, clwb are checked like loads.
        foreach (string bytes in new[] { "0FAE3E", "660FAE3E", "660FAE36" })
        {
            Assert.That(i.Encode(Convert.FromHexString(bytes)).Execute(), Is.False, bytes);
            Assert.That(i.Fault, Is.EqualTo(Vector.Pf));
        }
        // ud2, ud1, ud0
        foreach (string bytes in new[] { "0F0B", "0FB9C0", "0FFFC0" })
        {
            Assert.That(i.Encode(Convert.FromHexString(bytes)).Execute(), Is.False, bytes);
            Assert.That(i.Fault, Is.EqualTo(Vector.Ud));
        }
    }
}
