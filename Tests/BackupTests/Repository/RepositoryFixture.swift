import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A client's repository in some store, with keys that a test needs.
struct RepositoryFixture {
    static let created = Date(timeIntervalSince1970: 1_800_000_000)

    let identity: RecoveryIdentity
    let root: RootKey
    let repository: Repository
    var store: any ObjectStore { repository.store }
    var keys: WriterKeys { repository.keys }

    init(_ store: any ObjectStore = MemoryStore(), client: UUID = UUID(), name: String = "acme") async throws {
        identity = RecoveryIdentity.generate()
        root = RootKey.generate(client: client, name: ClientID(unchecked: name))
        repository = try await Repository.initialize(
            store: store, root: root, recipients: [identity.recipient], created: Self.created)
    }

    /// The same client's repository, whose objects lie in `store` too.
    init(copying other: RepositoryFixture, to store: any ObjectStore) {
        identity = other.identity
        root = other.root
        repository = Repository(unchecked: store, keys: other.keys)
    }

    /// One backup of these chunks as collection `shop.orders`.
    @discardableResult
    func backUp(
        _ chunks: [Chunk], to other: (any ObjectStore)? = nil, lock: LockTerm? = nil, at began: Date = created
    ) async throws -> Manifest {
        let target = try await Repository(store: other ?? store, keys: keys, lock: lock)
        let writer = try await target.begin()
        let ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
        return try await writer.commit(
            mongo: Self.mongo(ids, chunks), redis: nil, started: began, finished: began + 2.5, instant: began + 1)
    }

    func verify(readData: Bool = true) async throws -> VerifyReport {
        let (store, keys, root) = (store, keys, root)
        guard readData else { return try await Repository.verify(store: store, keys: keys) }
        return try await Repository.verify(
            store: store, keys: keys,
            reader: {
                try await Repository(store: store, keys: keys).reader([root])
            })
    }

    static func mongo(_ ids: [ChunkID], _ chunks: [Chunk]) -> MongoManifest {
        var digest = ContentDigest()
        for chunk in chunks {
            chunk.bytes.withUnsafeBytes { bytes in
                var splitter = RecordSplitter(bytes, kind: chunk.kind)
                // The fixture's own records are well formed.
                while let record = try? splitter.next() {
                    digest.add(ContentHash(hashing: record), length: record.count)
                }
            }
        }
        return MongoManifest(
            serverVersion: "6.0.0", clusterSeconds: 1, clusterOrdinal: 1, catalog: [], users: [],
            collections: [
                CollectionManifest(
                    database: "shop", collection: "orders", digest: digest, segments: ids.map { Segment($0) },
                    isCapped: false)
            ])
    }

    /// A record of `length` bytes that begins with its length, as BSON does.
    static func record(_ length: Int, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = random.bytes(length)
        withUnsafeBytes(of: UInt32(length).littleEndian) { bytes.replaceSubrange(0..<4, with: $0) }
        return bytes
    }

    static func chunk(records: Int, of length: Int, seed: UInt64, kind: ChunkKind = .documents) -> Chunk {
        var random = SeededGenerator(seed: seed)
        let all = (0..<records).map { _ in record(length, &random) }
        return Chunk(kind: kind, bytes: all.flatMap { $0 }, hashes: all.map { ContentHash(hashing: $0) })
    }
}
