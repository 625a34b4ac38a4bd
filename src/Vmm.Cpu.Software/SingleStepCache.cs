using System.Runtime.InteropServices;
using Vmm.Cpu.Software.Decoding;

namespace Vmm.Cpu.Software;

/// <summary>
/// Decoded single instructions: those that cross a page, and those run one at a time. An entry counts only while its bytes equal those
/// just fetched, so it needs no invalidation.
/// </summary>
internal sealed unsafe class SingleStepCache : IDisposable
{
    private const int Entries = 256;

    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public ulong Physical;
        public ulong SecondPage;
        public int CodeBits;
        public int Length;
        public fixed byte Bytes[16];
        public Op First;
        public Op Second;
    }

    private readonly Entry* _entries = (Entry*)NativeMemory.AllocZeroed(Entries, (nuint)sizeof(Entry));

    public void Dispose() => NativeMemory.Free(_entries);

    /// <summary>Drops everything: the blocks that branches here are linked to are being given up.</summary>
    public void Clear() => NativeMemory.Clear(_entries, (nuint)(Entries * sizeof(Entry)));

    /// <summary>
    /// Gives the ops of the instruction that starts the bytes, or null when they end within it. The second page is that of an instruction that
    /// crosses into another, else all ones.
    /// </summary>
    public Op* Find(BlockDecoder decoder, ulong physical, ulong secondPage, byte* bytes, int available, int codeBits)
    {
        Entry* e = &_entries[(physical ^ (physical >> 8)) & (Entries - 1)];
        if (e->Physical == physical && e->SecondPage == secondPage && e->CodeBits == codeBits && e->Length != 0 && e->Length <= available
            && new ReadOnlySpan<byte>(e->Bytes, e->Length).SequenceEqual(new ReadOnlySpan<byte>(bytes, e->Length)))
        {
            return &e->First;
        }
        e->Length = 0;
        int length = decoder.DecodeSingle(&e->First, bytes, available, codeBits);
        if (length == 0)
            return null;
        e->Physical = physical;
        e->SecondPage = secondPage;
        e->CodeBits = codeBits;
        e->Length = length;
        new ReadOnlySpan<byte>(bytes, Math.Min(length, 15)).CopyTo(new Span<byte>(e->Bytes, 16));
        return &e->First;
    }
}
