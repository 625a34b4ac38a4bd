using System.Collections.Concurrent;
using Vmm.Core.Cpu;
using Vmm.Core.Lifecycle;
using Vmm.Machine.Tests.Loading;

namespace Vmm.Machine.Tests.Running;

[CancelAfter(60_000)]
internal sealed class VirtualMachineTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly string _directory = Directory.CreateTempSubdirectory("vmm-machine").FullName;
    private FakeEngine _engine = null!;
    private VirtualMachineOptions _options = null!;

    [OneTimeTearDown]
    public void RemoveFiles() => Directory.Delete(_directory, recursive: true);

    [SetUp]
    public void SetUp()
    {
        string kernel = Path.Combine(_directory, "kernel");
        File.WriteAllBytes(kernel, SyntheticKernels.Elf());
        _engine = new FakeEngine();
        _options = new VirtualMachineOptions { Name = "test", Memory = 32 << 20, Kernel = kernel };
    }

    private VirtualMachine Create() => VirtualMachine.Create(_options, _engine);

    private static void Until(Func<bool> condition) => Assert.That(SpinWait.SpinUntil(condition, Limit), Is.True, "the condition does not come true");

    [Test]
    public async Task GuestThatTurnsItselfOffEndsTheMachine()
    {
        _engine.Program = static cpu =>
        {
            cpu.Machine.Ports.Write(0x604, 2, (1 << 13) | (5 << 10));
            return null;
        };
        await using var machine = Create();
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Created));
        machine.Start();
        var exit = await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.That(exit, Is.EqualTo(new VirtualMachineExit(VirtualMachineExitReason.PowerOff)));
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Stopped));
        Assert.That(_engine.Cpus[0].IsRunning, Is.False);
    }

    [Test]
    public async Task BootstrapProcessorStartsInTheKernel()
    {
        await using var machine = Create();
        Assert.That(_engine.Cpus[0].State.Rip, Is.EqualTo(SyntheticKernels.Entry));
        byte[] rsdp = new byte[8];
        Assert.That(machine.Board.Memory.TryRead(AddressMap.Rsdp, rsdp), Is.True);
        Assert.That(rsdp, Is.EqualTo("RSD PTR "u8.ToArray()));
    }

    [Test]
    public async Task EachVcpuHasANamedThread()
    {
        _options.Cpus = 3;
        await using var machine = Create();
        machine.Start();
        Until(() => _engine.Cpus.All(static c => c.IsRunning));
        Assert.That(_engine.Cpus.Select(static c => c.ThreadName), Is.EqualTo(new[] { "test-cpu0", "test-cpu1", "test-cpu2" }));
    }

    [Test]
    public async Task ResetLoadsTheKernelAgainAndRunsOn()
    {
        int runs = 0;
        _engine.Program = cpu =>
        {
            if (Interlocked.Increment(ref runs) != 1)
                return null;
            cpu.Machine.Memory.TryWrite(SyntheticKernels.LoadAddress, new byte[64]);
            cpu.Machine.Ports.Write(0xCF9, 1, 6);
            return null;
        };
        await using var machine = Create();
        machine.Start();
        Until(() => _engine.Cpus[0].Resets == 2 && _engine.Cpus[0].IsRunning);
        byte[] bytes = new byte[64];
        machine.Board.Memory.TryRead(SyntheticKernels.LoadAddress, bytes);
        Assert.That(bytes, Is.EqualTo(SyntheticKernels.Body()[..64]));
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Running));
    }

    [Test]
    public async Task ResetEndsTheMachineUnderNoReboot()
    {
        _options.NoReboot = true;
        _engine.Program = static cpu =>
        {
            cpu.Machine.Ports.Write(0x64, 1, 0xFE);
            return null;
        };
        await using var machine = Create();
        machine.Start();
        Assert.That((await machine.WaitForExitAsync().WaitAsync(Limit)).Reason, Is.EqualTo(VirtualMachineExitReason.Reset));
    }

    [Test]
    public async Task TripleFaultEndsTheMachine()
    {
        _engine.Program = static _ => VirtualCpuExit.Shutdown;
        await using var machine = Create();
        machine.Start();
        Assert.That((await machine.WaitForExitAsync().WaitAsync(Limit)).Reason, Is.EqualTo(VirtualMachineExitReason.TripleFault));
    }

    [Test]
    public async Task PanicIsReported()
    {
        _engine.Program = static cpu =>
        {
            cpu.Machine.Ports.Write(0x505, 1, 1);
            return null;
        };
        await using var machine = Create();
        machine.Start();
        Assert.That((await machine.WaitForExitAsync().WaitAsync(Limit)).Reason, Is.EqualTo(VirtualMachineExitReason.GuestPanicked));
    }

    [Test]
    public async Task DebugExitCarriesItsValue()
    {
        _options.DebugExit = true;
        _engine.Program = static cpu =>
        {
            cpu.Machine.Ports.Write(0xF4, 4, 0x31);
            return null;
        };
        await using var machine = Create();
        machine.Start();
        Assert.That(await machine.WaitForExitAsync().WaitAsync(Limit), Is.EqualTo(new VirtualMachineExit(VirtualMachineExitReason.DebugExit, 0x31)));
    }

    [Test]
    public async Task DebugExitIsNotThereByDefault()
    {
        await using var machine = Create();
        machine.Board.Ports.Write(0xF4, 4, 0x31);
        machine.Start();
        machine.Pause();
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Paused));
    }

    [Test]
    public async Task VcpuThatThrowsEndsItsMachineWithTheError()
    {
        var error = new InvalidOperationException("a bug");
        _engine.Program = _ => throw error;
        await using var machine = Create();
        machine.Start();
        var exit = await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.That(exit.Reason, Is.EqualTo(VirtualMachineExitReason.Error));
        Assert.That(exit.Error, Is.SameAs(error));
    }

    [Test]
    public async Task PauseStopsVcpusAndTime()
    {
        _options.Cpus = 2;
        await using var machine = Create();
        machine.Start();
        Until(() => _engine.Cpus.All(static c => c.IsRunning));
        machine.Pause();
        machine.Pause();
        Assert.That(_engine.Cpus.Any(static c => c.IsRunning), Is.False);
        long now = machine.Board.Clock.Now;
        Assert.That(machine.Board.Clock.IsPaused, Is.True);
        Assert.That(machine.Board.Clock.Now, Is.EqualTo(now));
        machine.Resume();
        machine.Resume();
        Until(() => _engine.Cpus.All(static c => c.IsRunning));
        Assert.That(machine.Board.Clock.IsPaused, Is.False);
    }

    [Test]
    public async Task HostResetKeepsAPausedMachinePaused()
    {
        await using var machine = Create();
        machine.Start();
        machine.Pause();
        machine.Reset();
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Paused));
        Assert.That(_engine.Cpus[0].Resets, Is.EqualTo(2));
        Assert.That(_engine.Cpus[0].IsRunning, Is.False);
    }

    [Test]
    public async Task PowerButtonRaisesTheSystemControlInterrupt()
    {
        await using var machine = Create();
        machine.Start();
        machine.PressPowerButton();
        Assert.That(machine.Board.Ports.Read(0x600, 2) & (1 << 8), Is.Not.Zero, "PWRBTN_STS");
    }

    [Test]
    public async Task ShutdownStopsAGuestThatDoesNotListen()
    {
        _options.StopTimeout = TimeSpan.FromMilliseconds(1);
        await using var machine = Create();
        machine.Start();
        Assert.That((await machine.ShutdownAsync().WaitAsync(Limit)).Reason, Is.EqualTo(VirtualMachineExitReason.Stopped));
    }

    [Test]
    public async Task SecondSignalCutsTheShutdownShort()
    {
        _options.StopTimeout = TimeSpan.FromHours(1);
        await using var machine = Create();
        machine.Start();
        using var second = new CancellationTokenSource();
        var shutdown = machine.ShutdownAsync(second.Token);
        await second.CancelAsync();
        Assert.That((await shutdown.WaitAsync(Limit)).Reason, Is.EqualTo(VirtualMachineExitReason.Stopped));
    }

    [Test]
    public async Task StopAndDisposeAreIdempotent()
    {
        var machine = Create();
        machine.Start();
        await Task.WhenAll(machine.StopAsync(), machine.StopAsync(), machine.DisposeAsync().AsTask(), machine.DisposeAsync().AsTask()).WaitAsync(Limit);
        Assert.That(machine.State, Is.EqualTo(VirtualMachineState.Disposed));
        Assert.That(_engine.Disposed && _engine.Cpus[0].Disposed, Is.True);
        Assert.That(() => machine.Start(), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That((await machine.WaitForExitAsync()).Reason, Is.EqualTo(VirtualMachineExitReason.Stopped));
    }

    [Test]
    public async Task TransitionsThatMakeNoSenseAreRefused()
    {
        await using var machine = Create();
        Assert.That(machine.Pause, Throws.InvalidOperationException);
        Assert.That(machine.Resume, Throws.InvalidOperationException);
        Assert.That(machine.Reset, Throws.InvalidOperationException);
        await machine.StopAsync().WaitAsync(Limit);
        Assert.That(machine.Start, Throws.InvalidOperationException);
        Assert.That(machine.Pause, Throws.Nothing);
    }

    [Test]
    public async Task ManyThreadsMayDriveTheLifecycleAtOnce()
    {
        _options.Cpus = 2;
        await using var machine = Create();
        machine.Start();
        var errors = new ConcurrentQueue<Exception>();
        var threads = Enumerable.Range(0, 4).Select(n => new Thread(() =>
        {
            var random = new Random(n);
            for (int i = 0; i < 50; i++)
            {
                try
                {
                    switch (random.Next(5))
                    {
                        case 0: machine.Pause(); break;
                        case 1: machine.Resume(); break;
                        case 2: machine.Reset(); break;
                        case 3: machine.Start(); break;
                        default: machine.PressPowerButton(); break;
                    }
                }
                catch (Exception e)
                {
                    errors.Enqueue(e);
                }
            }
        })).ToList();
        threads.ForEach(static t => t.Start());
        threads.ForEach(static t => t.Join());
        Assert.That(errors, Is.Empty);
        machine.Start();
        Until(() => _engine.Cpus.All(static c => c.IsRunning));
    }

    [Test]
    public async Task GuestThatAsksAgainAndAgainIsHeardOnce()
    {
        _engine.Program = static cpu =>
        {
            for (int i = 0; i < 10_000; i++)
            {
                cpu.Machine.Ports.Write(0xCF9, 1, 0);
                cpu.Machine.Ports.Write(0xCF9, 1, 6);
            }
            return null;
        };
        await using var machine = Create();
        machine.Start();
        Until(() => _engine.Cpus[0].Resets >= 5);
    }

    [Test]
    public async Task HealthCheckSeesAThreadThatHangs()
    {
        using var release = new ManualResetEventSlim();
        await using var machine = Create();
        machine.Start();
        Assert.That(await machine.CheckHealthAsync(Limit), Is.True);
        _engine.Program = _ =>
        {
            release.Wait();
            return VirtualCpuExit.Kicked;
        };
        Until(() =>
        {
            _engine.Cpus[0].Kick();
            return !machine.CheckHealthAsync(TimeSpan.FromMilliseconds(20)).Result;
        });
        release.Set();
        Assert.That(await machine.CheckHealthAsync(Limit), Is.True);
    }

    [Test]
    public async Task WatchdogEndsAMachineThatHangs()
    {
        using var release = new ManualResetEventSlim();
        _options.Watchdog = true;
        _options.WatchdogTimeout = TimeSpan.FromMilliseconds(50);
        _engine.Program = _ =>
        {
            release.Wait();
            return null;
        };
        await using var machine = Create();
        machine.Start();
        // Ending waits for the vCPU: let it go once the watchdog has spoken.
        using var timer = new Timer(_ => release.Set(), null, TimeSpan.FromSeconds(1), Timeout.InfiniteTimeSpan);
        var exit = await machine.WaitForExitAsync().WaitAsync(Limit);
        Assert.That(exit.Reason, Is.EqualTo(VirtualMachineExitReason.Error));
        Assert.That(exit.Error!.Message, Does.Contain("watchdog"));
    }

    [Test]
    public async Task ConsoleCarriesBothDirections()
    {
        _engine.Program = static cpu =>
        {
            foreach (byte b in "hi"u8)
                cpu.Machine.Ports.Write(0x3F8, 1, b);
            return null;
        };
        await using var machine = Create();
        machine.Start();
        byte[] output = new byte[2];
        await machine.Console!.ReadExactlyAsync(output).AsTask().WaitAsync(Limit);
        Assert.That(output, Is.EqualTo("hi"u8.ToArray()));
        machine.Console.Write("x"u8);
        Until(() => (machine.Board.Ports.Read(0x3FD, 1) & 1) != 0);
        Assert.That(machine.Board.Ports.Read(0x3F8, 1), Is.EqualTo((byte)'x'));
    }

    [Test]
    public async Task SeveralMachinesLiveSideBySide()
    {
        var engines = Enumerable.Range(0, 4).Select(static _ => new FakeEngine()).ToArray();
        var machines = engines.Select(e => VirtualMachine.Create(_options, e)).ToArray();
        foreach (var machine in machines)
            machine.Start();
        await machines[0].StopAsync().WaitAsync(Limit);
        Until(() => engines[3].Cpus[0].IsRunning);
        foreach (var machine in machines)
            await machine.DisposeAsync();
    }

    [TestCase(0)]
    [TestCase(4097)]
    public void ImpossibleCpuCountsAreRefused(int cpus)
    {
        _options.Cpus = cpus;
        Assert.That(Create, Throws.InstanceOf<VmmException>().With.Message.StartsWith("--cpus"));
    }

    [TestCase(0UL, "--memory")]
    [TestCase(1UL << 20, "--memory")]
    [TestCase((32UL << 20) + 4096, "--memory")]
    [TestCase(ulong.MaxValue, "--memory")]
    public void ImpossibleMemoryIsRefused(ulong memory, string option)
    {
        _options.Memory = memory;
        Assert.That(Create, Throws.InstanceOf<VmmException>().With.Message.StartsWith(option));
    }

    [Test]
    public void EveryFaultOfTheOptionsIsOneLineThatNamesTheOption()
    {
        var options = new VirtualMachineOptions
        {
            Name = " ",
            Memory = 1,
            Cpus = -1,
            Append = "a\0b",
            BootProtocol = (BootProtocol)17,
            WatchdogTimeout = TimeSpan.Zero,
            StopTimeout = TimeSpan.FromSeconds(-1),
        };
        var faults = options.Validate();
        Assert.That(faults, Has.Count.EqualTo(8));
        Assert.That(faults, Has.All.StartsWith("--").And.All.Not.Contains("\n"));
    }

    [Test]
    public void MissingKernelIsNamed()
    {
        _options.Kernel = "/nowhere/vmlinuz";
        Assert.That(Create, Throws.InstanceOf<VmmException>().With.Message.EqualTo("--kernel /nowhere/vmlinuz: no such file; check the path."));
    }

    [Test]
    public async Task KernelIsReadFromTheFileThatWasOpened()
    {
        await using var machine = Create();
        machine.Start();
        File.Delete(_options.Kernel!);
        machine.Pause();
        Assert.That(machine.Reset, Throws.Nothing);
    }
}
