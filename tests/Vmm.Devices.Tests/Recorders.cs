using Vmm.Core.Interrupts;
using Vmm.Core.Lifecycle;

namespace Vmm.Devices.Tests;

/// <summary>An interrupt line that keeps every level driven on it.</summary>
internal sealed class RecordingLine : IInterruptLine
{
    private readonly List<bool> _levels = [];

    public bool Level { get; private set; }

    public int RisingEdges { get; private set; }

    public IReadOnlyList<bool> Levels => _levels;

    public void SetLevel(bool asserted)
    {
        if (asserted && !Level)
            RisingEdges++;
        Level = asserted;
        _levels.Add(asserted);
    }
}

/// <summary>A machine that keeps what is asked of it.</summary>
internal sealed class RecordingControl : IMachineControl
{
    public List<MachineRequest> Requests { get; } = [];

    public void Request(MachineRequest request) => Requests.Add(request);
}
