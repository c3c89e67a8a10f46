internal import DRPKit

/// A chunk, or what is left of it without some of its records: of these consists the content of a collection or a Redis
/// database. Text form: the chunk's id, and where records are left out a `-` and the bitmap in hex.
package struct Segment: Hashable, Sendable, Codable {
    package var chunk: ChunkID
    /// nil for none.
    package var leftOut: LeftOut?

    package init(_ chunk: ChunkID, leftOut: LeftOut? = nil) {
        self.chunk = chunk
        self.leftOut = leftOut
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        let end = text.utf8.firstIndex(of: UInt8(ascii: "-")) ?? text.endIndex
        func refuse(_ what: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: what))
        }
        guard let hash = ContentHash(hex: String(text[..<end])) else { throw refuse("no chunk's id") }
        chunk = ChunkID(hash)
        guard end < text.endIndex else { return }
        guard let bitmap = Hex.decode(String(text[end...].dropFirst())), let leftOut = LeftOut(bitmap: bitmap) else {
            throw refuse("no bitmap")
        }
        self.leftOut = leftOut
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(leftOut.map { "\(chunk)-\(Hex.encode($0.bitmap))" } ?? "\(chunk)")
    }
}

/// Which records of a chunk are left out: one bit for each record, the first one's the lowest of the first byte.
package struct LeftOut: Hashable, Sendable {
    package let bitmap: [UInt8]

    /// - Returns: nil if nothing is left out by it.
    package init?(bitmap: [UInt8]) {
        guard bitmap.contains(where: { $0 != 0 }) else { return nil }
        self.bitmap = bitmap
    }

    /// - Returns: nil if there are none.
    package init?(records: [Int], of count: Int) {
        var bitmap = [UInt8](repeating: 0, count: (count + 7) / 8)
        for record in records { bitmap[record / 8] |= 1 << UInt8(record % 8) }
        self.init(bitmap: bitmap)
    }

    package func contains(_ record: Int) -> Bool { bitmap[record / 8] & 1 << UInt8(record % 8) != 0 }

    /// Whether it is of a chunk of so many records: a bit for each, and zeros to the end of the last byte.
    package func fits(_ count: Int) -> Bool {
        guard bitmap.count == (count + 7) / 8 else { return false }
        return count % 8 == 0 || bitmap[bitmap.count - 1] >> UInt8(count % 8) == 0
    }
}

/// Records out of the repository, one after the other, and their digest.
package struct Records: Sendable {
    package var bytes: [UInt8]
    package var digest: ContentDigest
}

extension ChunkSource {
    /// The records of a segment, after the whole chunk was proven to be what its id names.
    /// - Throws: `RepositoryError.damaged` if it is not; what the source throws.
    package func records(_ segment: Segment, kind: ChunkKind) throws -> Records {
        let subject = "chunk \(segment.chunk)"
        let bytes = try load(segment.chunk, kind: kind)
        return try bytes.withUnsafeBytes { raw in
            var digest = ContentDigest()
            var hashes: [ContentHash] = []
            var kept: [UInt8] = []
            try RecordSplitter.forEach(in: raw, kind: kind) { record in
                let hash = ContentHash(hashing: record)
                let number = hashes.count
                hashes.append(hash)
                guard let leftOut = segment.leftOut else { return digest.add(hash, length: record.count) }
                // One that does not fit is refused below, before anything is handed out.
                guard number / 8 < leftOut.bitmap.count, !leftOut.contains(number) else { return }
                digest.add(hash, length: record.count)
                kept.append(contentsOf: record)
            }
            try verifyID(segment.chunk, kind: kind, hashes: hashes)
            guard let leftOut = segment.leftOut else { return Records(bytes: bytes, digest: digest) }
            guard leftOut.fits(hashes.count) else {
                throw RepositoryError(
                    .damaged, subject, cause: "what is left out of it is not of \(hashes.count) records")
            }
            return Records(bytes: kept, digest: digest)
        }
    }

    package func records(_ chunk: ChunkID, kind: ChunkKind) throws -> Records {
        try records(Segment(chunk), kind: kind)
    }

    /// A Redis key that is stored in pieces, put together: one record.
    /// - Throws: as above; `.damaged` if the pieces are not the record's, in order; `.foreign` if it is too large for this
    ///   program.
    package func value(_ pieces: [ChunkID]) throws -> Records {
        let subject = "a Redis value in \(pieces.count) chunks"
        var record: [UInt8] = []
        var next: UInt32 = 0
        for chunk in pieces {
            try records(chunk, kind: .redisPieces).bytes.withUnsafeBytes { bytes in
                try RecordSplitter.forEach(in: bytes, kind: .redisPieces) { piece in
                    let number = UInt32(littleEndian: piece.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
                    guard number == next else {
                        throw RepositoryError(.damaged, subject, cause: "piece \(number) where \(next) should be")
                    }
                    next += 1
                    guard record.count + piece.count <= Pack.largestChunk else {
                        throw RepositoryError(
                            .foreign, subject, cause: "it is larger than \(ByteCount(Int64(Pack.largestChunk)))")
                    }
                    record.append(contentsOf: piece.dropFirst(8))
                }
            }
        }
        return try record.withUnsafeBytes { bytes in
            guard bytes.count >= 4, bytes.loadUnaligned(as: UInt32.self).littleEndian == bytes.count else {
                throw RepositoryError(.damaged, subject, cause: "its pieces are \(bytes.count) bytes, not what it says")
            }
            var digest = ContentDigest()
            digest.add(ContentHash(hashing: bytes), length: bytes.count)
            return Records(bytes: record, digest: digest)
        }
    }
}
