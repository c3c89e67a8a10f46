internal import DRPKit

extension ChunkKind {
    /// Least length of a record of this kind: of BSON its length and the final 0, of Redis its length, and what
    /// `docs/repository-format.md` puts behind that.
    fileprivate var leastRecordLength: Int {
        switch self {
        case .documents, .mongoCatalog, .mongoUsers, .oplog: 5
        case .redisKeys, .redisFunctions: 4
        case .redisPieces: 8
        case .redisStream: 12
        }
    }
}

/// Splits the bytes of a chunk into its records.
///
/// Records of every kind begin with their own whole length, little-endian: an int32 of at least 5 in BSON
/// (bsonspec.org), a uint32 of at least 4 in the canonical records of Redis.
package struct RecordSplitter {
    private let bytes: UnsafeRawBufferPointer
    private let kind: ChunkKind
    private var offset = 0

    /// - Parameter bytes: plain bytes of one chunk; they must outlive the splitter.
    package init(_ bytes: UnsafeRawBufferPointer, kind: ChunkKind) {
        self.bytes = bytes
        self.kind = kind
    }

    /// - Returns: the next record, a view into the chunk; nil at its end.
    /// - Throws: `RepositoryError.damaged` if a length is too small or passes the end of the chunk.
    package mutating func next() throws(RepositoryError) -> UnsafeRawBufferPointer? {
        let left = bytes.count - offset
        guard left > 0 else { return nil }
        guard left >= 4 else { throw broken("\(left) bytes are left over") }
        let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        guard length >= kind.leastRecordLength, length <= left else {
            throw broken("a record of \(length) bytes where \(left) are left")
        }
        defer { offset += length }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
    }

    /// Calls `body` with each record of the chunk, in order.
    package static func forEach(
        in bytes: UnsafeRawBufferPointer, kind: ChunkKind, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var splitter = Self(bytes, kind: kind)
        while let record = try splitter.next() { try body(record) }
    }

    /// The digest of all records of the chunk.
    package static func digest(of bytes: [UInt8], kind: ChunkKind) throws -> ContentDigest {
        var digest = ContentDigest()
        try bytes.withUnsafeBytes { bytes in
            try forEach(in: bytes, kind: kind) { digest.add(ContentHash(hashing: $0), length: $0.count) }
        }
        return digest
    }

    private func broken(_ text: String) -> RepositoryError {
        RepositoryError(.damaged, "a chunk of \(kind) at byte \(offset)", cause: text)
    }
}
