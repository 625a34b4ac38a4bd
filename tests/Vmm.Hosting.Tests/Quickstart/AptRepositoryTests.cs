using Vmm.Hosting.Quickstart;

namespace Vmm.Hosting.Tests.Quickstart;

[TestFixture]
public sealed class AptRepositoryTests
{
    [Test]
    public void ReadsAControlParagraph()
    {
        AptPackage? package = AptRepository.ParsePackage("""
            Package: linux-image-virtual
            Version: 6.8.0
            Depends: linux-image-6.8.0-50-generic (= 6.8.0-50.51), kmod | module-init-tools, libc6:any (>= 2.36)
            Description: a kernel
             Depends: not this one
            Size: 1504
            """);
        Assert.That(package!.Name, Is.EqualTo("linux-image-virtual"));
        Assert.That(package.Depends, Is.EqualTo(new[] { "linux-image-6.8.0-50-generic", "kmod", "module-init-tools", "libc6" }));
        Assert.That(package.Size, Is.EqualTo(1504));
    }

    [Test]
    public void NoParagraphIsNoPackage() => Assert.That(AptRepository.ParsePackage("N: Unable to locate package x\n"), Is.Null);
}
