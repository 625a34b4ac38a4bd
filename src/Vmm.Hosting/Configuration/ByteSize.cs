using System.Globalization;

namespace Vmm.Hosting.Configuration;

/// <summary>Sizes as people write them: <c>512M</c>, <c>6G</c>, <c>1.5GiB</c>. Multiples are powers of 1024, as in QEMU and qemu-img.</summary>
public static class ByteSize
{
    private const string Suffixes = "KMGT";

    /// <summary>Reads a size.</summary>
    /// <param name="text">Digits, with a fraction where a suffix follows; the suffix is B, K, M, G or T, also as KiB or KB.</param>
    /// <param name="plainUnit">What a number without a suffix counts, in bytes.</param>
    /// <param name="bytes">The size in bytes.</param>
    /// <returns>False when the text is no size or does not fit 63 bits.</returns>
    public static bool TryParse(string text, long plainUnit, out long bytes)
    {
        bytes = 0;
        string number = text.Trim();
        decimal unit = plainUnit;
        if (number.EndsWith("iB", StringComparison.OrdinalIgnoreCase) && number.Length > 2 && IsMultiple(number[^3]))
            number = number[..^2];
        else if (number.Length > 1 && char.ToUpperInvariant(number[^1]) == 'B')
        {
            number = number[..^1];
            unit = 1;
        }
        if (number.Length > 0 && IsMultiple(number[^1]))
        {
            unit = 1L << (10 * (Suffixes.IndexOf(char.ToUpperInvariant(number[^1])) + 1));
            number = number[..^1];
        }
        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value) || value > long.MaxValue)
            return false;
        decimal total = value * unit;
        if (total > long.MaxValue || total != decimal.Truncate(total))
            return false;
        bytes = (long)total;
        return true;
    }

    /// <summary>Writes a size in the largest unit that divides it: <c>512M</c>.</summary>
    public static string Format(long bytes)
    {
        int power = 0;
        while (power < Suffixes.Length && bytes != 0 && bytes % 1024 == 0)
        {
            bytes /= 1024;
            power++;
        }
        return power == 0 ? string.Create(CultureInfo.InvariantCulture, $"{bytes}") : string.Create(CultureInfo.InvariantCulture, $"{bytes}{Suffixes[power - 1]}");
    }

    private static bool IsMultiple(char c) => Suffixes.Contains(char.ToUpperInvariant(c));
}
