using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Vmm.Hosting.Tests;

[TestFixture]
public sealed class AddVirtualMachineTests
{
    private static IHost Build(Action<IServiceCollection> add)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddLogging();
        add(builder.Services);
        return builder.Build();
    }

    [Test]
    public void OptionsAreValidatedOnStartAndNamed()
    {
        using IHost host = Build(s => s.AddVirtualMachine("web", o =>
        {
            o.Machine.Kernel = "k";
            o.Machine.Cpus = 0;
            o.Machine.Memory = 5;
        }));
        OptionsValidationException e = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        Assert.That(e.Failures, Has.Some.Contains("'web'").And.Some.Contains("--cpus").And.Some.Contains("--memory"));
    }

    [Test]
    public void AMissingKernelFailsTheStartWithItsName()
    {
        using IHost host = Build(s => s.AddVirtualMachine(o => o.Machine.Kernel = "/nonexistent/vmlinuz"));
        Assert.That(() => host.StartAsync(), Throws.Exception.With.Message.Contains("/nonexistent/vmlinuz"));
        Assert.That(
            async () => await host.Services.GetRequiredService<IHostedVirtualMachine>().Completion,
            Throws.Exception.With.Message.Contains("/nonexistent/vmlinuz"));
    }

    [Test]
    public void SeveralMachinesAreKeyedByName()
    {
        using IHost host = Build(s => s.AddVirtualMachine("a", o => o.Machine.Kernel = "x").AddVirtualMachine("b", o => o.Machine.Kernel = "y"));
        IHostedVirtualMachine a = host.Services.GetRequiredKeyedService<IHostedVirtualMachine>("a");
        IHostedVirtualMachine b = host.Services.GetRequiredKeyedService<IHostedVirtualMachine>("b");
        Assert.That((a.Name, b.Name), Is.EqualTo(("a", "b")));
        Assert.That(host.Services.GetServices<IHostedService>(), Is.SupersetOf(new object[] { a, b }));
        Assert.That(() => a.Hosted, Throws.InvalidOperationException.With.Message.Contains("'a'"));
    }

    [Test]
    public void ANameIsTakenOnce() => Assert.That(
        () => new ServiceCollection().AddVirtualMachine("a", _ => { }).AddVirtualMachine("a", _ => { }),
        Throws.ArgumentException.With.Message.Contains("'a'"));
}
