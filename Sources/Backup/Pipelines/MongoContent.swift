internal import DRPKit
internal import Synchronization

/// Reads the chunks of a backup's MongoDB part, each proven to be what its id names.
struct MongoContent: Sendable {
    let source: any ChunkSource

    /// Hands over each record of a chunk, after the whole chunk has been verified.
    /// - Returns: the digest of its records.
    func read(
        _ id: ChunkID, _ kind: ChunkKind, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> ContentDigest {
        let bytes = try source.load(id, kind: kind)
        return try bytes.withUnsafeBytes { bytes in
            var digest = ContentDigest()
            var hashes: [ContentHash] = []
            try BSONReader.split(bytes) { record in
                let hash = ContentHash(hashing: record)
                digest.add(hash, length: record.count)
                hashes.append(hash)
            }
            try source.verifyID(id, kind: kind, hashes: hashes)
            try BSONReader.split(bytes, body)
            return digest
        }
    }

    func catalog(_ manifest: MongoManifest) throws -> MongoCatalog {
        var collections: [MongoCollection] = []
        for id in manifest.catalog {
            _ = try read(id, .mongoCatalog) { collections.append(try MongoCollection(record: try BSONReader($0))) }
        }
        return MongoCatalog(collections: collections)
    }

    func accounts(_ manifest: MongoManifest) throws -> [MongoAccount] {
        var accounts: [MongoAccount] = []
        for id in manifest.users {
            _ = try read(id, .mongoUsers) { accounts.append(try MongoAccount(record: try BSONReader($0))) }
        }
        return accounts
    }
}

/// Counts off the items of a list to several threads.
final class WorkList<Item: Sendable>: Sendable {
    private let items: [Item]
    private let next = Mutex(0)

    init(_ items: [Item]) { self.items = items }

    func take() -> Item? {
        next.withLock { next in
            guard next < items.count else { return nil }
            next += 1
            return items[next - 1]
        }
    }
}
