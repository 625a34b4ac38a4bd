using System.Globalization;
using Iced.Intel;
using Vmm.Cpu.Software.Simd;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>FXSAVE, FXRSTOR and the XSAVE family against the processor: an image is saved, the registers change, and it is restored by another instruction.</summary>
[NonParallelizable]
public sealed unsafe class XsaveDifferentialTests
{
    private const ulong AreaOffset = 0x1400;

    private static readonly Code[] Saves =
        [Code.Fxsave_m512byte, Code.Fxsave64_m512byte, Code.Xsave_mem, Code.Xsave64_mem, Code.Xsaveopt_mem, Code.Xsaveopt64_mem, Code.Xsavec_mem, Code.Xsavec64_mem];

    private static readonly Code[] Restores = [Code.Fxrstor_m512byte, Code.Fxrstor64_m512byte, Code.Xrstor_mem, Code.Xrstor64_mem];

    // What happens to the registers in between.
    private static readonly byte[][] Changes =
    [
        [], [0xDB, 0xE3], [0xC5, 0xFC, 0x77], [0xC5, 0xF8, 0x77], [0x0F, 0x57, 0xDB], [0xD9, 0xEB], [0x0F, 0x77], [0x0F, 0xAE, 0x53, 0xF8],
    ];

    [Test]
    public void ImagesAreSavedAndRestoredAsByTheProcessor()
    {
        if (!HostFeatures.Avx)
            Assert.Ignore("The sandbox saves AVX state; this processor has none.");
        int seed = int.Parse(Environment.GetEnvironmentVariable("VMM_DIFF_SEED") ?? Random.Shared.Next().ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        TestContext.Out.WriteLine($"VMM_DIFF_SEED={seed}");
        var random = new Random(seed);
        var states = new StateGenerator(random, 64);
        using var harness = new UserModeHarness();
        SandboxState* native = UserModeHarness.AllocateState();
        SandboxState* software = UserModeHarness.AllocateState();
        byte[] data = new byte[UserModeHarness.DataSize];
        for (int i = 0; i < 10_000; i++)
        {
            Code save = Saves[random.Next(Saves.Length)];
            Code restore = Restores[random.Next(Restores.Length)];
            byte[] change = Changes[random.Next(Changes.Length)];
            byte[] code = [.. Encode(save), .. change, .. Encode(restore), 0x0F, 0x0B];
            Prepare(random, states, native, data);
            harness.ForgetCode();
            harness.LoadCode(0, code);
            harness.LoadData(data);
            *software = *native;
            UserModeHarness.RunNative(native);
            harness.RunSoftware(software);
            string what = $"{save}, {Convert.ToHexString(change)}, {restore}, RFBM={native->Gpr[0]:X}";
            CompareImage(harness, save, what);
            CompareState(native, software, what);
        }
    }

    private static void Prepare(Random random, StateGenerator states, SandboxState* s, byte[] data)
    {
        var roles = new Sequence
        {
            Bytes = [],
            Instructions = [],
            Pointers = [Register.RBX, Register.R9],
            Index = Register.R10,
            Aligned = true,
            UndefinedAtEnd = RflagsBits.None,
        };
        states.FillData(data);
        states.Fill(s, roles);
        s->Rip = UserModeHarness.CodeAddress;
        s->Gpr[0] = (ulong)random.Next(8);
        s->Gpr[2] = 0;
        s->Gpr[3] = UserModeHarness.DataAddress + AreaOffset;
        // Some components in their initial configuration; not SSE, which AMD processors always take for in use.
        *(ulong*)(s->Xsave + 512) = (ulong)random.Next(8) | VectorState.Sse;
        Span<byte> area = data.AsSpan((int)AreaOffset);
        // MXCSR for a change by LDMXCSR, and in the image for a restore without a save; a clean header, now and then not.
        BitConverter.TryWriteBytes(data.AsSpan((int)AreaOffset - 8), 0x1F80 | random.Next(0x40));
        BitConverter.TryWriteBytes(area[24..], 0x1F80);
        area.Slice(512, 64).Clear();
        // Bits that no processor defines: the host may know more components than the software CPU.
        if (random.Next(10) == 0)
            area[512 + 16 + random.Next(48)] = (byte)(1 << random.Next(8));
        else if (random.Next(10) == 0)
            area[512 + (random.Next(2) * 8) + 5] = (byte)(1 << random.Next(8));
    }

    private static byte[] Encode(Code code)
    {
        Instruction i = default;
        i.Code = code;
        i.Op0Kind = OpKind.Memory;
        i.MemoryBase = Register.RBX;
        i.MemoryIndexScale = 1;
        var bytes = new List<byte>();
        Assert.That(Encoder.Create(64, new ListWriter(bytes)).TryEncode(i, 0, out _, out string? error), error);
        return [.. bytes];
    }

    private static void CompareImage(UserModeHarness harness, Code save, string what)
    {
        ReadOnlySpan<byte> native = harness.NativeData;
        ReadOnlySpan<byte> software = harness.GuestData;
        for (int i = 0; i < native.Length; i++)
        {
            int offset = i - (int)AreaOffset;
            // Pointers (6-23), which processors may or may not save, and bit 17 of MXCSR_MASK, which AMD has.
            bool open = offset is (>= 6 and < 24) or 30;
            if (native[i] != software[i] && !open)
                Assert.Fail($"{what}: image byte {offset}: processor {native[i]:X}, software {software[i]:X}");
        }
    }

    private static void CompareState(SandboxState* native, SandboxState* software, string what)
    {
        Assert.That(software->Vector, Is.EqualTo(native->Vector), what);
        Assert.That(software->Rip, Is.EqualTo(native->Rip), what);
        for (int i = 0; i < VectorState.XsaveSize; i++)
        {
            bool open = i is (>= 6 and < 24) or (>= 28 and < 32) or (>= 416 and < 576);
            open |= i is >= 32 and < 160 && i % 16 >= 10;
            if (!open && native->Xsave[i] != software->Xsave[i])
                Assert.Fail($"{what}: state byte {i}: processor {native->Xsave[i]:X}, software {software->Xsave[i]:X}");
        }
    }

    private sealed class ListWriter(List<byte> bytes) : CodeWriter
    {
        public override void WriteByte(byte value) => bytes.Add(value);
    }
}
