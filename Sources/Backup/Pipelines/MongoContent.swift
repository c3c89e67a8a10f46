internal import DRPKit
internal import Synchronization

/// Reads the chunks of a backup's MongoDB part, each proven to be what its id names.
struct MongoContent: Sendable {
    let source: any ChunkSource

    /// Hands over each record of a segment, after its whole chunk has been verified.
    /// - Returns: the digest of its records.
    func read(
        _ segment: Segment, _ kind: ChunkKind, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> ContentDigest {
        let records = try source.records(segment, kind: kind)
        try records.bytes.withUnsafeBytes { try BSONReader.split($0, body) }
        return records.digest
    }

    func catalog(_ manifest: MongoManifest) throws -> MongoCatalog {
        var collections: [MongoCollection] = []
        for id in manifest.catalog {
            _ = try read(Segment(id), .mongoCatalog) {
                collections.append(try MongoCollection(record: try BSONReader($0)))
            }
        }
        return MongoCatalog(collections: collections)
    }

    func accounts(_ manifest: MongoManifest) throws -> [MongoAccount] {
        var accounts: [MongoAccount] = []
        for id in manifest.users {
            _ = try read(Segment(id), .mongoUsers) { accounts.append(try MongoAccount(record: try BSONReader($0))) }
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
