using Vmm.Core.Buses;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Port instructions and the I/O permission bitmap.</summary>
public sealed unsafe class PortTests
{
    private const ulong Data = TestMachine.DataAddress;
    private const ulong Tss = 0x300000;

    private sealed class Recorder : IBusDevice
    {
        public List<(ulong Offset, int Size, ulong Value)> Writes { get; } = [];

        public int Reads { get; private set; }

        public ulong Read(ulong offset, int size) => 0x8877665500000000 | (0x10203040UL + (ulong)Reads++);

        public void Write(ulong offset, int size, ulong value) => Writes.Add((offset, size, value));
    }

    private static Recorder Map(SingleInstruction i)
    {
        var recorder = new Recorder();
        i.Machine.Ports.Map("recorder", 0x70, 0x20, recorder);
        return recorder;
    }

    [Test]
    public void InAndOutOfEverySize()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var device = Map(i);
        (c->Gpr[0], c->Gpr[2]) = (0xAAAAAAAABBBBBBBB, 0xFFFFFFFFFFFF0074);
        Assert.That(i.Assemble(a => a.@in(al, 0x70)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0xAAAAAAAABBBBBB40));
        Assert.That(i.Assemble(a => a.@in(ax, dx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0xAAAAAAAABBBB3041));
        Assert.That(i.Assemble(a => a.@in(eax, dx)).Execute());
        Assert.That(c->Gpr[0], Is.EqualTo(0x10203042));
        Assert.That(i.Assemble(a => a.@out(0x71, al)).Execute());
        Assert.That(i.Assemble(a => a.@out(dx, ax)).Execute());
        Assert.That(i.Assemble(a => a.@out(dx, eax)).Execute());
        Assert.That(device.Writes, Is.EqualTo(new[] { (1UL, 1, 0x42UL), (4UL, 2, 0x3042UL), (4UL, 4, 0x10203042UL) }));
    }

    [Test]
    public void RepeatedInputAndOutput()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var device = Map(i);
        (c->Gpr[1], c->Gpr[2], c->Gpr[7], c->Gpr[6]) = (3, 0x70, Data + 0xFFF, Data + 0xFFF);
        Assert.That(i.Assemble(a => a.rep.insw()).Execute());
        Assert.That(i.Read(Data + 0xFFF), Is.EqualTo(0x304230413040));
        Assert.That((c->Gpr[1], c->Gpr[7]), Is.EqualTo((0UL, Data + 0x1005)));
        c->Gpr[1] = 2;
        Assert.That(i.Assemble(a => a.rep.outsb()).Execute());
        Assert.That(device.Writes, Is.EqualTo(new[] { (0UL, 1, 0x40UL), (0UL, 1, 0x30UL) }));
        Assert.That(c->Gpr[6], Is.EqualTo(Data + 0x1001));
    }

    [Test]
    public void InputThatCannotBeStoredIsNotRead()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        var device = Map(i);
        i.Protect(Data + 0x1000, present: true);
        (c->Gpr[1], c->Gpr[2], c->Gpr[7]) = (9, 0x70, Data + 0xFFC);
        Assert.That(i.Assemble(a => a.rep.insd()).Execute(), Is.False);
        Assert.That(i.Fault, Is.EqualTo(Vector.Pf));
        Assert.That(device.Reads, Is.EqualTo(1));
        Assert.That((c->Gpr[1], c->Gpr[7]), Is.EqualTo((8UL, Data + 0x1000)));
    }

    [Test]
    public void PermissionBitmap()
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        Map(i);
        c->Cpl = 3;
        Mode.Update(c);
        i.Assemble(a => a.@in(ax, dx));
        bool Permitted(ushort port)
        {
            i.Context->Gpr[2] = port;
            bool done = i.Execute();
            if (!done)
                Assert.That((i.Fault, i.Context->PendingErrorCode), Is.EqualTo((Vector.Gp, 0U)));
            return done;
        }

        c->Segments[SegmentIndex.Tr] = new SegmentCache { Base = Tss, Limit = 0x67, Attributes = 0x8B, Selector = 0x40 };
        i.Write(Tss + 102, 0x68, 2);
        Assert.That(Permitted(0x70), Is.False, "no bitmap");
        c->Segments[SegmentIndex.Tr].Limit = 0x68 + 0xE;
        Assert.That(Permitted(0x70), Is.False, "both bytes have to be within the limit");
        c->Segments[SegmentIndex.Tr].Limit = 0x68 + 0xF;
        Assert.That(Permitted(0x70));
        Assert.That(Permitted(0x77), "the ports straddle two bytes of the map");
        Assert.That(Permitted(0x7F), Is.False, "beyond the limit");
        i.Write(Tss + 0x68 + 0xE, 0x82, 1);
        Assert.That(Permitted(0x70), Is.False);
        Assert.That(Permitted(0x72));
        Assert.That(Permitted(0x77), Is.False);
        Assert.That(Permitted(0x76), Is.False);
        c->Rflags |= Flags.Iopl;
        Assert.That(Permitted(0x70), "IOPL 3 needs no bitmap");
    }
}
