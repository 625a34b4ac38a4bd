using Vmm.Core.Cpu;

namespace Vmm.Machine.Tests.Running;

/// <summary>An engine whose vCPUs run a delegate instead of a guest, and wait to be kicked once it returns null.</summary>
internal sealed class FakeEngine : ICpuEngineFactory
{
    public string Name => "fake";

    /// <summary>What a vCPU does each time it runs.</summary>
    public Func<FakeCpu, VirtualCpuExit?> Program { get; set; } = static _ => null;

    public CpuEngineContext? Context { get; private set; }

    public List<FakeCpu> Cpus { get; } = [];

    public bool Disposed { get; private set; }

    public ICpuEngine Create(CpuEngineContext context)
    {
        Context = context;
        return new Engine(this);
    }

    private sealed class Engine(FakeEngine fake) : ICpuEngine
    {
        public string Name => "fake";

        public ulong TscFrequency => 1_000_000_000;

        public IVirtualCpu CreateVirtualCpu(int index, ILocalInterruptController apic)
        {
            var cpu = new FakeCpu(fake, index, apic);
            fake.Cpus.Add(cpu);
            return cpu;
        }

        public void Dispose() => fake.Disposed = true;
    }
}

/// <summary>A vCPU of <see cref="FakeEngine"/>.</summary>
internal sealed class FakeCpu(FakeEngine engine, int index, ILocalInterruptController apic) : IVirtualCpu
{
    private readonly SemaphoreSlim _kicked = new(0);
    private int _running;

    public int Index => index;

    public ILocalInterruptController Apic => apic;

    public CpuEngineContext Machine => engine.Context!;

    public CpuState State { get; private set; } = new();

    public int Resets { get; private set; }

    public int Runs { get; private set; }

    public string? ThreadName { get; private set; }

    public bool Disposed { get; private set; }

    public bool IsRunning => Volatile.Read(ref _running) != 0;

    public ulong InstructionsRetired => (ulong)Runs;

    public VirtualCpuExit Run()
    {
        ThreadName = Thread.CurrentThread.Name;
        Volatile.Write(ref _running, 1);
        try
        {
            Runs++;
            if (engine.Program(this) is { } exit)
                return exit;
            _kicked.Wait();
            while (_kicked.Wait(0))
            {
            }
            return VirtualCpuExit.Kicked;
        }
        finally
        {
            Volatile.Write(ref _running, 0);
        }
    }

    public void Kick() => _kicked.Release();

    public void Reset()
    {
        Assert.That(IsRunning, Is.False, "reset while running");
        Resets++;
        State = new CpuState();
    }

    public void Capture(CpuState state)
    {
    }

    public void Restore(CpuState state) => State = state;

    public void InterruptRequested()
    {
    }

    public void Nmi()
    {
    }

    public void Init()
    {
    }

    public void Startup(byte vector)
    {
    }

    public void Dispose() => Disposed = true;
}
