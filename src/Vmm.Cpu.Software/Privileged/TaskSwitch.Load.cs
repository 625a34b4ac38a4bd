using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <content>Loading the new task (SDM vol. 3, 8.3, steps 9 to 15, and table 8-1).</content>
internal static unsafe partial class TaskSwitch
{
    private const ulong LoadedFlags = 0x3F7FD7;

    private static bool TryLoad32(CpuContext* c, byte* image, bool nested)
    {
        if ((c->Cr0 & Mode.Cr0Pg) != 0)
        {
            c->Cr3 = *(uint*)(image + 0x1C);
            Paging.FlushNonGlobal(c);
        }
        uint* words = (uint*)(image + 0x20);
        ulong flags = (words[1] & LoadedFlags) | (nested ? Flags.Nt : 0);
        c->Rip = words[0];
        for (int i = 0; i < 8; i++)
            c->Gpr[i] = words[2 + i];
        ushort* selectors = stackalloc ushort[6];
        for (int i = 0; i < 6; i++)
            selectors[i] = (ushort)words[10 + i];
        return TryLoadSegments(c, selectors, *(ushort*)(image + 0x60), flags);
    }

    private static bool TryLoad16(CpuContext* c, byte* image, bool nested)
    {
        ushort* words = (ushort*)(image + 0x0E);
        ulong flags = (words[1] & LoadedFlags) | (nested ? Flags.Nt : 0);
        c->Rip = words[0];
        for (int i = 0; i < 8; i++)
            c->Gpr[i] = 0xFFFF0000u | words[2 + i];
        ushort* selectors = stackalloc ushort[6];
        for (int i = 0; i < 4; i++)
            selectors[i] = words[10 + i];
        selectors[4] = selectors[5] = 0;
        return TryLoadSegments(c, selectors, words[14], flags);
    }

    private static bool TryLoadSegments(CpuContext* c, ushort* selectors, ushort ldt, ulong flags)
    {
        // RF counts only where breakpoints are enabled, as with IRET.
        if ((c->Dr7 & Debugging.EnableBits) == 0)
            flags &= ~Flags.Rf;
        else
            c->RfLoaded = 1;
        Flags.SetRflags(c, flags);
        // Selectors first; the hidden parts are not valid until each has been checked.
        bool v86 = (flags & Flags.Vm) != 0;
        for (int i = 0; i < 6; i++)
        {
            if (v86)
                Segments.SetV86(c, i, selectors[i]);
            else
                Segments.SetNull(c, i, selectors[i]);
        }
        c->Cpl = v86 ? 3 : selectors[SegmentIndex.Cs] & 3;
        Segments.SetNull(c, SegmentIndex.Ldtr, ldt);
        if (!TryLoadLdt(c, ldt))
            return false;
        if (v86)
            return c->Rip <= 0xFFFF || Segments.FailZero(c, Vector.Gp);
        if (!TryLoadCode(c, selectors[SegmentIndex.Cs]))
            return false;
        if (!Segments.TryCheckStack(c, selectors[SegmentIndex.Ss], c->Cpl, Vector.Ts, out SegmentCache ss))
            return false;
        Segments.Set(c, SegmentIndex.Ss, ss);
        Mode.Update(c);
        foreach (int i in (ReadOnlySpan<int>)[SegmentIndex.Es, SegmentIndex.Ds, SegmentIndex.Fs, SegmentIndex.Gs])
        {
            if ((selectors[i] & 0xFFFC) == 0)
                continue;
            if (!Segments.TryCheckData(c, selectors[i], c->Cpl, Vector.Ts, out SegmentCache s))
                return false;
            Segments.Set(c, i, s);
        }
        return c->Rip <= c->Segments[SegmentIndex.Cs].Limit || Segments.FailZero(c, Vector.Gp);
    }

    private static bool TryLoadLdt(CpuContext* c, ushort selector)
    {
        if ((selector & 0xFFFC) == 0)
            return true;
        if ((selector & 4) != 0)
            return Segments.Fail(c, Vector.Ts, selector);
        if (!Segments.TryFetch(c, selector, Vector.Ts, out Descriptor d))
            return false;
        if (d.IsSegment || d.Type != Descriptor.Ldt || !d.Present)
            return Segments.Fail(c, Vector.Ts, selector);
        Segments.Set(c, SegmentIndex.Ldtr, d.ToCache(selector));
        return true;
    }

    private static bool TryLoadCode(CpuContext* c, ushort selector)
    {
        if ((selector & 0xFFFC) == 0)
            return Segments.Fail(c, Vector.Ts, selector);
        if (!Segments.TryFetch(c, selector, Vector.Ts, out Descriptor d))
            return false;
        int rpl = selector & 3;
        if (!d.IsCode || (d.IsConforming ? d.Dpl > rpl : d.Dpl != rpl))
            return Segments.Fail(c, Vector.Ts, selector);
        if (!d.Present)
            return Segments.Fail(c, Vector.Np, selector);
        if (!Segments.TryMarkAccessed(c, selector, ref d))
            return false;
        FarTransfer.SetCode(c, selector, d, rpl);
        Mode.Update(c);
        return true;
    }
}
