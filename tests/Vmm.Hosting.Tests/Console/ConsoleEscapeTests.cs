using System.Text;
using Vmm.Hosting.Console;

namespace Vmm.Hosting.Tests.Console;

internal sealed class ConsoleEscapeTests
{
    // ^ stands for Ctrl-A; | divides what reaches the guest in one piece.
    [TestCase("hello", "hello", "")]
    [TestCase("^x", "", "Quit")]
    [TestCase("ab^xcd", "ab|cd", "Quit")]
    [TestCase("^h^s^?", "", "Help Break Help")]
    [TestCase("a^^b", "a|^b", "")]
    [TestCase("^^^^", "^|^", "")]
    [TestCase("a^qb", "a|b", "", Description = "An unknown key after the prefix is swallowed.")]
    [TestCase("^^^x", "^", "Quit")]
    [TestCase("", "", "")]
    public void Sequences(string typed, string toGuest, string actions)
    {
        var (guest, done) = Run(new ConsoleEscape(), typed);
        Assert.That(string.Join('|', guest), Is.EqualTo(toGuest));
        Assert.That(string.Join(' ', done), Is.EqualTo(actions));
    }

    [Test]
    public void SequencesMayComeInParts([Values("^x", "a^^b^sc^h", "^^^x")] string typed)
    {
        var whole = Run(new ConsoleEscape(), typed);
        var escape = new ConsoleEscape();
        var guest = new StringBuilder();
        var done = new List<ConsoleAction>();
        foreach (char c in typed)
        {
            var (part, action) = Run(escape, c.ToString());
            guest.AppendJoin("", part);
            done.AddRange(action);
        }
        Assert.That(guest.ToString(), Is.EqualTo(string.Concat(whole.Guest)));
        Assert.That(done, Is.EqualTo(whole.Actions));
    }

    [Test]
    public void HelpNamesEveryAction()
    {
        foreach (string key in new[] { "Ctrl-A h", "Ctrl-A x", "Ctrl-A s", "Ctrl-A Ctrl-A" })
            Assert.That(ConsoleEscape.Help, Does.Contain(key));
    }

    private static (List<string> Guest, List<ConsoleAction> Actions) Run(ConsoleEscape escape, string typed)
    {
        ReadOnlySpan<byte> input = Encoding.Latin1.GetBytes(typed.Replace('^', (char)ConsoleEscape.Prefix));
        var guest = new List<string>();
        var actions = new List<ConsoleAction>();
        for (int steps = 0; !input.IsEmpty; steps++)
        {
            Assert.That(steps, Is.LessThan(100), "no progress");
            var action = escape.Process(ref input, out var forGuest);
            if (!forGuest.IsEmpty)
                guest.Add(Encoding.Latin1.GetString(forGuest).Replace((char)ConsoleEscape.Prefix, '^'));
            if (action != ConsoleAction.None)
                actions.Add(action);
        }
        return (guest, actions);
    }
}
