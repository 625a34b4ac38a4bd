using System.Runtime.InteropServices;
using Vmm.Interop;

namespace Vmm.Cpu.Software;

internal sealed unsafe partial class SoftwareCpu
{
    private readonly byte[] _random = new byte[256];
    private int _randomLeft;
    private uint _pauses;

    /// <summary>
    /// PAUSE: what the guest waits for may be another virtual CPU whose thread the host does not run at the moment, so every now and then it gets the chance.
    /// </summary>
    public void Relax()
    {
        if ((++_pauses & 31) == 0)
            Thread.Yield();
        else
            Thread.SpinWait(1);
    }

    /// <summary>Takes eight random bytes from the host (RDRAND, RDSEED).</summary>
    /// <returns>False when the host has none; the guest then sees CF clear.</returns>
    public bool TryGetRandom(out ulong value)
    {
        if (_randomLeft < sizeof(ulong))
        {
            if (!HostRandom.TryFill(_random))
            {
                value = 0;
                return false;
            }
            _randomLeft = _random.Length;
        }
        _randomLeft -= sizeof(ulong);
        var bytes = _random.AsSpan(_randomLeft, sizeof(ulong));
        value = MemoryMarshal.Read<ulong>(bytes);
        // A number that was handed out stays nowhere.
        bytes.Clear();
        return true;
    }
}
