using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Implicit supervisor accesses: descriptor tables, TSS, inner stacks (SDM vol. 3, 4.6.1).</summary>
internal static unsafe class SystemMemory
{
    /// <summary>Reads, whatever the CPL is.</summary>
    /// <returns>False with an exception pending.</returns>
    public static bool TryRead<T>(CpuContext* c, ulong linear, out T value)
        where T : unmanaged
    {
        linear = Wrap(c, linear);
        TlbEntry* e = Tlb.Find(View(c), linear);
        if ((e->TagRead ^ linear) <= (ulong)(4096 - sizeof(T)))
        {
            value = Unsafe.ReadUnaligned<T>((byte*)linear + e->Addend);
            return true;
        }
        return GuestAccess.TryReadLinear(c, linear, out value, Access.Supervisor);
    }

    /// <summary>Writes, whatever the CPL is.</summary>
    /// <returns>False with an exception pending.</returns>
    public static bool TryWrite<T>(CpuContext* c, ulong linear, T value)
        where T : unmanaged
    {
        linear = Wrap(c, linear);
        byte* pinned = TryPin(c, linear, sizeof(T));
        if (pinned != null)
        {
            Unsafe.WriteUnaligned(pinned, value);
            return true;
        }
        return GuestAccess.TryWriteLinear(c, linear, value, Access.Supervisor);
    }

    /// <summary>Sets bits in a 32-bit word, atomically where the page is ordinary memory.</summary>
    public static bool TrySetBits(CpuContext* c, ulong linear, uint bits) => TryChangeBits(c, linear, bits, 0);

    /// <summary>Clears bits in a 32-bit word, atomically where the page is ordinary memory.</summary>
    public static bool TryClearBits(CpuContext* c, ulong linear, uint bits) => TryChangeBits(c, linear, 0, bits);

    /// <summary>Whether an address is canonical for 48-bit linear addresses.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsCanonical(ulong address) => (ulong)((long)(address << 16) >> 16) == address;

    private static bool TryChangeBits(CpuContext* c, ulong linear, uint set, uint clear)
    {
        linear = Wrap(c, linear);
        // The first access brings the page into the TLB with the right to write, so that the second can pin it.
        if (!GuestAccess.TryReadLinear(c, linear, out uint value, Access.Supervisor | Access.Write))
            return false;
        byte* pinned = TryPin(c, linear, 4);
        if (pinned == null)
            return GuestAccess.TryWriteLinear(c, linear, (value & ~clear) | set, Access.Supervisor);
        if (set != 0)
            Interlocked.Or(ref *(uint*)pinned, set);
        if (clear != 0)
            Interlocked.And(ref *(uint*)pinned, ~clear);
        return true;
    }

    private static byte* TryPin(CpuContext* c, ulong linear, int size)
    {
        TlbEntry* e = Tlb.Find(View(c), linear);
        return (e->TagWrite ^ linear) <= (ulong)(4096 - size) ? (byte*)linear + e->Addend : null;
    }

    // Implicit accesses never reach user pages under SMAP, whatever AC says.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TlbEntry* View(CpuContext* c) => (c->Cr4 & Mode.Cr4Smap) != 0 ? c->SupervisorTlb : c->SupervisorAcTlb;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Wrap(CpuContext* c, ulong linear) => (c->Efer & Mode.EferLma) != 0 ? linear : (uint)linear;
}
