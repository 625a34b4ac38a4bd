using Vmm.Cpu.Software.Decoding;
using Vmm.Cpu.Software.Interpreter;
using Vmm.Cpu.Software.State;

namespace Vmm.Cpu.Software.Privileged;

/// <summary>Hardware task switches outside long mode (SDM vol. 3, 8.3).</summary>
internal static unsafe class TaskSwitch
{
    /// <summary>What starts a task switch.</summary>
    public enum Reason
    {
        Jump,
        Call,
        Return,
        Event,
    }

    public static Op* Transfer(CpuContext* c, Op* op, ushort selector, Descriptor gate, Reason reason) => Flow.Raise(c, op, Vector.Ud);

    public static Op* ReturnToPrevious(CpuContext* c, Op* op) => Flow.Raise(c, op, Vector.Ud);

    public static bool TryDeliver(CpuContext* c, Descriptor gate, bool hasError, uint error, ulong rip, ulong flags) => Segments.FailZero(c, Vector.Ts);
}
