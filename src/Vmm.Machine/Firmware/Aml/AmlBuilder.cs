using System.Text;

namespace Vmm.Machine.Firmware.Aml;

/// <summary>
/// Writes ACPI Machine Language (ACPI 6.5, chapter 20), one member per term. Nested terms are written by the delegate that a member
/// takes, so that lengths need no patching. Members return the builder to chain terms.
/// </summary>
internal sealed class AmlBuilder
{
    private readonly ByteWriter _writer = new();

    /// <summary>The first of eight local variables of a method.</summary>
    public const byte Local0Op = 0x60;

    /// <summary>The first of seven arguments of a method.</summary>
    public const byte Arg0Op = 0x68;

    /// <summary>What was written so far.</summary>
    public ReadOnlySpan<byte> Written => _writer.Written;

    public byte[] ToArray() => _writer.ToArray();

    /// <summary>An integer in its shortest encoding (20.2.3).</summary>
    public AmlBuilder Integer(ulong value)
    {
        switch (value)
        {
            case 0 or 1:
                _writer.U8((byte)value);
                break;
            case <= byte.MaxValue:
                _writer.U8(0x0A).U8((byte)value);
                break;
            case <= ushort.MaxValue:
                _writer.U8(0x0B).U16((ushort)value);
                break;
            case <= uint.MaxValue:
                _writer.U8(0x0C).U32((uint)value);
                break;
            default:
                _writer.U8(0x0E).U64(value);
                break;
        }
        return this;
    }

    /// <summary>A string; ASCII.</summary>
    public AmlBuilder String(string value)
    {
        _writer.U8(0x0D).AsciiZ(value);
        return this;
    }

    /// <summary>An EISA ID, compressed into an integer.</summary>
    public AmlBuilder EisaId(string id)
    {
        _writer.U8(0x0C).U32(AmlName.EisaId(id));
        return this;
    }

    /// <summary>A buffer with its initial contents (20.2.5.4, DefBuffer).</summary>
    public AmlBuilder Buffer(ReadOnlySpan<byte> bytes)
    {
        var body = new AmlBuilder().Integer((ulong)bytes.Length);
        body._writer.Bytes(bytes);
        return Packed(0x11, body);
    }

    /// <summary>A UUID in the buffer form that _OSC and _DSM compare with (19.6.142, ToUUID).</summary>
    public AmlBuilder Uuid(string uuid) => Buffer(Guid.Parse(uuid).ToByteArray());

    /// <summary>A package; each element writes one term (20.2.5.4, DefPackage).</summary>
    public AmlBuilder Package(params ReadOnlySpan<Action<AmlBuilder>> elements)
    {
        var body = new AmlBuilder();
        body._writer.U8(checked((byte)elements.Length));
        foreach (var element in elements)
            element(body);
        return Packed(0x12, body);
    }

    /// <summary>A package of integers.</summary>
    public AmlBuilder Package(params ReadOnlySpan<ulong> integers)
    {
        var body = new AmlBuilder();
        body._writer.U8(checked((byte)integers.Length));
        foreach (ulong integer in integers)
            body.Integer(integer);
        return Packed(0x12, body);
    }

    /// <summary>A resource template: a buffer of descriptors with its end tag.</summary>
    public AmlBuilder Resources(Action<ResourceTemplate> descriptors)
    {
        var template = new ResourceTemplate();
        descriptors(template);
        return Buffer(template.ToArray());
    }

    /// <summary>A reference to a named object, or the call of a method, whose arguments follow.</summary>
    public AmlBuilder Path(string path)
    {
        AmlName.Write(_writer, path);
        return this;
    }

    /// <summary>Local variable 0 to 7.</summary>
    public AmlBuilder Local(int index) => Op(checked((byte)(Local0Op + index)));

    /// <summary>Argument 0 to 6.</summary>
    public AmlBuilder Arg(int index) => Op(checked((byte)(Arg0Op + index)));

    /// <summary>DefName: a named constant.</summary>
    public AmlBuilder Name(string name, Action<AmlBuilder> value)
    {
        _writer.U8(0x08);
        AmlName.Write(_writer, name);
        value(this);
        return this;
    }

    /// <summary>DefName of an integer.</summary>
    public AmlBuilder Name(string name, ulong value) => Name(name, a => a.Integer(value));

    /// <summary>DefScope: opens an existing scope.</summary>
    public AmlBuilder Scope(string path, Action<AmlBuilder> body) => Packed(0x10, Named(path, body));

    /// <summary>DefDevice.</summary>
    public AmlBuilder Device(string name, Action<AmlBuilder> body)
    {
        _writer.U8(0x5B);
        return Packed(0x82, Named(name, body));
    }

    /// <summary>DefMethod.</summary>
    public AmlBuilder Method(string name, int arguments, Action<AmlBuilder> body, bool serialized = false)
    {
        var content = new AmlBuilder();
        AmlName.Write(content._writer, name);
        content._writer.U8((byte)((arguments & 7) | (serialized ? 8 : 0)));
        body(content);
        return Packed(0x14, content);
    }

    /// <summary>DefOpRegion over I/O ports.</summary>
    public AmlBuilder SystemIoRegion(string name, ushort port, byte length)
    {
        _writer.U8(0x5B).U8(0x80);
        AmlName.Write(_writer, name);
        _writer.U8(0x01);
        return Integer(port).Integer(length);
    }

    /// <summary>DefField with byte access, no lock, preserved bits: each field by name and width in bits.</summary>
    public AmlBuilder ByteField(string region, params ReadOnlySpan<(string Name, int Bits)> fields)
    {
        var body = new AmlBuilder();
        AmlName.Write(body._writer, region);
        body._writer.U8(0x01);
        foreach (var (name, bits) in fields)
        {
            AmlName.WriteSegment(body._writer, name);
            AmlPackageLength.Write(body._writer, bits - 1);
        }
        _writer.U8(0x5B);
        return Packed(0x81, body);
    }

    /// <summary>DefCreateDWordField: names 32 bits of a buffer; <paramref name="buffer"/> writes the source term.</summary>
    public AmlBuilder CreateDWordField(Action<AmlBuilder> buffer, ulong byteIndex, string name)
    {
        _writer.U8(0x8A);
        buffer(this);
        Integer(byteIndex);
        AmlName.Write(_writer, name);
        return this;
    }

    /// <summary>DefIfElse.</summary>
    public AmlBuilder If(Action<AmlBuilder> condition, Action<AmlBuilder> then, Action<AmlBuilder>? otherwise = null)
    {
        var body = new AmlBuilder();
        condition(body);
        then(body);
        Packed(0xA0, body);
        if (otherwise is null)
            return this;
        var alternative = new AmlBuilder();
        otherwise(alternative);
        return Packed(0xA1, alternative);
    }

    /// <summary>DefStore.</summary>
    public AmlBuilder Store(Action<AmlBuilder> source, Action<AmlBuilder> target) => Op(0x70, source, target);

    /// <summary>DefAnd into a target.</summary>
    public AmlBuilder And(Action<AmlBuilder> left, Action<AmlBuilder> right, Action<AmlBuilder> target) => Op(0x7B, left, right, target);

    /// <summary>DefOr into a target.</summary>
    public AmlBuilder Or(Action<AmlBuilder> left, Action<AmlBuilder> right, Action<AmlBuilder> target) => Op(0x7D, left, right, target);

    /// <summary>DefLEqual.</summary>
    public AmlBuilder LEqual(Action<AmlBuilder> left, Action<AmlBuilder> right) => Op(0x93, left, right);

    /// <summary>DefLNot.</summary>
    public AmlBuilder LNot(Action<AmlBuilder> operand) => Op(0x92, operand);

    /// <summary>DefReturn.</summary>
    public AmlBuilder Return(Action<AmlBuilder> value) => Op(0xA4, value);

    private AmlBuilder Op(byte opcode, params ReadOnlySpan<Action<AmlBuilder>> operands)
    {
        _writer.U8(opcode);
        foreach (var operand in operands)
            operand(this);
        return this;
    }

    private AmlBuilder Packed(byte opcode, AmlBuilder body)
    {
        _writer.U8(opcode);
        AmlPackageLength.Write(_writer, body._writer.Length);
        _writer.Bytes(body.Written);
        return this;
    }

    private static AmlBuilder Named(string path, Action<AmlBuilder> body)
    {
        var content = new AmlBuilder();
        AmlName.Write(content._writer, path);
        body(content);
        return content;
    }
}
