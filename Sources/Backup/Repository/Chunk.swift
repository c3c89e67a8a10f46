package import DRPKit

/// What the bytes of a chunk are; part of its id and of its associated data.
package enum ChunkKind: UInt8, Sendable, Codable, CaseIterable {
    /// Whole BSON documents of one collection, one after the other.
    case documents = 1
    /// Whole Redis keys in canonical form, one after the other.
    case redisKeys = 2
    /// BSON documents that describe collections: options and indexes.
    case mongoCatalog = 3
    /// BSON documents of `admin.system.users` and `admin.system.roles`.
    case mongoUsers = 4
    /// Redis function libraries, one after the other.
    case redisFunctions = 5
    /// Numbered pieces of one Redis key in canonical form that is too large for a chunk.
    case redisPieces = 6
    /// Entries of a replica set's oplog, in order.
    case oplog = 7
    /// Stretches of a Redis replication stream, in order.
    case redisStream = 8
}

/// HMAC-SHA-256 under the client's id key over the kind and the hashes of the chunk's records.
package struct ChunkID: Hashable, Sendable, Codable, CustomStringConvertible {
    package var hash: ContentHash
    package init(_ hash: ContentHash) { self.hash = hash }
    package init(from decoder: any Decoder) throws { hash = try ContentHash(from: decoder) }
    package func encode(to encoder: any Encoder) throws { try hash.encode(to: encoder) }
    package var description: String { hash.description }
}

/// A run of whole records with the SHA-256 of each, in order: what is stored or found as one.
package struct Chunk: Sendable {
    package var kind: ChunkKind
    package var bytes: [UInt8]
    package var hashes: [ContentHash]

    package init(kind: ChunkKind, bytes: [UInt8], hashes: [ContentHash]) {
        self.kind = kind
        self.bytes = bytes
        self.hashes = hashes
    }
}

/// Where a capture puts its chunks. Blocking; called from plain threads, many at once.
package protocol ChunkSink: Sendable {
    /// Stores the chunk unless the repository has it.
    /// - Returns: its id, when the chunk is taken over; it is durable only when the backup is committed.
    func store(_ chunk: Chunk) throws -> ChunkID
}

/// Where a restore gets its chunks. Blocking; called from plain threads, many at once.
package protocol ChunkSource: Sendable {
    /// - Returns: the plain bytes, decrypted, decompressed and authenticated. The caller splits them
    ///   into records and hashes those; `verifyID` then tells whether they are what the id names.
    func load(_ id: ChunkID, kind: ChunkKind) throws -> [UInt8]

    /// - Throws: if the id of a chunk with these record hashes is another one.
    func verifyID(_ id: ChunkID, kind: ChunkKind, hashes: [ContentHash]) throws
}
