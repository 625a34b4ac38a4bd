using System.Runtime.InteropServices;
using Iced.Intel;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>Random register and memory contents: small numbers, boundaries and special floating-point values more often than chance would have them.</summary>
internal sealed unsafe class StateGenerator(Random random, int bits)
{
    private static readonly ulong[] Interesting =
    [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, ulong.MaxValue,
        // Doubles: 1, -1, infinities, quiet and signalling NaN, smallest and largest denormal, smallest and largest normal.
        0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x7FF0000000000001, 1, 0x000FFFFFFFFFFFFF,
        0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0x4005BF0A8B145769, 0xC1E0000000000000, 0x43E0000000000000,
        // Pairs of floats: the same kinds.
        0x3F800000BF800000, 0x7F800000FF800000, 0x7FC000007F800001, 0x00000001807FFFFF, 0x008000007F7FFFFF, 0x4F000000CF000000, 0x402DF85440490FDB,
    ];

    private static readonly (ushort Exponent, ulong Significand)[] InterestingExtended =
    [
        (0, 0), (0x8000, 0), (0x3FFF, 1UL << 63), (0xBFFF, 1UL << 63), (0x7FFF, 1UL << 63), (0xFFFF, 1UL << 63), (0x7FFF, 0xC000000000000000),
        (0xFFFF, 0xC000000000000000), (0x7FFF, 0x8000000000000001), (0, 1), (0, 0x7FFFFFFFFFFFFFFF), (0, 1UL << 63), (1, 1UL << 63), (0x7FFE, ulong.MaxValue),
        (0x3FFF, 0), (0x7FFF, 0), (0x4000, 0xC90FDAA22168C235), (0x3FFE, 0xB504F333F9DE6484), (0x401E, 0x8000000000000000), (0x403E, 0x8000000000000000),
        (0x3FFD, 0x8000000000000000), (0x4001, 0xA000000000000000),
    ];

    /// <summary>Fills the data window.</summary>
    public void FillData(Span<byte> data)
    {
        foreach (ref ulong value in MemoryMarshal.Cast<byte, ulong>(data))
            value = Value();
    }

    /// <summary>Fills a state for a sequence.</summary>
    public void Fill(SandboxState* s, Sequence sequence)
    {
        *s = default;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = Value();
        s->Gpr[4] = Pointer(8);
        if (random.Next(10) < 8)
        {
            (s->Gpr[6], s->Gpr[7]) = (Pointer(1), Pointer(1));
            s->Gpr[1] = random.Next(3) == 0 ? s->Gpr[1] : (ulong)random.Next(40);
        }
        if (random.Next(2) == 0)
            s->Gpr[1] = (s->Gpr[1] & ~0xFFUL) | (uint)random.Next(66);
        foreach (Register r in sequence.Pointers)
            s->Gpr[r - Register.RAX] = Pointer(sequence.Aligned ? 32 : 1);
        s->Gpr[sequence.Index - Register.RAX] = (ulong)(random.Next(16) * (sequence.Aligned ? 32 : 1));
        s->Rflags = 0x202 | ((ulong)random.Next(0x1000) & 0x8D5) | (random.Next(8) == 0 ? 0x400u : 0);
        FillVectors(s);
        FillX87(s);
        if (bits == 64)
            return;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = i < 8 ? (uint)s->Gpr[i] : 0;
        s->CodeSelector = SandboxState.CompatibilityCode;
    }

    private ulong Pointer(int alignment)
    {
        int kind = random.Next(20);
        int offset = kind switch
        {
            // Near a page boundary, near the read-only page, near the end.
            0 => 0x2000 + random.Next(-40, 40),
            1 => 0x3000 + random.Next(-40, 40),
            2 => random.Next(2) == 0 ? random.Next(-40, 40) : 0x4000 + random.Next(-40, 40),
            _ => 0x1000 + random.Next(0x1800),
        };
        return (UserModeHarness.DataAddress + (ulong)offset) & ~(ulong)(alignment - 1);
    }

    private ulong Value() => random.Next(8) switch
    {
        0 or 1 => Interesting[random.Next(Interesting.Length)],
        2 => (ulong)random.Next(100),
        3 => (uint)random.NextInt64(),
        4 => (ulong)BitConverter.DoubleToInt64Bits((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-70, 70))),
        5 => ((ulong)BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) * MathF.Pow(2, random.Next(-40, 40))) << 32)
            | BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) * 1000),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    private void FillVectors(SandboxState* s)
    {
        uint mxcsr = 0x1F80u | (uint)(random.Next(4) << 13);
        if (random.Next(8) == 0)
            mxcsr |= 0x8000;
        if (random.Next(8) == 0)
            mxcsr |= 0x40;
        if (random.Next(4) == 0)
            mxcsr |= (uint)random.Next(0x40);
        if (random.Next(8) == 0)
            mxcsr &= ~((uint)random.Next(0x40) << 7);
        *(uint*)(s->Xsave + 24) = mxcsr;
        *(uint*)(s->Xsave + 28) = 0xFFFF;
        for (int i = 0; i < 32; i++)
        {
            *(ulong*)(s->Xsave + 160 + (i * 8)) = Value();
            *(ulong*)(s->Xsave + 576 + (i * 8)) = Value();
        }
        for (int i = 0; i < 2; i++)
        {
            *(ulong*)(s->Xsave + 160 + (((bits == 64 ? 16 : 8) - 1) * 16) + (i * 8)) = (ulong)random.Next(64);
            *(ulong*)(s->Xsave + 576 + (((bits == 64 ? 16 : 8) - 1) * 16) + (i * 8)) = (ulong)random.Next(64);
        }
        *(ulong*)(s->Xsave + 512) = 7;
    }

    private void FillX87(SandboxState* s)
    {
        ushort control = (ushort)(0x7F | (random.Next(4) << 8) | (random.Next(4) << 10));
        ushort status = (ushort)((random.Next(8) << 11) | (random.Next(4) == 0 ? random.Next(0x80) : 0) | (random.Next(0x10000) & 0x4700));
        if (random.Next(16) == 0)
            control &= (ushort)~random.Next(0x40);
        *(ushort*)s->Xsave = control;
        *(ushort*)(s->Xsave + 2) = status;
        s->Xsave[4] = random.Next(3) switch { 0 => 0, 1 => 0xFF, _ => (byte)random.Next(256) };
        for (int i = 0; i < 8; i++)
        {
            (ushort exponent, ulong significand) = random.Next(3) switch
            {
                0 => InterestingExtended[random.Next(InterestingExtended.Length)],
                1 => ((ushort)(0x3FFF + random.Next(-70, 70) + (random.Next(2) << 15)), (ulong)random.NextInt64() | (1UL << 63)),
                _ => ((ushort)random.Next(65536), (ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            };
            *(ulong*)(s->Xsave + 32 + (i * 16)) = significand;
            *(ushort*)(s->Xsave + 40 + (i * 16)) = exponent;
        }
    }
}
