using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;

namespace Vmm.Machine.Running;

/// <summary>
/// The threads of a machine's vCPUs: one dedicated, named thread each. Members may be called from any thread but theirs;
/// <see cref="Hold"/> also from theirs.
/// </summary>
internal sealed class VcpuThreads
{
    private readonly IReadOnlyList<IVirtualCpu> _cpus;
    private readonly VcpuGate _gate;
    private readonly Thread[] _threads;
    private readonly Action<MachineRequestKind> _shutdown;
    private readonly Action<Exception> _failed;
    private int _started;

    /// <summary>Makes the threads; they start at the first <see cref="Resume"/>.</summary>
    /// <param name="name">Name of the machine.</param>
    /// <param name="cpus">The processors.</param>
    /// <param name="shutdown">Told of a triple fault, on the vCPU's thread.</param>
    /// <param name="failed">Told of an exception that escaped a vCPU, on its thread.</param>
    public VcpuThreads(string name, IReadOnlyList<IVirtualCpu> cpus, Action<MachineRequestKind> shutdown, Action<Exception> failed)
    {
        (_cpus, _shutdown, _failed) = (cpus, shutdown, failed);
        _gate = new VcpuGate(cpus.Count);
        _threads = new Thread[cpus.Count];
        for (int i = 0; i < _threads.Length; i++)
        {
            int index = i;
            _threads[i] = new Thread(() => Run(index)) { IsBackground = true, Name = $"{name}-cpu{i}" };
        }
    }

    /// <summary>Lets the vCPUs run.</summary>
    /// <exception cref="OutOfMemoryException">The host refuses a thread.</exception>
    public void Resume()
    {
        _gate.Open();
        // The count stays right when the host refuses a thread half-way.
        for (; _started < _threads.Length; _started++)
            _threads[_started].Start();
    }

    /// <summary>Asks the vCPUs to stand still, without waiting for it. Also from a vCPU's thread.</summary>
    public void Hold()
    {
        _gate.Close();
        Kick();
    }

    /// <summary>Makes the vCPUs stand still.</summary>
    /// <returns>False when one of them does not within the limit.</returns>
    public bool Pause(TimeSpan limit)
    {
        Hold();
        return _started == 0 || _gate.WaitUntilParked(limit);
    }

    /// <summary>The processors were reset: those that had shut down may run again.</summary>
    public void ForgetShutdowns() => _gate.Release();

    /// <summary>Ends the threads.</summary>
    /// <returns>False when one of them does not within the limit; it may still touch the machine's memory.</returns>
    public bool End(TimeSpan limit)
    {
        _gate.End();
        Kick();
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        bool all = true;
        for (int i = 0; i < _started; i++)
            all &= _threads[i].Join((int)Math.Max(0, deadline - Environment.TickCount64));
        return all;
    }

    /// <summary>Asks every thread for a sign of life.</summary>
    public bool Ping(TimeSpan limit)
    {
        if (_started < _threads.Length)
            return true;
        long[] before = _gate.SnapshotPasses();
        Kick();
        return _gate.WaitForPass(before, limit);
    }

    private void Kick()
    {
        foreach (var cpu in _cpus)
            cpu.Kick();
    }

    private void Run(int index)
    {
        var cpu = _cpus[index];
        try
        {
            while (_gate.Pass(index))
            {
                if (cpu.Run() != VirtualCpuExit.Shutdown)
                    continue;
                _gate.Halt(index);
                _shutdown(MachineRequestKind.TripleFault);
            }
        }
        catch (Exception e)
        {
            // Whatever escapes a vCPU ends its machine, and only that: an unhandled exception here would end the process.
            _failed(e);
            while (_gate.Pass(index))
                _gate.Halt(index);
        }
    }
}
