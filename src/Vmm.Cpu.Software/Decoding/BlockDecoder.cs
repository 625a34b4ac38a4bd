using System.Runtime.InteropServices;
using Iced.Intel;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Decoding;

/// <summary>Decodes guest code into blocks with Iced. One per vCPU; allocates nothing once made.</summary>
internal sealed unsafe class BlockDecoder : IDisposable
{
    /// <summary>Most instructions of a block.</summary>
    public const int MaxInstructions = 48;

    private const int MaxInstructionLength = 15;

    private const int WindowLength = MaxInstructions * MaxInstructionLength;

    private readonly SoftwareCpu _cpu;
    private readonly byte* _window = (byte*)NativeMemory.Alloc(WindowLength);
    private readonly WindowReader _reader = new();
    private readonly Iced.Intel.Decoder _decoder16;
    private readonly Iced.Intel.Decoder _decoder32;
    private readonly Iced.Intel.Decoder _decoder64;

    public BlockDecoder(SoftwareCpu cpu)
    {
        _cpu = cpu;
        _decoder16 = Iced.Intel.Decoder.Create(16, _reader, DecoderOptions.AMD);
        _decoder32 = Iced.Intel.Decoder.Create(32, _reader, DecoderOptions.AMD);
        _decoder64 = Iced.Intel.Decoder.Create(64, _reader, DecoderOptions.AMD);
    }

    public void Dispose() => NativeMemory.Free(_window);

    /// <summary>Decodes the block at a physical address and enters it into the cache.</summary>
    /// <param name="physical">Address of the first byte, in RAM or ROM.</param>
    /// <param name="host">The first byte in this process.</param>
    /// <param name="available">Bytes to the end of the page or of the code segment.</param>
    /// <param name="codeBits">16, 32 or 64.</param>
    /// <returns>The block, or null when not one instruction fits within the page: it is executed on its own then.</returns>
    public Block* Decode(ulong physical, byte* host, int available, int codeBits)
    {
        Block* block = _cpu.Blocks.Reserve(MaxInstructions + 1);
        block->Physical = physical;
        block->CodeBits = codeBits;
        // The bytes must be marked as code before they are read, but how many there are shows only then: decode a copy, mark, compare.
        int window = Math.Min(available, WindowLength);
        int length;
        do
        {
            Buffer.MemoryCopy(host, _window, WindowLength, window);
            length = Fill(block, _window, window, codeBits);
            if (length == 0)
                return null;
            _cpu.CodeMap.Mark(_cpu, physical, length);
        }
        while (!new ReadOnlySpan<byte>(host, length).SequenceEqual(new ReadOnlySpan<byte>(_window, length)));
        _cpu.Blocks.Commit(block);
        return block;
    }

    /// <summary>Decodes one instruction from a copy of its bytes, with a closing op behind it.</summary>
    /// <param name="ops">Room for two ops.</param>
    /// <param name="bytes">The bytes.</param>
    /// <param name="available">How many there are, up to 15.</param>
    /// <param name="codeBits">16, 32 or 64.</param>
    /// <returns>Length of the instruction, or 0 when the bytes ended within it.</returns>
    public int DecodeSingle(Op* ops, byte* bytes, int available, int codeBits)
    {
        bool ends = false;
        int length = DecodeOne(ops, bytes, 0, Math.Min(available, MaxInstructionLength), codeBits, 0, ref ends);
        if (length != 0)
            Close(ops + 1, length, 1);
        return length;
    }

    private int Fill(Block* block, byte* host, int available, int codeBits)
    {
        Op* op = block->Ops;
        int offset = 0;
        int count = 0;
        bool ends = false;
        while (!ends && count < MaxInstructions)
        {
            int length = DecodeOne(op, host, offset, available, codeBits, count, ref ends);
            if (length == 0)
                break;
            offset += length;
            count++;
            op++;
        }
        if (count == 0)
            return 0;
        if (!ends)
        {
            Close(op, offset, count);
            count++;
        }
        block->OpCount = count;
        return offset;
    }

    // The pseudo-op behind a block that just goes on.
    private static void Close(Op* op, int offset, int ordinal)
    {
        *op = default;
        op->Handler = &Branches.Continue;
        op->RipOffset = (ushort)offset;
        op->Ordinal = (ushort)ordinal;
    }

    private int DecodeOne(Op* op, byte* host, int offset, int available, int codeBits, int ordinal, ref bool ends)
    {
        var decoder = codeBits == 64 ? _decoder64 : codeBits == 32 ? _decoder32 : _decoder16;
        _reader.Set(host + offset, Math.Min(available - offset, MaxInstructionLength));
        decoder.IP = (ulong)offset;
        decoder.Decode(out Instruction instruction);
        if (instruction.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes && available - offset < MaxInstructionLength)
            return 0;
        *op = default;
        op->RipOffset = (ushort)offset;
        op->Ordinal = (ushort)ordinal;
        op->Length = (byte)instruction.Length;
        var lowering = new LoweringContext
        {
            Instruction = ref instruction,
            Op = op,
            CodeBits = codeBits,
            Bytes = new ReadOnlySpan<byte>(host + offset, Math.Max(1, instruction.Length)),
            Cpu = _cpu,
        };
        if (instruction.IsInvalid)
            Lowering.LowerInvalid(ref lowering, decoder.LastError == DecoderError.NoMoreBytes);
        else
            Lowering.Lower(ref lowering);
        ends = lowering.EndsBlock;
        return Math.Max(1, instruction.Length);
    }

    private sealed class WindowReader : CodeReader
    {
        private byte* _position;
        private byte* _end;

        public void Set(byte* start, int length)
        {
            _position = start;
            _end = start + length;
        }

        public override int ReadByte() => _position < _end ? *_position++ : -1;
    }
}
