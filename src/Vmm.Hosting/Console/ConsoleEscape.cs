namespace Vmm.Hosting.Console;

/// <summary>What the user asks of the VMM from within the guest's console.</summary>
public enum ConsoleAction
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Ctrl-A x: stop the machine.</summary>
    Quit,

    /// <summary>Ctrl-A h or Ctrl-A ?: show the keys.</summary>
    Help,

    /// <summary>Ctrl-A s: send a break.</summary>
    Break,
}

/// <summary>
/// The escape keys of the console: Ctrl-A, then a key. Ctrl-A twice sends one to the guest; any other key after it is swallowed. The state
/// survives between calls, so a sequence may come in parts.
/// </summary>
public sealed class ConsoleEscape
{
    /// <summary>Ctrl-A.</summary>
    public const byte Prefix = 0x01;

    private bool _escaped;

    /// <summary>What to show for <see cref="ConsoleAction.Help"/>; lines end in CR LF, for a terminal in raw mode.</summary>
    public static string Help =>
        "\r\nCtrl-A h  this help\r\nCtrl-A x  quit: stop the virtual machine at once\r\nCtrl-A s  send a break (magic SysRq)\r\n" +
        "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

    /// <summary>Takes input up to and with the next action. Call it until the input is empty.</summary>
    /// <param name="input">What was typed; what is left is put back.</param>
    /// <param name="forGuest">A part of the input that the guest receives, before the action is carried out.</param>
    /// <returns>The action behind that part.</returns>
    public ConsoleAction Process(ref ReadOnlySpan<byte> input, out ReadOnlySpan<byte> forGuest)
    {
        forGuest = default;
        if (_escaped && !input.IsEmpty)
        {
            _escaped = false;
            byte key = input[0];
            if (key != Prefix)
            {
                input = input[1..];
                return ActionOf(key);
            }
            // A literal Ctrl-A: it starts the next run of bytes for the guest.
            forGuest = TakeRun(ref input, literal: 1);
        }
        else
        {
            forGuest = TakeRun(ref input, literal: 0);
        }
        return ConsoleAction.None;
    }

    // Takes bytes up to the next prefix, and the prefix.
    private ReadOnlySpan<byte> TakeRun(ref ReadOnlySpan<byte> input, int literal)
    {
        int prefix = input[literal..].IndexOf(Prefix);
        var run = prefix < 0 ? input : input[..(literal + prefix)];
        _escaped = prefix >= 0;
        input = input[(run.Length + (prefix < 0 ? 0 : 1))..];
        return run;
    }

    private static ConsoleAction ActionOf(byte key) => key switch
    {
        (byte)'x' or (byte)'X' => ConsoleAction.Quit,
        (byte)'h' or (byte)'H' or (byte)'?' => ConsoleAction.Help,
        (byte)'s' or (byte)'S' or (byte)'b' or (byte)'B' => ConsoleAction.Break,
        _ => ConsoleAction.None,
    };
}
