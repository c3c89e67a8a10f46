import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A small repository with backups of both kinds of sources, what they hold, and what a restore gets out of a damaged copy.
struct DamageFixture: Sendable {
    let store: MemoryStore
    let fixture: RepositoryFixture
    private(set) var manifests: [Manifest] = []
    private(set) var content: [ChunkID: [UInt8]] = [:]

    var keys: WriterKeys { fixture.keys }
    var layout: RepositoryLayout { fixture.repository.layout }

    /// Three backups; each shares chunks with the one before it.
    init(_ store: MemoryStore = MemoryStore(), name: String = "acme", seed: UInt64 = 0) async throws {
        self.store = store
        fixture = try await RepositoryFixture(store, name: name)
        for seeds in [[1, 2], [1, 3], [2, 3, 4]] as [[UInt64]] { try await backUp(seeds.map { $0 + seed }) }
    }

    private mutating func backUp(_ seeds: [UInt64]) async throws {
        let documents = seeds.map { RepositoryFixture.chunk(records: 3, of: 60, seed: $0) }
        let redisKeys = seeds.map { RepositoryFixture.chunk(records: 2, of: 50, seed: 1000 + $0, kind: .redisKeys) }
        let others = [ChunkKind.mongoCatalog, .mongoUsers, .redisFunctions].map {
            RepositoryFixture.chunk(records: 1, of: 70, seed: UInt64($0.rawValue), kind: $0)
        }
        let writer = try await fixture.repository.begin()
        let chunks = documents + redisKeys + others
        let ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
        for (id, chunk) in zip(ids, chunks) { content[id] = chunk.bytes }
        var mongo = RepositoryFixture.mongo(Array(ids.prefix(seeds.count)), documents)
        let rest = Array(ids.suffix(3))
        (mongo.catalog, mongo.users) = ([rest[0]], [rest[1]])
        let keys = Array(ids[seeds.count..<2 * seeds.count])
        let redis = RedisManifest(
            serverVersion: "7.0.0", rdbVersion: 10, replicationID: "none", offset: 1,
            instant: RepositoryFixture.created,
            functions: [rest[2]],
            databases: [
                RedisDatabaseManifest(
                    database: 0, digest: RepositoryFixture.mongo(keys, redisKeys).collections[0].digest,
                    volatileKeys: 0, chunks: keys)
            ])
        let date = RepositoryFixture.created
        manifests.append(
            try await writer.commit(mongo: mongo, redis: redis, started: date, finished: date + 1, instant: date))
    }

    // MARK: - What is found

    /// Everything that `drp backup verify --read-data` finds.
    func verify(_ store: MemoryStore) async throws -> VerifyReport {
        let (keys, identity) = (keys, fixture.identity)
        return try await Repository.verify(
            store: store, keys: keys,
            reader: {
                let repository = try await Repository(store: store, keys: keys)
                return try await repository.reader(try await repository.rootKeys(identity))
            })
    }

    /// What restores of all backups get.
    struct Reading: Sendable {
        var right = 0
        var refused = 0
        /// Bytes that were given and are not those that were stored.
        var wrong: [String] = []
    }

    /// Reads every chunk of every backup as a restore does, with nothing but the identity.
    func read(_ store: MemoryStore) async throws -> Reading {
        var reading = Reading()
        let reader: BackupReader
        let repository: Repository
        do {
            let opened = try await Repository.open(store: store, client: keys.client, identity: fixture.identity)
            repository = opened.repository
            reader = try await repository.reader(opened.roots)
        } catch  where Self.isNamed(error) {
            reading.refused = manifests.count
            return reading
        }
        for expected in manifests {
            do {
                let manifest = try await repository.manifest(expected.number)
                if manifest != expected { reading.wrong.append("backup \(expected.number)") }
                let wrong = try await OwnThread.run("test") { try wrongChunks(of: manifest, reader) }
                reading.wrong += wrong
                reading.right += 1
            } catch  where Self.isNamed(error) {
                reading.refused += 1
            }
        }
        return reading
    }

    private func wrongChunks(of manifest: Manifest, _ reader: BackupReader) throws -> [String] {
        try manifest.chunks.compactMap { id, kind in
            let bytes = try reader.load(id, kind: kind)
            try reader.verifyID(id, kind: kind, hashes: try RecordSplitter.hashes(of: bytes, kind: kind))
            return bytes == content[id] ? nil : "chunk \(id)"
        }
    }

    /// An error that a person can use; any other would come up as one of the program's own.
    private static func isNamed(_ error: any Error) -> Bool { error is RepositoryError || error is StoreError }
}

/// One way to damage a repository, and what must be found.
struct Damage: Sendable {
    var what: String
    /// One of these must be named by verification; none for damage that mends itself or cannot be known.
    var names: [String]
    var mustNameAll = false
    /// Backups of which verification must say that they suffer.
    var suffering: [Int] = []
    var apply: @Sendable (MemoryStore) -> Void
}

/// What all of some damages came to.
struct DamageCount: Sendable {
    var tried = 0
    var found = 0
    var rightReads = 0
    var refusedReads = 0
    var failures: [String] = []

    var text: String {
        "\(tried) tried, \(found) found and named; restores: \(refusedReads) refused, \(rightReads) right, "
            + "\(failures.count) failures"
    }

    fileprivate mutating func add(_ other: DamageCount) {
        tried += other.tried
        found += other.found
        rightReads += other.rightReads
        refusedReads += other.refusedReads
        failures += other.failures
    }
}

extension DamageFixture {
    /// Tries each on a copy of the store, on all cores.
    func tryAll(_ damages: [Damage]) async throws -> DamageCount {
        let workers = ProcessInfo.processInfo.activeProcessorCount
        return try await withThrowingTaskGroup(of: DamageCount.self) { group in
            for worker in 0..<workers {
                group.addTask {
                    var count = DamageCount()
                    for index in stride(from: worker, to: damages.count, by: workers) {
                        count.add(try await tryOne(damages[index]))
                    }
                    return count
                }
            }
            return try await group.reduce(into: DamageCount()) { $0.add($1) }
        }
    }

    private func tryOne(_ damage: Damage) async throws -> DamageCount {
        var count = DamageCount()
        count.tried = 1
        let copy = store.copy()
        damage.apply(copy)
        let report = try await verify(copy)
        func isNamed(_ name: String) -> Bool {
            report.problems.contains { $0.subject == name || name.hasPrefix($0.subject + "/") }
        }
        let named = damage.names.filter(isNamed)
        let suffering = Set(report.problems.flatMap(\.backups))
        if damage.mustNameAll ? named.count == damage.names.count : (damage.names.isEmpty || !named.isEmpty),
            suffering.isSuperset(of: damage.suffering)
        {
            count.found = damage.names.isEmpty && damage.suffering.isEmpty ? 0 : 1
        } else {
            count.failures.append("\(damage.what): verify says \(report.problems)")
        }
        let reading = try await read(copy)
        count.rightReads = reading.right
        count.refusedReads = reading.refused
        count.failures += reading.wrong.map { "\(damage.what): a restore gets wrong bytes of \($0)" }
        return count
    }
}
