namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerSystem(ref LoweringContext l) => false;
}
