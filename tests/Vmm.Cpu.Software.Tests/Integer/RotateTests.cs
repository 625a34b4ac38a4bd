using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Tests.Integer;

/// <summary>Rotates and double shifts against loops of single-bit steps, as the manual describes them.</summary>
public sealed unsafe class RotateTests
{
    private static readonly ulong[] Values = [0, 1, 0x81, 0x8001, 0x80000001, 0x8000000000000001, 0x123456789ABCDEF0, 0xA5A5A5A5A5A5A5A5, ulong.MaxValue];

    private static ulong Mask(int bits) => bits == 64 ? ulong.MaxValue : (1UL << bits) - 1;

    private static ulong Merge(ulong old, ulong value, int bits) => bits switch
    {
        8 => (old & ~0xFFUL) | value,
        16 => (old & ~0xFFFFUL) | value,
        _ => value,
    };

    private static byte[] Bytes(int bits, byte first, byte second, byte[] rest)
        => [.. bits switch { 16 => new byte[] { 0x66 }, 64 => [0x48], _ => [] }, first, second, .. rest];

    [Test]
    public void Rotates([Values("rol", "ror", "rcl", "rcr")] string name, [Values(8, 16, 32, 64)] int bits, [Values] bool immediate)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        int extension = name switch { "rol" => 0, "ror" => 1, "rcl" => 2, _ => 3 };
        for (int count = 0; count < 256; count += count < 35 ? 1 : 29)
        {
            i.Encode(Bytes(bits, (byte)((immediate ? 0xC0 : 0xD2) | (bits == 8 ? 0 : 1)), (byte)(0xC0 | (extension << 3)), immediate ? [(byte)count] : []));
            foreach (ulong value in Values)
            {
                foreach (ulong flags in new[] { 0UL, Flags.Arithmetic })
                {
                    c->Gpr[0] = value;
                    c->Gpr[1] = 0xFFFFFFFFFFFFFF00 | (uint)count;
                    i.Arithmetic = flags;
                    Assert.That(i.Execute());
                    var (expected, cf, of) = Rotate(name, value & Mask(bits), count & (bits == 64 ? 63 : 31), bits, (flags & Flags.Cf) != 0);
                    string at = $"{name}{bits} {value:X} by {count}, flags {flags:X}";
                    Assert.That(c->Gpr[0], Is.EqualTo(Merge(value, expected, bits)), at);
                    ulong expectedFlags = flags;
                    if ((count & (bits == 64 ? 63 : 31)) != 0)
                        expectedFlags = (flags & ~(Flags.Cf | Flags.Of)) | (cf ? Flags.Cf : 0) | (of ? Flags.Of : 0);
                    Assert.That(i.Arithmetic, Is.EqualTo(expectedFlags), at);
                }
            }
        }
    }

    private static (ulong Value, bool Cf, bool Of) Rotate(string name, ulong value, int count, int bits, bool cf)
    {
        for (int n = 0; n < count; n++)
        {
            bool top = ((value >> (bits - 1)) & 1) != 0, bottom = (value & 1) != 0;
            bool left = name is "rol" or "rcl", carry = name is "rcl" or "rcr";
            bool goesIn = carry ? cf : left ? top : bottom;
            cf = left ? top : bottom;
            value = left ? ((value << 1) | (goesIn ? 1UL : 0)) & Mask(bits) : (value >> 1) | ((goesIn ? 1UL : 0) << (bits - 1));
        }
        bool high = ((value >> (bits - 1)) & 1) != 0, second = ((value >> (bits - 2)) & 1) != 0;
        return (value, cf, name is "rol" or "rcl" ? high != cf : high != second);
    }

    [Test]
    public void DoubleShifts([Values] bool left, [Values(16, 32, 64)] int bits)
    {
        using var i = new SingleInstruction();
        CpuContext* c = i.Context;
        i.Encode(Bytes(bits, 0x0F, left ? (byte)0xA5 : (byte)0xAD, [0xD0]));
        for (int count = 0; count < (bits == 16 ? 17 : 70); count++)
        {
            foreach (ulong value in Values)
            {
                foreach (ulong other in Values)
                {
                    c->Gpr[0] = value;
                    c->Gpr[2] = other;
                    c->Gpr[1] = (uint)count;
                    i.Arithmetic = Flags.Cf;
                    Assert.That(i.Execute());
                    int n = count & (bits == 64 ? 63 : 31);
                    ulong v = value & Mask(bits), o = other & Mask(bits);
                    bool cf = true;
                    for (int k = 0; k < n; k++)
                    {
                        cf = left ? ((v >> (bits - 1)) & 1) != 0 : (v & 1) != 0;
                        v = left ? ((v << 1) | (o >> (bits - 1))) & Mask(bits) : (v >> 1) | ((o & 1) << (bits - 1));
                        o = left ? (o << 1) & Mask(bits) : o >> 1;
                    }
                    string at = $"{bits} {value:X} {other:X} by {count}";
                    Assert.That(c->Gpr[0], Is.EqualTo(Merge(value, v, bits)), at);
                    Assert.That(Flags.GetCf(c), Is.EqualTo(cf), at);
                    if (n == 0)
                    {
                        Assert.That(i.Arithmetic, Is.EqualTo(Flags.Cf), at);
                        continue;
                    }
                    Assert.That(Flags.GetZf(c), Is.EqualTo(v == 0), at);
                    Assert.That(Flags.GetSf(c), Is.EqualTo(v >> (bits - 1) != 0), at);
                    Assert.That(Flags.GetPf(c), Is.EqualTo((System.Numerics.BitOperations.PopCount(v & 0xFF) & 1) == 0), at);
                    if (n == 1)
                        Assert.That(Flags.GetOf(c), Is.EqualTo(((v ^ value) >> (bits - 1) & 1) != 0), at);
                }
            }
        }
    }
}
