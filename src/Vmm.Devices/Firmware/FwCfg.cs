using System.Buffers.Binary;
using System.Text;
using Vmm.Core.Buses;
using Vmm.Core.Lifecycle;
using Vmm.Core.Memory;

namespace Vmm.Devices.Firmware;

/// <summary>The state of <see cref="FwCfg"/> for a snapshot. The items are the board's and not in it, but for what the guest wrote.</summary>
/// <param name="Selector">The selected key.</param>
/// <param name="Offset">Offset of the data register within the item.</param>
/// <param name="DmaAddress">The DMA address register.</param>
/// <param name="Written">Contents of the writable items, by key.</param>
public sealed record FwCfgState(ushort Selector, uint Offset, ulong DmaAddress, IReadOnlyDictionary<ushort, byte[]> Written);

/// <summary>
/// QEMU's firmware configuration device, as its specification (docs/specs/fw_cfg) describes it: a 16-bit selector at port 0x510, a data
/// register at 0x511 and a big-endian DMA address register at 0x514. Items are added while the machine is built; a guest reads
/// them by key, finds files through the directory at key 0x19, and writes only items declared writable.
/// </summary>
public sealed partial class FwCfg : IBusDevice, IResettable, ISnapshotable<FwCfgState>
{
    /// <summary>First port.</summary>
    public const ushort Port = 0x510;

    /// <summary>Ports covered.</summary>
    public const int PortCount = 12;

    /// <summary>Item key: "QEMU".</summary>
    public const ushort SignatureKey = 0x00;

    /// <summary>Item key: interface revision; bit 0 the data register, bit 1 DMA.</summary>
    public const ushort IdKey = 0x01;

    /// <summary>Item key: the machine's UUID, 16 bytes.</summary>
    public const ushort UuidKey = 0x02;

    /// <summary>Item key: RAM size, 64 bits.</summary>
    public const ushort RamSizeKey = 0x03;

    /// <summary>Item key: 1 when the machine has no display, 16 bits.</summary>
    public const ushort NoGraphicKey = 0x04;

    /// <summary>Item key: number of processors at boot, 16 bits.</summary>
    public const ushort CpuCountKey = 0x05;

    /// <summary>Item key: kernel load address, 32 bits.</summary>
    public const ushort KernelAddressKey = 0x07;

    /// <summary>Item key: kernel size, 32 bits.</summary>
    public const ushort KernelSizeKey = 0x08;

    /// <summary>Item key: initial RAM disk load address, 32 bits.</summary>
    public const ushort InitrdAddressKey = 0x0A;

    /// <summary>Item key: initial RAM disk size, 32 bits.</summary>
    public const ushort InitrdSizeKey = 0x0B;

    /// <summary>Item key: largest number of processors, 16 bits.</summary>
    public const ushort MaxCpusKey = 0x0F;

    /// <summary>Item key: the file directory.</summary>
    public const ushort FileDirectoryKey = 0x19;

    /// <summary>Key of the first file.</summary>
    public const ushort FirstFileKey = 0x20;

    /// <summary>Longest file name, without its terminating zero.</summary>
    public const int MaxFileNameLength = 55;

    private const uint MaxFiles = 0x1000;
    private const int DirectoryEntrySize = 64;
    private const uint DmaOffset = 4;

    // Guards everything below; guest memory and write callbacks are reached with it held only for the copy of bytes.
    private readonly Lock _lock = new();
    private readonly GuestMemory _memory;
    private readonly Dictionary<ushort, Item> _items = [];
    private readonly List<(string Name, ushort Key)> _files = [];
    private ushort _selector;
    private uint _offset;
    private ulong _dmaAddress;

    /// <summary>Makes the device with its signature, ID and an empty directory.</summary>
    public FwCfg(GuestMemory memory)
    {
        _memory = memory;
        AddBytes(SignatureKey, "QEMU"u8.ToArray());
        AddUInt32(IdKey, 3);
        _items[FileDirectoryKey] = new Item(new byte[4], null);
    }

    /// <summary>Puts it on the port bus.</summary>
    public BusMapping Map(Bus ports) => ports.Map("fw_cfg", Port, PortCount, this);

    /// <summary>Sets an item. While the machine is built, or while no vCPU runs.</summary>
    public void AddBytes(ushort key, byte[] data)
    {
        lock (_lock)
            _items[key] = new Item(data, null);
    }

    /// <summary>Sets an item to a little-endian number.</summary>
    public void AddUInt16(ushort key, ushort value) => AddBytes(key, LittleEndian(value, 2));

    /// <summary>Sets an item to a little-endian number.</summary>
    public void AddUInt32(ushort key, uint value) => AddBytes(key, LittleEndian(value, 4));

    /// <summary>Sets an item to a little-endian number.</summary>
    public void AddUInt64(ushort key, ulong value) => AddBytes(key, LittleEndian(value, 8));

    /// <summary>Adds a file and puts it into the directory.</summary>
    /// <param name="name">Its name: ASCII, at most 55 characters, such as "etc/e820".</param>
    /// <param name="data">Its contents.</param>
    /// <returns>Its key.</returns>
    /// <exception cref="ArgumentException">The name is empty, too long, not ASCII, or taken.</exception>
    public ushort AddFile(string name, byte[] data) => AddFileItem(name, new Item(data, null));

    /// <summary>Adds a file that the guest may write through DMA.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="data">Its contents; the device writes into this array.</param>
    /// <param name="onWritten">Called after each write, on the vCPU's thread, with no lock held. Must not block.</param>
    /// <returns>Its key.</returns>
    public ushort AddWritableFile(string name, byte[] data, Action onWritten) => AddFileItem(name, new Item(data, onWritten));

    /// <inheritdoc/>
    public ulong Read(ulong offset, int size)
    {
        // The DMA address register reads as "QEMU CFG": the signature by which guests recognize DMA.
        if (offset >= DmaOffset)
            return SignatureBytes((int)(offset - DmaOffset), size);
        // Selector and data register together answer byte reads; wider ones are not decoded.
        return size == 1 ? ReadData() : 0UL;
    }

    /// <inheritdoc/>
    public void Write(ulong offset, int size, ulong value)
    {
        if (offset >= DmaOffset)
            WriteDmaAddress((int)(offset - DmaOffset), size, value);
        else if (offset == 0 && size == 2)
            Select((ushort)value);
    }

    /// <inheritdoc/>
    public void Reset()
    {
        lock (_lock)
        {
            _selector = 0;
            _offset = 0;
            _dmaAddress = 0;
        }
    }

    /// <inheritdoc/>
    public FwCfgState Capture()
    {
        lock (_lock)
        {
            var written = _items.Where(i => i.Value.OnWritten is not null).ToDictionary(i => i.Key, i => (byte[])i.Value.Data.Clone());
            return new FwCfgState(_selector, _offset, _dmaAddress, written);
        }
    }

    /// <inheritdoc/>
    public void Restore(FwCfgState state)
    {
        lock (_lock)
        {
            foreach (var (key, data) in state.Written)
            {
                if (!_items.TryGetValue(key, out var item) || item.OnWritten is null || item.Data.Length != data.Length)
                    throw new InvalidDataException($"The fw_cfg snapshot holds item 0x{key:x}, which this machine does not have.");
            }
            foreach (var (key, data) in state.Written)
                data.CopyTo(_items[key].Data, 0);
            (_selector, _offset, _dmaAddress) = (state.Selector, state.Offset, state.DmaAddress);
        }
    }

    private ushort AddFileItem(string name, Item item)
    {
        if (name.Length is 0 or > MaxFileNameLength || !Ascii.IsValid(name))
            throw new ArgumentException($"The fw_cfg file name '{name}' is empty, longer than {MaxFileNameLength} characters or not ASCII.", nameof(name));
        lock (_lock)
        {
            if (_files.Any(f => f.Name == name))
                throw new ArgumentException($"There is a fw_cfg file '{name}' already.", nameof(name));
            if (_files.Count == MaxFiles)
                throw new InvalidOperationException("There is no room for more fw_cfg files.");
            ushort key = (ushort)(FirstFileKey + _files.Count);
            _items[key] = item;
            _files.Add((name, key));
            _items[FileDirectoryKey] = new Item(BuildDirectory(), null);
            return key;
        }
    }

    // struct FWCfgFiles: a count, then entries of size, key, reserved and name; all big-endian, sorted by name.
    private byte[] BuildDirectory()
    {
        byte[] directory = new byte[4 + _files.Count * DirectoryEntrySize];
        BinaryPrimitives.WriteInt32BigEndian(directory, _files.Count);
        int at = 4;
        foreach (var (name, key) in _files.OrderBy(f => f.Name, StringComparer.Ordinal))
        {
            BinaryPrimitives.WriteInt32BigEndian(directory.AsSpan(at), _items[key].Data.Length);
            BinaryPrimitives.WriteUInt16BigEndian(directory.AsSpan(at + 4), key);
            Encoding.ASCII.GetBytes(name, directory.AsSpan(at + 8));
            at += DirectoryEntrySize;
        }
        return directory;
    }

    private void Select(ushort key)
    {
        lock (_lock)
            (_selector, _offset) = (key, 0);
    }

    private byte ReadData()
    {
        lock (_lock)
        {
            if (!_items.TryGetValue(_selector, out var item) || _offset >= item.Data.Length)
                return 0;
            return item.Data[_offset++];
        }
    }

    private static ulong SignatureBytes(int offset, int size)
    {
        var signature = "QEMU CFG"u8;
        ulong value = 0;
        for (int i = 0; i < size && offset + i < signature.Length; i++)
            value |= (ulong)signature[offset + i] << (8 * i);
        return value;
    }

    private static byte[] LittleEndian(ulong value, int size)
    {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++)
            bytes[i] = (byte)(value >> (8 * i));
        return bytes;
    }

    private sealed record Item(byte[] Data, Action? OnWritten);
}
