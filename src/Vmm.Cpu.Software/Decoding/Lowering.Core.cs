namespace Vmm.Cpu.Software.Decoding;

internal static unsafe partial class Lowering
{
    private static bool LowerCore(ref LoweringContext l) => false;
}
