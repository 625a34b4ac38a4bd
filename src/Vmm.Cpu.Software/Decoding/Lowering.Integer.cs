namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerInteger(ref LoweringContext l) => false;
}
