using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Vmm.Guest.Tests;

/// <summary>Exit statuses and hostile guests, by kernels of a few instructions.</summary>
[TestFixture]
[Category("Published")]
[CancelAfter(240_000)]
public sealed class BareGuestTests
{
    private static void Out8(Assembler c, ushort port, byte value)
    {
        c.mov(dx, port);
        c.mov(al, value);
        c.@out(dx, al);
    }

    private static void Out16(Assembler c, ushort port, ushort value)
    {
        c.mov(dx, port);
        c.mov(ax, value);
        c.@out(dx, ax);
    }

    private static void Print(Assembler c, string text)
    {
        foreach (char character in text)
            Out8(c, 0x3F8, (byte)character);
    }

    private static void HaltForever(Assembler c)
    {
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        c.hlt();
        c.jmp(loop);
    }

    /// <summary>Prints "up" and listens to nothing.</summary>
    internal static void PrintAndHalt(Assembler c)
    {
        Print(c, "up\n");
        HaltForever(c);
    }

    /// <summary>Prints "up" and powers off.</summary>
    internal static void PrintAndPowerOff(Assembler c)
    {
        Print(c, "up\n");
        Out16(c, 0x604, (5 << 10) | (1 << 13));
        HaltForever(c);
    }

    /// <summary>Prints "up" and sends back every character that the serial port receives.</summary>
    internal static void PrintAndEcho(Assembler c)
    {
        Print(c, "up\n");
        Echo(c);
    }

    /// <summary>Sends back every character that the serial port receives.</summary>
    internal static void Echo(Assembler c)
    {
        Label wait = c.CreateLabel();
        c.Label(ref wait);
        c.mov(dx, 0x3FD);
        c.@in(al, dx);
        c.test(al, 1);
        c.jz(wait);
        c.mov(dx, 0x3F8);
        c.@in(al, dx);
        c.@out(dx, al);
        c.jmp(wait);
    }

    private static async Task<(int Status, string Console, string Messages)> RunAsync(Action<Assembler> code, params string[] options)
    {
        using BareKernel kernel = BareKernel.Assemble(c =>
        {
            code(c);
            HaltForever(c);
        });
        return await kernel.RunAsync(options);
    }

    [TestCase(0, 1)]
    [TestCase(1, 3)]
    [TestCase(0x10, 0x21)]
    [TestCase(0x7F, 0xFF)]
    public async Task DebugExitGivesItsStatus(byte value, int status)
    {
        var result = await RunAsync(c => Out8(c, 0xF4, value), "--debug-exit");
        Assert.That(result.Status, Is.EqualTo(status), result.Messages);
        Assert.That(result.Messages, Is.Empty);
    }

    [Test]
    public async Task AcpiS5PowersOff()
    {
        // PM1_CNT: SLP_TYP 5 for \_S5 of this board's DSDT, SLP_EN (ACPI 6.5, 4.8.3.2.1).
        var result = await RunAsync(c => Out16(c, 0x604, (5 << 10) | (1 << 13)));
        Assert.That(result.Status, Is.Zero, result.Messages);
        Assert.That(result.Messages, Is.Empty);
    }

    [Test]
    public async Task ATripleFaultIsACrash()
    {
        var result = await RunAsync(c =>
        {
            c.push(0);
            c.push(0);
            c.lidt(__[esp]);
            c.ud2();
        });
        Assert.That(result.Status, Is.EqualTo(3), result.Messages);
        Assert.That(result.Messages, Does.Contain("triple fault"));
    }

    [Test]
    public async Task APanicThatIsReportedIsACrash()
    {
        var result = await RunAsync(c => Out8(c, 0x505, 1));
        Assert.That(result.Status, Is.EqualTo(3), result.Messages);
        Assert.That(result.Messages, Does.Contain("panic"));
    }

    [TestCase(0xCF9, 0x06, TestName = "ResetByPortCF9")]
    [TestCase(0x64, 0xFE, TestName = "ResetByKeyboardController")]
    [TestCase(0x92, 0x01, TestName = "ResetByPort92")]
    public async Task AResetEndsWithZeroUnderNoReboot(int port, int value)
    {
        var result = await RunAsync(c => Out8(c, (ushort)port, (byte)value), "--no-reboot");
        Assert.That(result.Status, Is.Zero, result.Messages);
        Assert.That(result.Messages, Is.Empty);
    }

    /// <summary>The RTC's CMOS memory survives a reset, so the guest can count its starts there.</summary>
    [Test]
    public async Task AResetRestartsTheGuest()
    {
        var result = await RunAsync(
            c =>
            {
                Label second = c.CreateLabel();
                Print(c, "start\n");
                Out8(c, 0x70, 0x50);
                c.@in(al, 0x71);
                c.cmp(al, 0x5A);
                c.je(second);
                Out8(c, 0x70, 0x50);
                Out8(c, 0x71, 0x5A);
                Out8(c, 0xCF9, 0x06);
                HaltForever(c);
                c.Label(ref second);
                Out8(c, 0xF4, 7);
            },
            "--debug-exit");
        Assert.That(result.Status, Is.EqualTo(15), result.Messages);
        Assert.That(result.Console, Is.EqualTo("start\nstart\n"));
    }

    [TestCase("TERM")]
    [TestCase("INT")]
    public async Task ASignalStopsADeafGuestAfterTheTimeout(string signal)
    {
        VmmRun.NeedSignal(signal);
        using BareKernel kernel = BareKernel.Assemble(PrintAndHalt);
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--accel", "software", "--stop-timeout", "0.5");
        await run.WaitForAsync("up\n");
        await run.SignalAsync(signal);
        Assert.That(await run.WaitForExitAsync(), Is.Zero, run.Messages);
    }

    [Test]
    public async Task ASecondSignalStopsADeafGuestAtOnce()
    {
        using BareKernel kernel = BareKernel.Assemble(c =>
        {
            Label loop = c.CreateLabel();
            Print(c, "up\n");
            c.Label(ref loop);
            c.jmp(loop);
        });
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--accel", "software", "--stop-timeout", "3600", "--log-level", "information");
        await run.WaitForAsync("up\n");
        await run.SignalAsync("TERM");
        Assert.That(() => run.Messages, Does.Contain("power button").After(60_000, 20));
        // Signals that follow at once count as the same one, so it is sent until it is taken.
        while (!run.HasExited)
            await run.SignalAsync("TERM");
        Assert.That(await run.WaitForExitAsync(), Is.Zero, run.Messages);
    }

    [Test]
    public async Task TheGuestRunsWithItsInputClosed()
    {
        using BareKernel kernel = BareKernel.Assemble(c =>
        {
            Print(c, "up\n");
            Out8(c, 0xF4, 0);
        });
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--accel", "software", "--debug-exit");
        run.CloseInput();
        Assert.That(await run.WaitForExitAsync(), Is.EqualTo(1), run.Messages);
        Assert.That(run.Console, Is.EqualTo("up\n"));
    }

    [Test]
    public async Task InputReachesTheGuest()
    {
        using BareKernel kernel = BareKernel.Assemble(c =>
        {
            Label wait = c.CreateLabel();
            Print(c, "?");
            c.Label(ref wait);
            c.mov(dx, 0x3FD);
            c.@in(al, dx);
            c.test(al, 1);
            c.jz(wait);
            c.mov(dx, 0x3F8);
            c.@in(al, dx);
            c.mov(dx, 0xF4);
            c.@out(dx, al);
            HaltForever(c);
        });
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--accel", "software", "--debug-exit");
        await run.WaitForAsync(@"\?");
        await run.TypeAsync("A");
        Assert.That(await run.WaitForExitAsync(), Is.EqualTo(((('A') << 1) | 1) & 0xFF), run.Messages);
    }

    /// <summary>What a pipe holds before the guest runs is not lost, from the first character on.</summary>
    [Test]
    public async Task InputThatIsThereEarlyReachesTheGuest()
    {
        using BareKernel kernel = BareKernel.Assemble(Echo);
        await using VmmRun run = VmmRun.Start("--kernel", kernel.Path, "--accel", "software", "--stop-timeout", "0");
        string text = string.Concat(Enumerable.Range(0, 2000).Select(i => $"{i},"));
        await run.TypeAsync(text + "\n");
        await run.WaitForAsync("\n");
        Assert.That(run.Console, Is.EqualTo(text + "\n"));
        await run.SignalAsync("TERM");
        await run.WaitForExitAsync();
    }

    /// <summary>
    /// Writes pseudo-random values in all sizes to ports, all but those that end the machine. Whatever else happens, vmm neither
    /// crashes nor hangs: the guest gets to its end.
    /// </summary>
    [TestCase(1u)]
    [TestCase(2u)]
    [TestCase(3u)]
    public async Task GarbageOnEveryPortStopsNothing(uint seed)
    {
        var result = await RunAsync(
            c =>
            {
                Label next = c.CreateLabel(), skip = c.CreateLabel();
                c.mov(esi, seed);
                c.mov(edi, 400_000);
                c.Label(ref next);
                Random(c);
                c.mov(edx, esi);
                c.shr(edx, 12);
                c.and(edx, 0xFFFF);
                SkipPorts(c, skip);
                Random(c);
                c.mov(eax, esi);
                c.@out(dx, al);
                c.@out(dx, ax);
                c.@out(dx, eax);
                c.@in(al, dx);
                c.@in(ax, dx);
                c.@in(eax, dx);
                c.Label(ref skip);
                c.nop();
                c.dec(edi);
                c.jnz(next);
                Out8(c, 0xF4, 5);
            },
            "--debug-exit");
        Assert.That(result.Status, Is.EqualTo(11), result.Messages);
    }

    /// <summary>The same on the low 4 KiB of ports, where the devices are: every port many times.</summary>
    [TestCase(4u)]
    [TestCase(5u)]
    public async Task GarbageOnEveryDevicePortStopsNothing(uint seed)
    {
        var result = await RunAsync(
            c =>
            {
                Label next = c.CreateLabel(), skip = c.CreateLabel();
                c.mov(esi, seed);
                c.mov(edi, 400_000);
                c.Label(ref next);
                Random(c);
                c.mov(edx, esi);
                c.shr(edx, 12);
                c.and(edx, 0xFFF);
                SkipPorts(c, skip);
                Random(c);
                c.mov(eax, esi);
                c.@out(dx, al);
                c.@in(al, dx);
                c.@out(dx, ax);
                c.@out(dx, eax);
                c.Label(ref skip);
                c.nop();
                c.dec(edi);
                c.jnz(next);
                Out8(c, 0xF4, 5);
            },
            "--debug-exit");
        Assert.That(result.Status, Is.EqualTo(11), result.Messages);
    }

    /// <summary>Garbage to the addresses of devices: PCI windows, ECAM, IOAPIC, HPET, local APIC.</summary>
    [TestCase(0xC000_0000u, 0xFFF_FFFCu, 6u, TestName = "GarbageInThePciWindow")]
    [TestCase(0xE000_0000u, 0x00F_FFFCu, 7u, TestName = "GarbageInTheConfigurationSpace")]
    [TestCase(0xFEC0_0000u, 0x000_03FCu, 8u, TestName = "GarbageInTheIoApic")]
    [TestCase(0xFED0_0000u, 0x000_03FCu, 9u, TestName = "GarbageInTheHpet")]
    [TestCase(0xFEE0_0000u, 0x000_0FF0u, 10u, TestName = "GarbageInTheLocalApic")]
    public async Task GarbageInDeviceMemoryStopsNothing(uint start, uint mask, uint seed)
    {
        var result = await RunAsync(
            c =>
            {
                Label next = c.CreateLabel(), keep = c.CreateLabel();
                c.mov(esi, seed);
                c.mov(edi, 400_000);
                c.Label(ref next);
                Random(c);
                c.mov(ebx, esi);
                c.shr(ebx, 3);
                c.and(ebx, mask);
                c.add(ebx, start);
                // The ICR of the local APIC could send this very processor an INIT or an NMI with no handler: a crash of its own making.
                c.mov(ecx, ebx);
                c.and(ecx, unchecked((int)0xFFFF_FFF0));
                c.cmp(ecx, unchecked((int)0xFEE0_0300));
                c.je(keep);
                Random(c);
                c.mov(__dword_ptr[ebx], esi);
                c.mov(eax, __dword_ptr[ebx]);
                c.mov(__byte_ptr[ebx], al);
                c.mov(ax, __word_ptr[ebx]);
                c.Label(ref keep);
                c.nop();
                c.dec(edi);
                c.jnz(next);
                Out8(c, 0xF4, 5);
            },
            "--debug-exit");
        Assert.That(result.Status, Is.EqualTo(11), result.Messages);
    }

    /// <summary>A step of Marsaglia's xorshift32 in ESI.</summary>
    private static void Random(Assembler c)
    {
        c.mov(eax, esi);
        c.shl(eax, 13);
        c.xor(esi, eax);
        c.mov(eax, esi);
        c.shr(eax, 17);
        c.xor(esi, eax);
        c.mov(eax, esi);
        c.shl(eax, 5);
        c.xor(esi, eax);
    }

    /// <summary>Jumps over the ports that end or reset the machine by design, by any access that touches them.</summary>
    private static void SkipPorts(Assembler c, Label skip)
    {
        foreach ((int first, int last) in ((int, int)[])[(0x60, 0x64), (0x8F, 0x92), (0xF1, 0xF7), (0x502, 0x506), (0x5FD, 0x60B), (0xCF6, 0xCFF)])
        {
            Label further = c.CreateLabel();
            c.cmp(edx, first);
            c.jb(further);
            c.cmp(edx, last);
            c.jbe(skip);
            c.Label(ref further);
        }
    }
}
