using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vmm.Devices.Interrupts;

/// <summary>
/// 256 interrupt vectors, a bit each: IRR, ISR or TMR of a local APIC (Intel SDM vol. 3, 11.8.4). The atomic members may be called
/// from any thread; <see cref="Set"/> and <see cref="Clear"/> belong to the owner of a set that nobody else writes.
/// </summary>
[InlineArray(4)]
internal struct VectorSet
{
    private ulong _word;

    /// <summary>Sets a vector's bit; other threads may change other bits at the same time.</summary>
    /// <returns>Whether the bit was clear before.</returns>
    public bool SetAtomic(int vector)
    {
        ulong bit = 1UL << (vector & 63);
        return (Interlocked.Or(ref this[(vector >> 6) & 3], bit) & bit) == 0;
    }

    /// <summary>Clears a vector's bit; other threads may change other bits at the same time.</summary>
    /// <returns>Whether the bit was set before.</returns>
    public bool ClearAtomic(int vector)
    {
        ulong bit = 1UL << (vector & 63);
        return (Interlocked.And(ref this[(vector >> 6) & 3], ~bit) & bit) != 0;
    }

    public void Set(int vector) => this[(vector >> 6) & 3] |= 1UL << (vector & 63);

    public void Clear(int vector) => this[(vector >> 6) & 3] &= ~(1UL << (vector & 63));

    public bool Test(int vector) => (Volatile.Read(ref this[(vector >> 6) & 3]) >> (vector & 63) & 1) != 0;

    /// <summary>The highest vector in the set, or -1.</summary>
    public int Highest()
    {
        for (int i = 3; i >= 0; i--)
        {
            ulong word = Volatile.Read(ref this[i]);
            if (word != 0)
                return (i << 6) + 63 - BitOperations.LeadingZeroCount(word);
        }
        return -1;
    }

    /// <summary>One of the eight 32-bit registers that the guest sees.</summary>
    public uint Read32(int index) => (uint)(Volatile.Read(ref this[(index >> 1) & 3]) >> ((index & 1) * 32));

    /// <summary>Puts one of the eight 32-bit registers, for restoring.</summary>
    public void Write32(int index, uint value)
    {
        ref ulong word = ref this[(index >> 1) & 3];
        int shift = (index & 1) * 32;
        word = (word & ~(0xFFFFFFFFUL << shift)) | ((ulong)value << shift);
    }

    public void ClearAll()
    {
        for (int i = 0; i < 4; i++)
            Volatile.Write(ref this[i], 0);
    }
}
