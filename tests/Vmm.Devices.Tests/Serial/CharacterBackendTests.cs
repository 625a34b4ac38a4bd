using System.Diagnostics;
using System.IO.Pipes;
using System.Net.Sockets;
using System.Text;
using Vmm.Core.Lifecycle;
using Vmm.Devices.Serial;

namespace Vmm.Devices.Tests.Serial;

internal sealed class CharacterBackendTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private string _directory = null!;

    [SetUp]
    public void MakeDirectory() => _directory = Directory.CreateTempSubdirectory("vmm-serial-").FullName;

    [TearDown]
    public void DeleteDirectory() => Directory.Delete(_directory, recursive: true);

    private static void Send(ICharacterBackend backend, string text)
    {
        foreach (char c in text)
            Assert.That(backend.TryWrite((byte)c));
    }

    private static string Receive(Socket client, int count)
    {
        byte[] buffer = new byte[count];
        client.ReceiveTimeout = (int)Limit.TotalMilliseconds;
        for (int n = 0; n < count;)
        {
            int got = client.Receive(buffer, n, count - n, SocketFlags.None);
            Assert.That(got, Is.Not.Zero, "the connection was closed");
            n += got;
        }
        return Encoding.ASCII.GetString(buffer);
    }

    private static Socket Connect(string path)
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(path));
        return client;
    }

    [Test]
    public void FileGetsAllOutputByTheTimeOfDispose()
    {
        string path = Path.Combine(_directory, "log");
        File.WriteAllText(path, "what was there before, longer than the new");
        using (var backend = new FileCharacterBackend(path))
        {
            backend.Attach(new Frontend());
            Send(backend, "boot\r\n");
        }
        Assert.That(File.ReadAllText(path), Is.EqualTo("boot\r\n"));
    }

    [Test]
    public void AFileThatCannotBeMadeIsNamed()
    {
        string path = Path.Combine(_directory, "missing", "log");
        Assert.That(() => new FileCharacterBackend(path), Throws.InstanceOf<VmmException>().With.Message.Contains(path));
        Assert.That(() => new FileCharacterBackend(_directory), Throws.InstanceOf<VmmException>().With.Message.Contains(_directory));
    }

    [Test]
    public void AFullDeviceDiscardsAndTheGuestGoesOn()
    {
        if (!File.Exists("/dev/full"))
            Assert.Ignore("no /dev/full here");
        using var backend = new FileCharacterBackend("/dev/full");
        backend.Attach(new Frontend());
        Send(backend, "x");
        Assert.That(backend.Flush(Limit));
        for (int i = 0; i < 2 * BufferedCharacterBackend.OutputCapacity; i++)
            Assert.That(backend.TryWrite(0));
    }

    [Test]
    public void AFullBufferRefusesAndTellsWhenThereIsRoom()
    {
        using var server = new AnonymousPipeServerStream(PipeDirection.In);
        using var output = new AnonymousPipeClientStream(PipeDirection.Out, server.ClientSafePipeHandle);
        var backend = new StreamCharacterBackend(null, output, "pipe", leaveOpen: true);
        var frontend = new Frontend();
        backend.Attach(frontend);
        int sent = 0;
        // The pipe holds 64 KiB, the buffer as much again, and a chunk is under way.
        var watch = Stopwatch.StartNew();
        while (backend.TryWrite((byte)sent) && watch.Elapsed < Limit)
            sent++;
        Assert.That(sent, Is.GreaterThanOrEqualTo(BufferedCharacterBackend.OutputCapacity));
        byte[] all = new byte[sent];
        int received = 0;
        while (received < sent)
            received += server.Read(all, received, sent - received);
        Assert.That(frontend.Ready.Wait(Limit), "told of the room");
        Assert.That(backend.TryWrite(0));
        for (int i = 0; i < sent; i++)
        {
            if (all[i] != (byte)i)
                Assert.Fail($"byte {i} is {all[i]}");
        }
        backend.Dispose();
    }

    [Test]
    public void AClosedReaderEndsTheOutputQuietly()
    {
        var server = new AnonymousPipeServerStream(PipeDirection.In);
        using var output = new AnonymousPipeClientStream(PipeDirection.Out, server.ClientSafePipeHandle);
        server.Dispose();
        using var backend = new StreamCharacterBackend(null, output, "pipe");
        backend.Attach(new Frontend());
        Send(backend, "x");
        Assert.That(backend.Flush(Limit));
        Send(backend, new string('y', 1000));
    }

    [Test]
    public void StreamInputArrivesAndEnds()
    {
        using var backend = new StreamCharacterBackend(new MemoryStream("ab"u8.ToArray()), null, "stream");
        var frontend = new Frontend();
        backend.Attach(frontend);
        Assert.That(frontend.Input.Wait(Limit));
        Assert.That(backend.TryRead(out var a) && backend.TryRead(out var b) && (a.Value, b.Value) == ((byte)'a', (byte)'b'));
        Assert.That(backend.TryRead(out _), Is.False);
    }

    [Test]
    public void DisposeEndsAReadThatNeverComesBack()
    {
        using var server = new AnonymousPipeServerStream(PipeDirection.Out);
        using var input = new AnonymousPipeClientStream(PipeDirection.In, server.ClientSafePipeHandle);
        var backend = new StreamCharacterBackend(input, null, "pipe", leaveOpen: true);
        backend.Attach(new Frontend());
        var watch = Stopwatch.StartNew();
        backend.Dispose();
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(5)));
    }

    [Test]
    public void SocketServesOneClientAfterTheOther()
    {
        string path = Path.Combine(_directory, "serial");
        using (var backend = new UnixSocketCharacterBackend(path))
        {
            var frontend = new Frontend();
            backend.Attach(frontend);
            for (int i = 0; i < 2; i++)
            {
                frontend.Input.Reset();
                using var client = Connect(path);
                client.Send("k"u8);
                Assert.That(frontend.Input.Wait(Limit));
                Assert.That(backend.TryRead(out var c) && c.Value == 'k');
                Send(backend, $"out{i}");
                Assert.That(Receive(client, 4), Is.EqualTo($"out{i}"));
                Assert.That(backend.Flush(Limit));
            }
        }
        Assert.That(Path.Exists(path), Is.False, "the socket file is removed");
    }

    [Test]
    public void ASecondClientIsTurnedAway()
    {
        string path = Path.Combine(_directory, "serial");
        using var backend = new UnixSocketCharacterBackend(path);
        var frontend = new Frontend();
        backend.Attach(frontend);
        using var first = Connect(path);
        first.Send("a"u8);
        Assert.That(frontend.Input.Wait(Limit));
        using var second = Connect(path);
        second.ReceiveTimeout = (int)Limit.TotalMilliseconds;
        string message = Encoding.ASCII.GetString(ReadToEnd(second));
        Assert.That(message, Does.Contain("busy"));
        Send(backend, "b");
        Assert.That(Receive(first, 1), Is.EqualTo("b"));
    }

    [Test]
    public void WithoutAClientOutputIsDiscarded()
    {
        using var backend = new UnixSocketCharacterBackend(Path.Combine(_directory, "serial"));
        backend.Attach(new Frontend());
        Send(backend, "nobody hears this");
        Assert.That(backend.Flush(Limit));
    }

    [Test]
    public void ABusySocketIsRefusedAndLeftAlone()
    {
        string path = Path.Combine(_directory, "serial");
        using var first = new UnixSocketCharacterBackend(path);
        first.Attach(new Frontend());
        Assert.That(() => new UnixSocketCharacterBackend(path), Throws.InstanceOf<VmmException>().With.Message.Contains("busy"));
        Assert.That(Path.Exists(path));
        using var client = Connect(path);
    }

    [Test]
    public void AStaleSocketIsReplaced()
    {
        string path = Path.Combine(_directory, "serial");
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            dead.Bind(new UnixDomainSocketEndPoint(path));
            dead.Listen(1);
            // As after a crash: the file stays, the listener is gone.
            File.Move(path, path + ".kept");
        }
        File.Move(path + ".kept", path);
        using var backend = new UnixSocketCharacterBackend(path);
        backend.Attach(new Frontend());
        using var client = Connect(path);
    }

    [Test]
    public void AnythingButASocketIsLeftAlone()
    {
        string path = Path.Combine(_directory, "file");
        File.WriteAllText(path, "precious");
        Assert.That(() => new UnixSocketCharacterBackend(path), Throws.InstanceOf<VmmException>().With.Message.Contains(path));
        Assert.That(File.ReadAllText(path), Is.EqualTo("precious"));
        string link = Path.Combine(_directory, "link");
        File.CreateSymbolicLink(link, path);
        Assert.That(() => new UnixSocketCharacterBackend(link), Throws.InstanceOf<VmmException>());
        Assert.That(() => new UnixSocketCharacterBackend(Path.Combine(_directory, new string('x', 120))), Throws.InstanceOf<VmmException>());
        Assert.That(() => new UnixSocketCharacterBackend(Path.Combine(_directory, "no", "such")), Throws.InstanceOf<VmmException>());
    }

    [Test]
    public void PseudoTerminalCarriesBothWays()
    {
        if (!File.Exists("/dev/ptmx"))
            Assert.Ignore("no pseudo-terminals here");
        using var backend = new PtyCharacterBackend();
        var frontend = new Frontend();
        backend.Attach(frontend);
        Send(backend, "lost, nobody has it open");
        Assert.That(backend.Flush(Limit));
        for (int i = 0; i < 2; i++)
        {
            frontend.Input.Reset();
            using var terminal = new FileStream(backend.SlavePath, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
            terminal.Write("k\r"u8);
            Assert.That(frontend.Input.Wait(Limit));
            Assert.That(backend.TryRead(out var c) && c.Value == 'k');
            Send(backend, "\nout");
            byte[] buffer = new byte[4];
            terminal.ReadExactly(buffer);
            Assert.That(Encoding.ASCII.GetString(buffer), Is.EqualTo("\nout"), "raw: nothing is echoed or changed");
            while (backend.TryRead(out _))
            {
            }
        }
    }

    [Test]
    public async Task ConsoleStreamReadsAsynchronouslyAndEnds()
    {
        var backend = new MemoryCharacterBackend();
        backend.Attach(new Frontend());
        byte[] buffer = new byte[16];
        var read = backend.Console.ReadAsync(buffer).AsTask();
        Send(backend, "a");
        Assert.That(await read.WaitAsync(Limit), Is.EqualTo(1));
        using var cancel = new CancellationTokenSource();
        var second = backend.Console.ReadAsync(buffer, cancel.Token).AsTask();
        cancel.Cancel();
        Assert.That(async () => await second, Throws.InstanceOf<OperationCanceledException>());
        var third = backend.Console.ReadAsync(buffer).AsTask();
        backend.Dispose();
        Assert.That(await third.WaitAsync(Limit), Is.Zero);
        Assert.That(() => backend.Console.Write([1]), Throws.InstanceOf<IOException>());
    }

    [Test]
    public void ABackendServesOneDevice()
    {
        using var backend = new MemoryCharacterBackend();
        backend.Attach(new Frontend());
        Assert.That(() => backend.Attach(new Frontend()), Throws.InvalidOperationException);
        backend.Dispose();
        backend.Dispose();
        Assert.That(() => backend.Attach(new Frontend()), Throws.InstanceOf<ObjectDisposedException>());
    }

    private static byte[] ReadToEnd(Socket socket)
    {
        using var all = new MemoryStream();
        byte[] buffer = new byte[256];
        for (int n; (n = socket.Receive(buffer)) != 0;)
            all.Write(buffer, 0, n);
        return all.ToArray();
    }

    private sealed class Frontend : ICharacterFrontend
    {
        public ManualResetEventSlim Input { get; } = new();

        public ManualResetEventSlim Ready { get; } = new();

        public void InputAvailable() => Input.Set();

        public void OutputReady() => Ready.Set();
    }
}
