using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>String instructions: overlap, direction, address sizes, and how they stop and go on.</summary>
public sealed unsafe class StringTests
{
    private const ulong Data = TestMachine.DataAddress;

    private static byte[] Pattern(int length)
    {
        byte[] bytes = new byte[length];
        new Random(3).NextBytes(bytes);
        return bytes;
    }

    // What the manual says: one element after the other.
    private static void NaiveMove(byte[] memory, long from, long to, int count, int size, bool down)
    {
        for (int n = 0; n < count; n++)
        {
            byte[] element = memory.AsSpan((int)from, size).ToArray();
            element.CopyTo(memory.AsSpan((int)to));
            from += down ? -size : size;
            to += down ? -size : size;
        }
    }

    [Test]
    public void MovesPropagateThroughOverlaps([Values(1, 2, 4, 8)] int size, [Values] bool down)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Rflags = down ? 2 | Flags.Df : 2;
        i.Encode(size switch { 1 => [0xF3, 0xA4], 2 => [0xF3, 0x66, 0xA5], 4 => [0xF3, 0xA5], _ => [0xF3, 0x48, 0xA5] });
        foreach (int distance in new[] { 0, 1, 2, 7, 8, 64, 4096, 5000, -1, -3, -8, -4095, -9000 })
        {
            byte[] memory = Pattern(0x10000);
            i.Write(Data, memory);
            int count = 6000 / size, from = 0x7003, to = from + distance;
            NaiveMove(memory, from, to, count, size, down);
            c->Gpr[1] = (uint)count;
            c->Gpr[6] = Data + (ulong)from;
            c->Gpr[7] = Data + (ulong)to;
            Assert.That(i.Execute());
            Assert.That(IntegerProgram.Read(i.Machine, Data, memory.Length).AsSpan().SequenceEqual(memory), $"distance {distance}");
            long moved = (long)count * size * (down ? -1 : 1);
            Assert.That((c->Gpr[1], c->Gpr[6], c->Gpr[7]), Is.EqualTo((0UL, Data + (ulong)(from + moved), Data + (ulong)(to + moved))));
        }
    }

    [Test]
    public void StoresOfEverySize([Values(1, 2, 4, 8)] int size, [Values] bool down)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        c->Rflags = down ? 2 | Flags.Df : 2;
        i.Encode(size switch { 1 => [0xF3, 0xAA], 2 => [0xF3, 0x66, 0xAB], 4 => [0xF3, 0xAB], _ => [0xF3, 0x48, 0xAB] });
        byte[] memory = Pattern(0x6000);
        i.Write(Data, memory);
        int count = 9001 / size, at = down ? 0x5001 : 0x1001;
        c->Gpr[0] = 0x8877665544332211;
        for (int n = 0; n < count; n++)
            BitConverter.GetBytes(c->Gpr[0]).AsSpan(0, size).CopyTo(memory.AsSpan(at + (n * size * (down ? -1 : 1))));
        c->Gpr[1] = (uint)count;
        c->Gpr[7] = Data + (ulong)at;
        Assert.That(i.Execute());
        Assert.That(IntegerProgram.Read(i.Machine, Data, memory.Length).AsSpan().SequenceEqual(memory));
    }

    [Test]
    public void ComparesAndScansStopWhereTheyShould()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        byte[] text = new byte[9000];
        Array.Fill(text, (byte)'a');
        i.Write(Data, text);
        i.Write(Data + 0x8000, text);
        i.Write(Data + 0x8000 + 5000, "b"u8);
        (c->Gpr[1], c->Gpr[6], c->Gpr[7]) = (9000, Data, Data + 0x8000);
        Assert.That(i.Assemble(a => a.repe.cmpsb()).Execute());
        Assert.That((c->Gpr[1], c->Gpr[6], c->Gpr[7]), Is.EqualTo((9000UL - 5001, Data + 5001, Data + 0x8000 + 5001)));
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Sf | Flags.Af | Flags.Pf), "'a' - 'b'");
        (c->Gpr[1], c->Gpr[7], c->Gpr[0]) = (ulong.MaxValue, Data + 0x8000, 'b');
        Assert.That(i.Assemble(a => a.repne.scasb()).Execute());
        Assert.That(c->Gpr[7], Is.EqualTo(Data + 0x8000 + 5001));
        Assert.That(Flags.GetZf(c));
        (c->Gpr[1], c->Gpr[7]) = (100, Data);
        Assert.That(i.Execute());
        Assert.That(c->Gpr[1], Is.Zero);
        Assert.That(Flags.GetZf(c), Is.False);
        (c->Gpr[1], c->Gpr[6], c->Gpr[7], c->Rflags) = (100, Data + 96, Data + 0x8000 + 5000 + 8, 2 | Flags.Df);
        Assert.That(i.Assemble(a => a.repe.cmpsq()).Execute());
        Assert.That(c->Gpr[1], Is.EqualTo(98));
        i.Arithmetic = Flags.Cf | Flags.Zf;
        c->Gpr[1] = 0;
        Assert.That(i.Execute());
        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf | Flags.Zf), "no iteration, no flags");
    }

    [Test]
    public void LoadsAndSingleOnes()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Write(Data, 0x1122334455667788);
        (c->Gpr[6], c->Gpr[0], c->Gpr[1]) = (Data, ulong.MaxValue, 77);
        Assert.That(i.Assemble(a => a.lodsw()).Execute());
        Assert.That((c->Gpr[0], c->Gpr[6], c->Gpr[1]), Is.EqualTo((0xFFFFFFFFFFFF7788, Data + 2, 77UL)));
        Assert.That(i.Assemble(a => a.lodsd()).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x33445566));
        c->Segments[SegmentIndex.Gs].Base = 0x1000;
        c->Gpr[6] = Data - 0x1000;
        // gs lodsb with a 32-bit address
        Assert.That(i.Encode(0x65, 0x67, 0xAC).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x33445588));
        c->Gpr[6] = 0xFFFFFFFF00000000 | Data;
        Assert.That(i.Encode(0x67, 0xAC).Execute());
        Assert.That(c->Gpr[6], Is.EqualTo(Data + 1), "a 32-bit RSI is zero-extended");
    }

    [Test]
    public void AFaultLeavesThePartDoneBehind([Values(0xA4, 0xAA)] byte opcode)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Protect(Data + 0x3000, present: false);
        i.Write(Data + 0x10000, Pattern(0x4000));
        (c->Gpr[1], c->Gpr[6], c->Gpr[7]) = (0x4000, Data + 0x10000, Data + 0x1F00);
        Assert.That(i.Encode(0xF3, opcode).Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.Pf));
        Assert.That(c->Cr2, Is.EqualTo(Data + 0x3000));
        Assert.That((c->Gpr[1], c->Gpr[7]), Is.EqualTo((0x4000UL - 0x1100, Data + 0x3000)));
        if (opcode == 0xA4)
        {
            Assert.That(c->Gpr[6], Is.EqualTo(Data + 0x11100));
            Assert.That(IntegerProgram.Read(i.Machine, Data + 0x1F00, 0x1100), Is.EqualTo(Pattern(0x4000)[..0x1100]));
        }
    }

    [Test]
    public void RequestsAreSeenBetweenPages()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        (c->Gpr[1], c->Gpr[7]) = (0x100000, Data);
        c->Request = Requests.Interrupt;
        i.Encode(0xF3, 0xAA);
        Assert.That(i.Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(-1));
        Assert.That(c->Rip, Is.EqualTo(TestMachine.CodeAddress));
        Assert.That(c->Gpr[1], Is.GreaterThan(0x100000UL - 0x2000).And.LessThan(0x100000UL));
        Assert.That(c->Gpr[7] - Data, Is.EqualTo(0x100000 - c->Gpr[1]));
        c->Request = Requests.Step;
        ulong before = c->Gpr[1];
        Assert.That(i.Execute(), Is.False);
        Assert.That(c->Gpr[1], Is.EqualTo(before - 1), "one iteration when single-stepping");
        c->Request = 0;
        Assert.That(i.Execute());
        Assert.That(c->Gpr[7], Is.EqualTo(Data + 0x100000));
    }

    [Test]
    public void SixteenBitAddressesWrapAroundTheSegment()
    {
        using var i = new SingleInstruction();
        i.EnterLegacyMode(16, 0x200000, 0xFFFF);
        CpuContext* c = i.Context;
        byte[] memory = Pattern(0x10000);
        i.Write(0x200000, memory);
        (c->Gpr[1], c->Gpr[6], c->Gpr[7]) = (0xAAAA2000, 0xBBBBF800, 0xCCCC1000);
        Assert.That(i.Encode(0xF3, 0xA4).Execute());
        Assert.That((c->Gpr[1], c->Gpr[6], c->Gpr[7]), Is.EqualTo((0xAAAA0000UL, 0xBBBB1800UL, 0xCCCC3000UL)));
        byte[] expected = [.. memory];
        for (int n = 0; n < 0x2000; n++)
            expected[0x1000 + n] = expected[(0xF800 + n) & 0xFFFF];
        Assert.That(IntegerProgram.Read(i.Machine, 0x200000, 0x10000).AsSpan().SequenceEqual(expected));
        // A word at the last byte exceeds the limit.
        (c->Gpr[1], c->Gpr[7]) = (4, 0xFFFB);
        Assert.That(i.Encode(0xF3, 0xAB).Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.Gp));
        Assert.That((c->Gpr[1], c->Gpr[7]), Is.EqualTo((2UL, 0xFFFFUL)));
    }
}
