using System.Globalization;
using System.Text;
using Iced.Intel;
using Vmm.Cpu.Software.Simd;
using Vmm.Interop;

namespace Vmm.Cpu.Software.Tests.Differential;

/// <summary>
/// The software CPU against the processor it runs on: random instruction sequences in random states, all registers, defined flags, memory and faults
/// compared. VMM_DIFF_INSTRUCTIONS sets how many, VMM_DIFF_SEED repeats a run, VMM_DIFF_FILTER is a regular expression on Iced's code names.
/// </summary>
[NonParallelizable]
public sealed unsafe class DifferentialTests
{
    private const int SlotSize = 512;
    private const int MaximumReported = 40;

    [TestCase(64)]
    [TestCase(32)]
    public void RandomSequencesBehaveAsOnTheProcessor(int bits)
    {
        if (!HostFeatures.Avx)
            Assert.Ignore("The sandbox saves AVX state; this processor has none.");
        long wanted = long.Parse(Environment.GetEnvironmentVariable("VMM_DIFF_INSTRUCTIONS") ?? (bits == 64 ? "2000000" : "1000000"), CultureInfo.InvariantCulture);
        int seed = int.Parse(Environment.GetEnvironmentVariable("VMM_DIFF_SEED") ?? Random.Shared.Next().ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        string? filter = Environment.GetEnvironmentVariable("VMM_DIFF_FILTER");
        TestContext.Out.WriteLine($"VMM_DIFF_SEED={seed}");
        Code[] pool = InstructionPool.Create(filter, bits);
        if (pool.Length == 0)
            Assert.Ignore("The filter leaves nothing.");
        using var run = new Run(seed, pool, bits);
        while (run.Instructions < wanted && run.Failures.Count < MaximumReported)
            run.Step();
        TestContext.Out.WriteLine($"{run.Instructions} instructions of {pool.Length} codes, {run.Faults} faults");
        if (run.Failures.Count != 0)
            Assert.Fail(Describe(seed, run.Failures));
    }

    private static string Describe(int seed, Dictionary<string, string> failures)
    {
        var text = new StringBuilder($"VMM_DIFF_SEED={seed}\n");
        foreach ((string key, string value) in failures)
            text.Append(CultureInfo.InvariantCulture, $"== {key}\n{value}");
        return text.ToString();
    }

    private sealed class Run(int seed, Code[] pool, int bits) : IDisposable
    {
        private readonly UserModeHarness _harness = new(bits);
        private readonly SandboxState* _initial = UserModeHarness.AllocateState();
        private readonly SandboxState* _native = UserModeHarness.AllocateState();
        private readonly SandboxState* _software = UserModeHarness.AllocateState();
        private readonly SequenceGenerator _sequences = new(new Random(seed), pool, bits);
        private readonly StateGenerator _states = new(new Random(~seed), bits);
        private readonly byte[] _data = new byte[UserModeHarness.DataSize];
        private int _slot;

        public long Instructions { get; private set; }

        public long Faults { get; private set; }

        public Dictionary<string, string> Failures { get; } = [];

        public void Step()
        {
            Sequence sequence = _sequences.Next(UserModeHarness.CodeAddress + (ulong)Slot(), 8);
            if (sequence.Instructions.Count == 0)
                return;
            if ((Instructions & 0xFFF) < 8)
                _states.FillData(_data);
            _states.Fill(_initial, sequence);
            Instructions += sequence.Instructions.Count;
            string? difference = Compare(sequence);
            if (difference is null)
                return;
            (Sequence shortest, difference) = Shorten(sequence, difference);
            string key = shortest.Instructions[^1].Instruction.Code.ToString();
            Failures.TryAdd(key, Listing(shortest) + difference);
        }

        public void Dispose() => _harness.Dispose();

        private int Slot()
        {
            _slot += SlotSize;
            if (_slot + SlotSize > UserModeHarness.CodeSize)
            {
                _harness.ForgetCode();
                _slot = 0;
            }
            return _slot;
        }

        private string? Compare(Sequence sequence)
        {
            _harness.LoadCode(_slot, sequence.Bytes);
            _harness.LoadData(_data);
            *_native = *_initial;
            _native->Rip = UserModeHarness.CodeAddress + (ulong)_slot + Sequence.EntryOffset;
            *_software = *_native;
            UserModeHarness.RunNative(_native);
            if (_native->Vector != 6)
                Faults++;
            _harness.RunSoftware(_software);
            return StateComparison.Compare(_native, _software, sequence, _harness.NativeData, _harness.GuestData);
        }

        // The shortest prefix that still differs: its last instruction is the culprit.
        private (Sequence Sequence, string Difference) Shorten(Sequence sequence, string difference)
        {
            for (int count = 1; count < sequence.Instructions.Count; count++)
            {
                Instruction next = sequence.Instructions[count].Instruction;
                int slotBefore = _slot;
                int length = (int)(next.IP - UserModeHarness.CodeAddress) - slotBefore;
                var prefix = new Sequence
                {
                    Bytes = [.. sequence.Bytes.AsSpan(0, length), 0x0F, 0x0B],
                    Instructions = sequence.Instructions[..count],
                    Pointers = sequence.Pointers,
                    Index = sequence.Index,
                    Aligned = sequence.Aligned,
                    UndefinedAtEnd = sequence.Instructions[count].UndefinedBefore,
                };
                _harness.ForgetCode();
                if (Compare(prefix) is { } found)
                    return (prefix, found);
            }
            return (sequence, difference);
        }

        private string Listing(Sequence sequence)
        {
            var text = new StringBuilder();
            for (int i = 0; i < sequence.Instructions.Count; i++)
            {
                Instruction instruction = sequence.Instructions[i].Instruction;
                int offset = (int)(instruction.IP - UserModeHarness.CodeAddress - (ulong)_slot);
                text.Append(CultureInfo.InvariantCulture, $"  {instruction.IP:X} {Convert.ToHexString(sequence.Bytes, offset, instruction.Length)} {instruction}\n");
            }
            Instruction last = sequence.Instructions[^1].Instruction;
            text.Append(CultureInfo.InvariantCulture, $"  initially FCW={*(ushort*)_initial->Xsave:X} FSW={*(ushort*)(_initial->Xsave + 2):X} FTW={_initial->Xsave[4]:X}");
            text.Append(CultureInfo.InvariantCulture, $" MXCSR={*(uint*)(_initial->Xsave + 24):X} flags={_initial->Rflags:X}");
            for (int i = 0; i < 16; i++)
                text.Append(CultureInfo.InvariantCulture, $" {i}={_initial->Gpr[i]:X}");
            return text.Append('\n').ToString();
        }
    }
}
