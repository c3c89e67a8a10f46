import DRPKit
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Backup

@Suite struct VerifyBesideTests {
    @Test(
        "a backup, or a prune that deletes, at any moment of a verification is no damage",
        arguments: ["backup", "prune"])
    func beside(work: String) async throws {
        let world = try await PruneFixture()
        for own in UInt64(2)...6 { try await world.backUp(1, own) }
        try await world.joinIndexes()
        _ = try await world.prune()
        world.pass(25)
        var moments = 0
        for moment in 1... {
            let copy = world.copy()
            let store = SharedStore(copy.store, moment: moment) {
                if work == "backup" { try await copy.backUp(1, 9) } else { _ = try await copy.prune() }
            }
            let (keys, root) = (copy.fixture.keys, copy.fixture.root)
            let report = try await Repository.verify(
                store: store, keys: keys,
                reader: { try await Repository(store: store, keys: keys).reader([root]) })
            guard store.isReached else { break }
            moments += 1
            #expect(report.isWhole, "\(work) before call \(moment): \(report.problems)")
            #expect(Set([4, 5]).isSubset(of: report.backups), "\(work) before call \(moment)")
        }
        print("verify: \(moments) moments of a \(work)")
        #expect(moments > 20)
    }

    @Test("a list and a restore of the newest backup go well at any moment of a prune that deletes")
    func restoreBeside() async throws {
        let world = try await PruneFixture()
        // Indexes of packs that go, of packs that stay, and packs without any.
        for own in UInt64(2)...6 { try await world.backUp(1, own) }
        for key in world.keys("indexes").prefix(2) { world.store[key] = nil }
        _ = try await world.prune()
        world.pass(25)
        var moments = 0
        for moment in 1... {
            let copy = world.copy()
            let store = SharedStore(copy.store, moment: moment) { _ = try await copy.prune() }
            let repository = try await Repository(store: store, keys: copy.fixture.keys)
            let list = try await repository.backups()
            #expect(list.unreadable.isEmpty && list.backups.map(\.number).suffix(2) == [4, 5], "before call \(moment)")
            let manifest = try #require(try await repository.latest())
            let reader = try await repository.reader([copy.fixture.root])
            let segments = try #require(manifest.mongo).collections[0].segments
            let read = try await OwnThread.run("test") {
                try segments.map { try reader.records($0, kind: .documents).bytes.count }
            }
            #expect(read == [800, 800], "before call \(moment)")
            guard store.isReached else { break }
            moments += 1
        }
        print("list and restore: \(moments) moments of a prune")
        #expect(moments > 10)
    }

    @Test("what is damaged is told all the same, once, while a prune deletes beside")
    func damaged() async throws {
        let world = try await PruneFixture()
        for own in UInt64(2)...6 { try await world.backUp(1, own) }
        _ = try await world.prune()
        world.pass(25)
        let last = try #require(world.keys("backups").last)
        world.store[last]?[60] ^= 1
        let store = SharedStore(world.store, moment: 12) {
            // As another machine's prune, which has the manifest whole still.
            world.store[try #require(world.keys("backups").first)] = nil
        }
        let report = try await Repository.verify(store: store, keys: world.fixture.keys)
        #expect(store.isReached && report.problems.filter { $0.subject == last.text }.count == 1, "\(report.problems)")
    }
}

/// A store in which another machine does its work just before a call of ours.
private final class SharedStore: ObjectStore {
    private let base: any ObjectStore
    private let moment: Int
    private let work: @Sendable () async throws -> Void
    private let calls = Mutex(0)

    /// - Parameter moment: the call, from 1.
    init(_ base: any ObjectStore, moment: Int, work: @escaping @Sendable () async throws -> Void) {
        self.base = base
        self.moment = moment
        self.work = work
    }

    var isReached: Bool { calls.withLock { $0 >= moment } }

    private func turn() async throws(StoreError) {
        let call = calls.withLock { calls in
            calls += 1
            return calls
        }
        guard call == moment else { return }
        do { try await work() } catch { throw StoreError(.unreachable, nil, cause: "\(error)") }
    }

    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try await turn()
        try await base.put(key, bytes, rule)
    }

    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] {
        try await turn()
        return try await base.read(key)
    }

    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await turn()
        return try await base.read(key, range: range)
    }

    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] {
        try await turn()
        return try await base.list(folder)
    }

    func folders() async throws(StoreError) -> [String] { try await base.folders() }

    func size(_ key: ObjectKey) async throws(StoreError) -> Int64? {
        try await turn()
        return try await base.size(key)
    }

    func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion { try await base.delete(key) }
}
