internal import Crypto
internal import DRPKit
internal import Foundation
internal import Synchronization

/// One chunk in a pack's trailer: 51 bytes in this order, numbers little-endian.
struct PackEntry: Sendable, Equatable {
    static let length = 51

    var id: ChunkID
    var kind: ChunkKind
    /// Which key of the pack's table seals it.
    var key: UInt16
    var offset: UInt32
    /// Nonce (12), ciphertext, tag (16).
    var sealedLength: UInt32
    var plainLength: UInt32
    /// Bytes of the sealed list of fingerprints, right behind the chunk; 0 for none.
    var listLength: UInt32 = 0

    /// Where chunk and list end.
    var end: Int64 { Int64(offset) + Int64(sealedLength) + Int64(listLength) }
}

/// What a trailer says: the table of wrapped keys (u16 count, `wrappedLength` bytes each), then the chunks
/// (u32 count, `PackEntry.length` bytes each).
struct PackTrailer: Sendable, Equatable {
    var keys: [[UInt8]]
    var entries: [PackEntry]

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(6 + keys.count * wrappedLength + entries.count * PackEntry.length)
        bytes.append(little: UInt16(keys.count))
        for key in keys { bytes.append(contentsOf: key) }
        bytes.append(little: UInt32(entries.count))
        for entry in entries {
            entry.id.hash.withBytes { bytes.append(contentsOf: $0) }
            bytes.append(entry.kind.rawValue)
            bytes.append(little: entry.key)
            bytes.append(little: entry.offset)
            bytes.append(little: entry.sealedLength)
            bytes.append(little: entry.plainLength)
            bytes.append(little: entry.listLength)
        }
        return bytes
    }

    /// - Parameter content: how many bytes of the pack are sealed chunks; none may pass its end.
    init(_ bytes: ArraySlice<UInt8>, content: Int64, subject: String) throws(RepositoryError) {
        var reader = SliceReader(bytes, subject: subject)
        keys = []
        for _ in 0..<(try reader.number(UInt16.self)) { keys.append(Array(try reader.take(wrappedLength))) }
        let count = Int(try reader.number(UInt32.self))
        guard reader.left == count * PackEntry.length else {
            throw RepositoryError(.damaged, subject, cause: "\(reader.left) bytes for \(count) chunks")
        }
        entries = []
        entries.reserveCapacity(count)
        for _ in 0..<count {
            let entry = try Self.entry(&reader, subject: subject)
            guard Int(entry.key) < keys.count, entry.sealedLength >= Pack.sealOverhead, entry.end <= content,
                entry.plainLength <= Pack.largestChunk, entry.listLength == 0 || entry.listLength > Pack.sealOverhead
            else { throw RepositoryError(.damaged, subject, cause: "chunk \(entry.id) does not fit") }
            entries.append(entry)
        }
    }

    init(keys: [[UInt8]], entries: [PackEntry]) {
        self.keys = keys
        self.entries = entries
    }

    private static func entry(_ reader: inout SliceReader, subject: String) throws(RepositoryError) -> PackEntry {
        guard let hash = ContentHash(try reader.take(32)), let kind = ChunkKind(rawValue: try reader.number(UInt8.self))
        else { throw RepositoryError(.foreign, subject, cause: "it holds a kind of chunk unknown to this program") }
        return PackEntry(
            id: ChunkID(hash), kind: kind, key: try reader.number(UInt16.self), offset: try reader.number(UInt32.self),
            sealedLength: try reader.number(UInt32.self), plainLength: try reader.number(UInt32.self),
            listLength: try reader.number(UInt32.self))
    }
}

/// A pack: sealed chunks, sealed trailer, and a footer of 12 bytes: length of the trailer (u32), `DRPPACK1`.
enum Pack {
    /// Sealed chunks of a pack, about.
    static let target = 16 << 20
    /// Plain bytes of one chunk at most: a record that is larger alone comes from Redis, whose values end at 512 MB.
    static let largestChunk = 513 << 20
    static let sealOverhead = 12 + 16
    static let footerLength = 12
    static let magic = Array("DRPPACK1".utf8)

    static func footer(trailerLength: Int, magic: [UInt8] = magic) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(little: UInt32(trailerLength))
        return bytes + magic
    }

    /// - Parameters:
    ///   - footer: the last `footerLength` bytes of a pack.
    ///   - size: bytes of the whole pack.
    ///   - magic: that of packs, or of what is built as they are.
    /// - Returns: where the sealed trailer lies.
    static func trailerRange(
        footer: ArraySlice<UInt8>, size: Int64, magic: [UInt8] = magic, subject: String
    ) throws(RepositoryError) -> Range<Int64> {
        var reader = SliceReader(footer, subject: subject)
        let length = Int64(try reader.number(UInt32.self))
        guard Array(try reader.take(8)) == magic else {
            throw RepositoryError(.damaged, subject, cause: "it does not end as such an object does")
        }
        let end = size - Int64(footerLength)
        guard length >= SealedDocument.overhead, length <= end else {
            throw RepositoryError(.damaged, subject, cause: "a trailer of \(length) bytes in \(size)")
        }
        return end - length..<end
    }

    /// Binds a trailer to where it stands.
    static func trailerExtra(content: Int64) -> [UInt8] {
        var extra: [UInt8] = []
        extra.append(little: UInt64(content))
        return extra
    }

    /// Binds a chunk to what it is, never to pack or offset: sealed chunks can move.
    static func chunkExtra(_ id: ChunkID, _ kind: ChunkKind) -> [UInt8] {
        var extra = [kind.rawValue]
        id.hash.withBytes { extra.append(contentsOf: $0) }
        return extra
    }
}

/// A random key for about one pack. Its nonces count up from 0, so that none comes twice; it is never
/// written down but wrapped, and an interrupted pack starts again with another.
final class PackKey: Sendable {
    let key = SymmetricKey(size: .bits256)
    let wrapped: [UInt8]
    private let counter = Atomic<UInt64>(0)

    init(keys: WriterKeys) throws {
        wrapped = try KeyWrap.wrap(key, to: keys.publicKey, info: keys.binding.bytes(.packKey))
    }

    /// The counter (u64) and four zeros.
    func nextNonce() throws -> AES.GCM.Nonce {
        var bytes: [UInt8] = []
        bytes.append(little: counter.wrappingAdd(1, ordering: .relaxed).oldValue)
        bytes.append(little: UInt32(0))
        return try AES.GCM.Nonce(data: bytes)
    }
}

/// A pack that is being filled in memory.
struct OpenPack: Sendable {
    private(set) var bytes: [UInt8]
    private var keys: [PackKey] = []
    private var entries: [PackEntry] = []

    /// - Parameter buffer: empty, to be filled; its room is used again.
    init(buffer: [UInt8] = []) {
        bytes = buffer
        bytes.reserveCapacity(Pack.target + (2 << 20))
    }

    var isEmpty: Bool { entries.isEmpty }
    var isFull: Bool { bytes.count >= Pack.target }

    /// Whether so many bytes more would still have offsets of 32 bits.
    func hasRoom(for length: Int) -> Bool { bytes.count + length < Int(UInt32.max) / 2 }

    /// Appends a sealed chunk. Its key is one of another pack if that one was filled while it was sealed.
    /// - Parameter list: its sealed fingerprints; empty for none.
    mutating func append(
        _ box: AES.GCM.SealedBox, key: PackKey, id: ChunkID, kind: ChunkKind, plainLength: Int, list: [UInt8] = []
    ) {
        let offset = bytes.count
        bytes.append(contentsOf: box.nonce)
        box.ciphertext.withUnsafeBytes { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: box.tag)
        let index = keys.firstIndex { $0 === key } ?? keys.endIndex
        if index == keys.endIndex { keys.append(key) }
        entries.append(
            PackEntry(
                id: id, kind: kind, key: UInt16(index), offset: UInt32(offset),
                sealedLength: UInt32(bytes.count - offset), plainLength: UInt32(plainLength),
                listLength: UInt32(list.count)))
        bytes.append(contentsOf: list)
    }

    var trailer: PackTrailer { PackTrailer(keys: keys.map(\.wrapped), entries: entries) }

    /// Appends trailer and footer.
    mutating func close(_ documents: SealedDocument) throws -> PackTrailer {
        let trailer = trailer
        let extra = Pack.trailerExtra(content: Int64(bytes.count))
        let sealed = try documents.seal(trailer.encoded(), as: .trailer, extra)
        bytes.append(contentsOf: sealed)
        bytes.append(contentsOf: Pack.footer(trailerLength: sealed.count))
        return trailer
    }

    /// Takes the bytes of a closed pack out of it, without a copy.
    mutating func taken() -> [UInt8] {
        let taken = bytes
        bytes = []
        return taken
    }

    /// Empties a buffer for another pack; its room stays, unless it is far too large or somebody still reads it.
    static func emptied(_ bytes: inout [UInt8]) -> [UInt8] {
        var buffer = bytes
        bytes = []
        guard buffer.capacity <= 2 * Pack.target else { return [] }
        buffer.removeAll(keepingCapacity: true)
        return buffer
    }
}
