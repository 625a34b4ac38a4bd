using System.Diagnostics;
using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;
using Vmm.Interop;

namespace Vmm.Hosting.Tests.Console;

internal sealed class InterruptibleFileTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private AnonymousPipeServerStream _writer = null!;
    private AnonymousPipeClientStream _reader = null!;

    [SetUp]
    public void MakePipe()
    {
        _writer = new AnonymousPipeServerStream(PipeDirection.Out);
        _reader = new AnonymousPipeClientStream(PipeDirection.In, _writer.ClientSafePipeHandle);
    }

    [TearDown]
    public void ClosePipe()
    {
        _reader.Dispose();
        _writer.Dispose();
    }

    private static SafeFileHandle Borrow(SafePipeHandle handle) => new(handle.DangerousGetHandle(), ownsHandle: false);

    [Test]
    public void ReadsAndSeesTheEnd()
    {
        using var file = new InterruptibleFile(Borrow(_reader.SafePipeHandle));
        _writer.Write("abc"u8);
        byte[] buffer = new byte[10];
        Assert.That(file.Read(buffer), Is.EqualTo(3));
        _writer.Dispose();
        Assert.That(file.Read(buffer), Is.Zero);
        Assert.That(file.Read(buffer), Is.Zero, "and sees it again");
    }

    [Test]
    public void StopEndsAReadUnderWay()
    {
        using var file = new InterruptibleFile(Borrow(_reader.SafePipeHandle));
        int result = -1;
        var thread = new Thread(() => result = file.Read(new byte[1]));
        thread.Start();
        file.Stop();
        Assert.That(thread.Join(Limit));
        Assert.That(result, Is.Zero);
        Assert.That(file.Read(new byte[1]), Is.Zero);
    }

    [Test]
    public void StopEndsAWriteUnderWay()
    {
        using var file = new InterruptibleFile(Borrow(_writer.SafePipeHandle));
        using var started = new ManualResetEventSlim();
        var thread = new Thread(() =>
        {
            started.Set();
            file.Write(new byte[1 << 20]);
        });
        thread.Start();
        started.Wait();
        file.Stop();
        Assert.That(thread.Join(Limit), "nobody reads the pipe, yet the write ends");
    }

    [Test]
    public void WritesAllOfIt()
    {
        using var file = new InterruptibleFile(Borrow(_writer.SafePipeHandle));
        byte[] data = new byte[300_000];
        Random.Shared.NextBytes(data);
        var thread = new Thread(() => file.Write(data));
        thread.Start();
        byte[] received = new byte[data.Length];
        _reader.ReadExactly(received);
        Assert.That(thread.Join(Limit));
        Assert.That(received.AsSpan().SequenceEqual(data));
    }

    [Test]
    public void AGoneReaderIsAnError()
    {
        using var file = new InterruptibleFile(Borrow(_writer.SafePipeHandle));
        _reader.Dispose();
        // The server end keeps a copy of the client's handle.
        _writer.DisposeLocalCopyOfClientHandle();
        Assert.That(() => file.Write([1]), Throws.InstanceOf<VmmSystemException>().With.Message.Contains("pipe"));
        Assert.That(file.IsHungUp);
    }

    [Test]
    public void AClosedDescriptorIsTheEnd()
    {
        // Far above any descriptor in use: as standard input is after "<&-".
        using var file = new InterruptibleFile(new SafeFileHandle(1_000_000, ownsHandle: false));
        var watch = Stopwatch.StartNew();
        Assert.That(file.Read(new byte[1]), Is.Zero);
        Assert.That(watch.Elapsed, Is.LessThan(Limit));
    }

    [Test]
    public void DevNullAndFilesEnd()
    {
        foreach (string path in new[] { "/dev/null", "/proc/self/cmdline" })
        {
            using var handle = File.OpenHandle(path);
            using var file = new InterruptibleFile(handle);
            byte[] buffer = new byte[65536];
            while (file.Read(buffer) != 0)
            {
            }
        }
    }
}
