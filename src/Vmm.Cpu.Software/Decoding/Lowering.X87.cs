namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerX87(ref LoweringContext l) => false;
}
