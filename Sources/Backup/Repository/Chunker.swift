package import DRPKit

/// Cuts a stream of records into chunks at record borders, by content: the same records give the same
/// cuts wherever they stand, so that unchanged stretches are found again.
///
/// A chunk is at least `minimum` and at most `maximum` bytes, but for the last of a stream and for a
/// single larger record. Past the minimum, a record of n bytes ends the chunk with probability
/// n / (average - minimum), decided by the first 8 bytes of its own SHA-256.
package struct Chunker {
    package static let minimum = 512 << 10
    package static let average = 1 << 20
    package static let maximum = 4 << 20

    private let kind: ChunkKind
    private var bytes: [UInt8] = []
    private var hashes: [ContentHash] = []

    package init(kind: ChunkKind) {
        self.kind = kind
        reserve()
    }

    /// Appends one record.
    /// - Parameter hash: the SHA-256 of `record`.
    /// - Returns: chunks that are complete with it: none, one, or two where `record` is large.
    package mutating func append(_ record: UnsafeRawBufferPointer, hash: ContentHash, emit: (Chunk) throws -> Void)
        rethrows
    {
        if !bytes.isEmpty && bytes.count + record.count > Self.maximum { try emit(take()) }
        bytes.append(contentsOf: record)
        hashes.append(hash)
        if bytes.count >= Self.maximum || (bytes.count >= Self.minimum && isCut(hash, length: record.count)) {
            try emit(take())
        }
    }

    /// The rest of the stream, if any.
    package mutating func finish(emit: (Chunk) throws -> Void) rethrows {
        if !hashes.isEmpty { try emit(take()) }
    }

    private func isCut(_ hash: ContentHash, length: Int) -> Bool {
        let span = UInt64(Self.average - Self.minimum)
        guard UInt64(length) < span else { return true }
        return UInt64(littleEndian: hash.words.0) < UInt64(length) * (UInt64.max / span)
    }

    private mutating func take() -> Chunk {
        let chunk = Chunk(kind: kind, bytes: bytes, hashes: hashes)
        bytes = []
        hashes = []
        reserve()
        return chunk
    }

    private mutating func reserve() {
        bytes.reserveCapacity(Self.average + Self.average / 4)
        hashes.reserveCapacity(1024)
    }
}
