using System.Runtime.CompilerServices;
using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Mmu;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Interpreter.Integer;

/// <summary>An instruction that reads a register or memory operand and leaves its results in registers and flags.</summary>
internal unsafe interface ILoadOperate
{
    /// <summary>Does the work.</summary>
    /// <returns>False to raise #DE; then nothing was changed.</returns>
    static abstract bool Execute<T>(CpuContext* c, Op* op, T source)
        where T : unmanaged;
}

/// <summary>The handlers of <see cref="ILoadOperate"/> instructions.</summary>
internal static unsafe class LoadOperate
{
    /// <summary>The source is a register, <see cref="Op.Src"/>.</summary>
    public static Op* Register<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, ILoadOperate
        where T : unmanaged
        => TOp.Execute(c, op, Operands.Get<T>(c, op->Src)) ? op + 1 : Flow.Raise(c, op, Vector.De);

    /// <summary>The source is the memory operand.</summary>
    public static Op* Memory<TOp, T>(CpuContext* c, Op* op)
        where TOp : struct, ILoadOperate
        where T : unmanaged
    {
        if (!GuestAccess.TryRead(c, op, out T source))
            return Flow.Fault(c, op);
        return TOp.Execute(c, op, source) ? op + 1 : Flow.Raise(c, op, Vector.De);
    }
}
