using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>The host's locked instructions on guest memory. The processor makes misaligned ones atomic too.</summary>
internal static unsafe class Atomic
{
    /// <summary>LOCK CMPXCHG: returns what was there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T CompareExchange<T>(byte* p, T value, T comparand)
        where T : unmanaged
    {
        if (sizeof(T) == 1)
            return Unsafe.BitCast<byte, T>(Interlocked.CompareExchange(ref *p, Unsafe.BitCast<T, byte>(value), Unsafe.BitCast<T, byte>(comparand)));
        if (sizeof(T) == 2)
        {
            return Unsafe.BitCast<ushort, T>(
                Interlocked.CompareExchange(ref *(ushort*)p, Unsafe.BitCast<T, ushort>(value), Unsafe.BitCast<T, ushort>(comparand)));
        }
        if (sizeof(T) == 4)
            return Unsafe.BitCast<uint, T>(Interlocked.CompareExchange(ref *(uint*)p, Unsafe.BitCast<T, uint>(value), Unsafe.BitCast<T, uint>(comparand)));
        return Unsafe.BitCast<ulong, T>(Interlocked.CompareExchange(ref *(ulong*)p, Unsafe.BitCast<T, ulong>(value), Unsafe.BitCast<T, ulong>(comparand)));
    }
}

/// <summary>
/// The lock that stands for the bus lock of accesses that the host cannot do in one instruction: those that cross pages, and MMIO.
/// </summary>
internal static unsafe class SplitLock
{
    /// <summary>Takes the lock or gives up at once.</summary>
    /// <remarks>
    /// It is never waited for: the holder may be waiting for this processor to reach a safepoint. The caller goes to the run loop and retries.
    /// </remarks>
    public static bool TryEnter(CpuContext* c, out Lock gate)
    {
        gate = SoftwareCpu.From(c).SplitLock;
        if (gate.TryEnter())
            return true;
        Thread.Yield();
        return false;
    }
}
