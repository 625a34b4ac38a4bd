namespace Vmm.Machine.Loading;

/// <summary>What a loader did.</summary>
/// <param name="Entry">How the bootstrap processor starts.</param>
/// <param name="Description">The kind of kernel and the protocol, for the log.</param>
/// <param name="KernelEnd">First address behind the kernel and what it clears.</param>
internal sealed record LoadedKernel(BootEntry Entry, string Description, ulong KernelEnd);
