import Foundation
import TestSupport

@testable import Backup
@testable import DRPKit

/// One client's repositories in three stores in memory, as a policy has them.
struct SeveralStores {
    static let names = ["first", "second", "third"].map { StoreName(unchecked: $0) }

    let fixture: RepositoryFixture
    let stores: [MemoryStore]
    var keys: WriterKeys { fixture.keys }

    init() async throws {
        stores = Self.names.map { _ in MemoryStore() }
        fixture = try await RepositoryFixture(stores[0])
        for store in stores.dropFirst() {
            _ = try await Repository.initialize(
                store: store, root: fixture.root, recipients: [fixture.identity.recipient],
                created: RepositoryFixture.created)
        }
    }

    func repository(_ index: Int) -> Repository { Repository(unchecked: stores[index], keys: keys) }

    /// - Parameters:
    ///   - wrapped: stands for the store of that place.
    ///   - away: places of stores that are not asked.
    func targets(wrapped: [Int: any ObjectStore] = [:], away: Set<Int> = []) -> BackupTargets {
        let targets = BackupTargets()
        for (index, name) in Self.names.enumerated() {
            if away.contains(index) {
                targets.fail(name, StoreError(.unreachable, nil))
            } else {
                targets.add(name, Repository(unchecked: wrapped[index] ?? stores[index], keys: keys))
            }
        }
        return targets
    }

    @discardableResult
    func backUp(
        _ chunks: [Chunk], to targets: BackupTargets, holder: LeaseEntry? = nil, known: KnownBackup? = nil
    ) async throws -> (manifest: Manifest, known: KnownBackup) {
        let start = try await targets.begin(holder: holder, known: known)
        let writer = try await BackupWriter.make(targets, start, holder: holder)
        return try await commit(chunks, writer)
    }

    func commit(_ chunks: [Chunk], _ writer: BackupWriter) async throws -> (manifest: Manifest, known: KnownBackup) {
        let ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
        let date = RepositoryFixture.created
        let manifest = try await writer.commit(
            mongo: RepositoryFixture.mongo(ids, chunks), redis: nil, started: date, finished: date + 2,
            instant: date + 1)
        return (manifest, KnownBackup(number: manifest.number, hash: writer.manifestHash!))
    }

    static func chunks(_ seed: UInt64) -> [Chunk] {
        [
            RepositoryFixture.chunk(records: 3, of: 400, seed: 1),
            RepositoryFixture.chunk(records: 3, of: 400, seed: seed),
        ]
    }

    /// Copies to one store from the others.
    @discardableResult
    func copy(
        to index: Int, _ target: (any ObjectStore)? = nil, from sources: [Int]? = nil,
        wrapped: [Int: any ObjectStore] = [:], absence: RepositoryCopy.Absence = .refuse
    ) async throws -> CopyReport {
        let others = sources ?? stores.indices.filter { $0 != index }
        var copy = RepositoryCopy(
            to: Self.names[index], Repository(unchecked: target ?? stores[index], keys: keys),
            from: others.map {
                RepositoryCopy.Source(
                    store: Self.names[$0], repository: Repository(unchecked: wrapped[$0] ?? stores[$0], keys: keys))
            }, absence: absence, progress: { _ in })
        return try await copy.run()
    }

    /// Objects of packs, indexes and backups, by name.
    func content(_ index: Int) -> [ObjectKey: [UInt8]] {
        var found: [ObjectKey: [UInt8]] = [:]
        for key in stores[index].keys where ["packs", "indexes", "backups"].contains(key.parts[1]) {
            found[key] = stores[index][key]
        }
        return found
    }

    func verify(_ index: Int) async throws -> VerifyReport {
        let (store, keys, root) = (stores[index], keys, fixture.root)
        return try await Repository.verify(
            store: store, keys: keys,
            reader: { try await Repository(store: store, keys: keys).reader([root]) })
    }

    func numbers(_ index: Int) async throws -> [Int] { try await repository(index).backups().backups.map(\.number) }

    static func holder(pid: Int32 = 7, machine: String = "elsewhere") -> LeaseEntry {
        LeaseEntry(
            name: "client/acme", instance: UUID(), fence: 1, pid: pid, pidStarted: "1", machine: machine,
            since: RepositoryFixture.created, beat: RepositoryFixture.created, lasts: 300)
    }
}
