using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Tmds.Linux;

namespace Vmm.Interop.Tests;

/// <summary>Structures and constants of the native calls against the system's headers, as the C compiler saw them.</summary>
public sealed unsafe partial class LayoutTests
{
    private const BindingFlags All = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    private static ulong Header(string name)
    {
        Assert.That(Shim.TryFindLayout(name, out ulong value), $"native-shims/layout.c does not list '{name}'");
        return value;
    }

    private static void Check<T>(string type, params (string Name, nint Offset)[] fields)
        where T : unmanaged
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((ulong)sizeof(T), Is.EqualTo(Header($"sizeof {type}")), type);
            foreach (var (name, offset) in fields)
                Assert.That((ulong)offset, Is.EqualTo(Header($"{type}.{name}")), $"{type}.{name}");
        }
    }

    private static nint Offset<T, TField>(ref T start, ref TField field)
        => Unsafe.ByteOffset(ref Unsafe.As<T, byte>(ref start), ref Unsafe.As<TField, byte>(ref field));

    [Test]
    public void Pollfd()
    {
        // The binding has properties here: set each, and look which byte changed.
        pollfd fd = new() { fd = -1 }, events = new() { events = -1 }, revents = new() { revents = -1 };
        Check<pollfd>("pollfd", ("fd", FirstSetByte(fd)), ("events", FirstSetByte(events)), ("revents", FirstSetByte(revents)));
    }

    private static nint FirstSetByte<T>(T value)
        where T : unmanaged
        => new ReadOnlySpan<byte>(&value, sizeof(T)).IndexOfAnyExcept((byte)0);

    [Test]
    public void Timespec()
    {
        timespec t = default;
        Check<timespec>("timespec", ("tv_sec", Offset(ref t, ref t.tv_sec)), ("tv_nsec", Offset(ref t, ref t.tv_nsec)));
    }

    [Test]
    public void Iovec()
        => Check<IoVector>("iovec", ("iov_base", 0), ("iov_len", sizeof(nint)));

    [Test]
    public void Flock()
    {
        FileLock f = default;
        Check<FileLock>(
            "flock",
            ("l_type", Offset(ref f, ref f.Type)),
            ("l_whence", Offset(ref f, ref f.Whence)),
            ("l_start", Offset(ref f, ref f.Start)),
            ("l_len", Offset(ref f, ref f.Length)),
            ("l_pid", Offset(ref f, ref f.Pid)));
    }

    [Test]
    public void Stat()
    {
        stat s = default;
        Check<stat>("stat", ("st_mode", Offset(ref s, ref s.st_mode)), ("st_size", Offset(ref s, ref s.st_size)));
    }

    [Test]
    public void StatxIsReadAtItsOffsets()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Header("sizeof statx"), Is.EqualTo(256));
            Assert.That(Header("statx.stx_mode"), Is.EqualTo(0x1C));
        }
    }

    [Test]
    public void ConstantsOfTheBindingLibrary()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((ulong)LibC.PROT_READ, Is.EqualTo(Header("PROT_READ")));
            Assert.That((ulong)LibC.PROT_WRITE, Is.EqualTo(Header("PROT_WRITE")));
            Assert.That((ulong)LibC.PROT_EXEC, Is.EqualTo(Header("PROT_EXEC")));
            Assert.That((ulong)LibC.MAP_PRIVATE, Is.EqualTo(Header("MAP_PRIVATE")));
            Assert.That((ulong)LibC.MAP_SHARED, Is.EqualTo(Header("MAP_SHARED")));
            Assert.That((ulong)LibC.MAP_ANONYMOUS, Is.EqualTo(Header("MAP_ANONYMOUS")));
            Assert.That((ulong)LibC.MAP_NORESERVE, Is.EqualTo(Header("MAP_NORESERVE")));
            Assert.That((ulong)LibC.MADV_DONTNEED, Is.EqualTo(Header("MADV_DONTNEED")));
            Assert.That((ulong)LibC.POLLIN, Is.EqualTo(Header("POLLIN")));
            Assert.That((ulong)LibC.EFD_CLOEXEC, Is.EqualTo(Header("EFD_CLOEXEC")));
            Assert.That((ulong)LibC.EFD_NONBLOCK, Is.EqualTo(Header("EFD_NONBLOCK")));
        }
    }

    /// <summary>Every constant that Vmm.Interop declares under its C name.</summary>
    [Test]
    public void OwnConstants()
    {
        var constants = typeof(Shim).Assembly.GetTypes()
            .SelectMany(t => t.GetFields(All))
            .Where(f => f.IsLiteral && CName().IsMatch(f.Name) && f.DeclaringType != typeof(Errno))
            .ToArray();
        Assert.That(constants, Is.Not.Empty);
        using (Assert.EnterMultipleScope())
        {
            foreach (var constant in constants)
                Assert.That(Convert.ToUInt64(constant.GetRawConstantValue()), Is.EqualTo(Header(constant.Name)), $"{constant.DeclaringType}.{constant.Name}");
        }
    }

    [Test]
    public void ErrorNumbersHaveTheSystemsWords()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Errno.Describe(Errno.ENOENT), Is.EqualTo("No such file or directory"));
            Assert.That(Errno.Describe(Errno.ENOSPC), Is.EqualTo("No space left on device"));
            Assert.That(Errno.Describe(Errno.EOPNOTSUPP), Is.EqualTo("Operation not supported"));
        }
    }

    [GeneratedRegex("^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$|^BLK[A-Z0-9]+$")]
    private static partial Regex CName();
}
