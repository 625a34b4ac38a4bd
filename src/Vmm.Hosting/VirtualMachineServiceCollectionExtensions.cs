using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Vmm.Hosting.Configuration;

namespace Vmm.Hosting;

/// <summary>Adds virtual machines to a .NET host.</summary>
public static class VirtualMachineServiceCollectionExtensions
{
    /// <summary>The name of the machine that is added without one.</summary>
    public const string DefaultName = "vm";

    /// <summary>
    /// Adds a virtual machine that the host owns. Its options are validated when the host starts, each message naming the option;
    /// <see cref="IHostedVirtualMachine"/> gives access to it.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="configure">Sets the machine's options.</param>
    public static IServiceCollection AddVirtualMachine(this IServiceCollection services, Action<MachineSettings> configure)
    {
        services.AddVirtualMachine(DefaultName, configure);
        return services.AddSingleton(provider => provider.GetRequiredKeyedService<IHostedVirtualMachine>(DefaultName));
    }

    /// <summary>
    /// Adds one of several virtual machines that the host owns, under a name: <see cref="IHostedVirtualMachine"/> is a keyed service
    /// of that name.
    /// </summary>
    /// <param name="services">The host's services.</param>
    /// <param name="name">The machine's name.</param>
    /// <param name="configure">Sets the machine's options.</param>
    /// <exception cref="ArgumentException">The name is empty, or taken.</exception>
    public static IServiceCollection AddVirtualMachine(this IServiceCollection services, string name, Action<MachineSettings> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(configure);
        if (services.Any(s => s.ServiceType == typeof(VirtualMachineService) && Equals(s.ServiceKey, name)))
            throw new ArgumentException($"A virtual machine named '{name}' was added already; give each a name of its own.", nameof(name));
        services.AddMetrics();
        services.AddOptions<MachineSettings>(name)
            .Configure(settings => settings.Machine.Name = name)
            .Configure(configure)
            .ValidateOnStart();
        services.AddSingleton<IValidateOptions<MachineSettings>>(new SettingsValidator(name));
        services.AddKeyedSingleton(name, (provider, _) => new VirtualMachineService(
            name,
            provider.GetRequiredService<IOptionsMonitor<MachineSettings>>(),
            provider.GetRequiredService<ILoggerFactory>(),
            provider.GetService<IMeterFactory>()));
        services.AddKeyedSingleton<IHostedVirtualMachine>(name, (provider, _) => provider.GetRequiredKeyedService<VirtualMachineService>(name));
        services.AddSingleton<IHostedService>(provider => provider.GetRequiredKeyedService<VirtualMachineService>(name));
        return services;
    }

    private sealed class SettingsValidator(string name) : IValidateOptions<MachineSettings>
    {
        public ValidateOptionsResult Validate(string? optionsName, MachineSettings options)
        {
            if (optionsName != name)
                return ValidateOptionsResult.Skip;
            IReadOnlyList<string> faults = options.Validate();
            return faults.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(faults.Select(f => $"Virtual machine '{name}': {f}"));
        }
    }
}
