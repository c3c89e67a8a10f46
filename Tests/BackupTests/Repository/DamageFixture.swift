import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A small repository with all that the format knows, what it holds, and what a restore gets out of a damaged copy.
struct DamageFixture: Sendable {
    let store: MemoryStore
    let fixture: RepositoryFixture
    private let kinds: EveryKind

    var manifests: [Manifest] { kinds.manifests }
    var keys: WriterKeys { fixture.keys }
    var layout: RepositoryLayout { fixture.repository.layout }

    /// Three backups, each of which shares chunks with the one before it, and one object at least of each other kind.
    init(_ store: MemoryStore = MemoryStore(), name: String = "acme", seed: UInt64 = 0) async throws {
        self.store = store
        fixture = try await RepositoryFixture(store, name: name)
        var kinds = EveryKind(fixture.repository)
        for seeds in [[1, 2], [1, 3], [2, 3, 4]] as [[UInt64]] { try await kinds.backUp(seeds.map { $0 + seed }) }
        try await kinds.writeVoid()
        try await kinds.writeLogs()
        try await kinds.writeRest()
        self.kinds = kinds
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
        for (name, digest) in kinds.slices {
            do {
                if try await reader.verify(name) != digest { reading.wrong.append("\(name)") }
                reading.right += 1
            } catch  where Self.isNamed(error) {
                reading.refused += 1
            }
        }
        return reading
    }

    private func wrongChunks(of manifest: Manifest, _ reader: BackupReader) throws -> [String] {
        try manifest.chunks.compactMap { id, kind in
            try reader.records(id, kind: kind).bytes == kinds.content[id] ? nil : "chunk \(id)"
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
