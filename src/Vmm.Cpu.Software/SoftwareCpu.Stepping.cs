using Vmm.Cpu.Software.Decoding;

namespace Vmm.Cpu.Software;

internal sealed unsafe partial class SoftwareCpu
{
    /// <summary>
    /// Executes from RIP until an event is pending (it is not delivered) or a request is made. Takes no interrupts: for tests that compare instruction by
    /// instruction with something else.
    /// </summary>
    internal void RunToEvent()
    {
        while (_context->PendingVector < 0 && Volatile.Read(ref _context->Request) == 0)
        {
            _context->LinkFrom = null;
            Op* op = FindBlock(_context);
            if (op != null)
                Execute(_context, op);
        }
    }
}
