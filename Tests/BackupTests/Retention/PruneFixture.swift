import DRPKit
import Foundation
import TestSupport

@testable import Backup

/// A clock that shows one time.
struct StandingClock: WallClock {
    var now: Date
    func sleep(for duration: Duration) async throws {}
}

/// A repository that is pruned, in a store whose clock a test sets.
struct PruneFixture {
    let store: MemoryStore
    let fixture: RepositoryFixture

    init(_ store: MemoryStore = MemoryStore()) async throws {
        self.store = store
        fixture = try await RepositoryFixture(store)
    }

    private init(store: MemoryStore, like other: RepositoryFixture) {
        self.store = store
        fixture = RepositoryFixture(copying: other, to: store)
    }

    /// The same repository in a store of its own.
    func copy() -> PruneFixture {
        let copy = MemoryStore()
        for key in store.keys { copy[key] = store[key] }
        copy.now = store.now
        for key in store.keys { copy.setWritten(key, like: store) }
        return PruneFixture(store: copy, like: fixture)
    }

    /// A backup of these chunks, each by its seed.
    @discardableResult
    func backUp(_ seeds: UInt64...) async throws -> Manifest {
        try await fixture.backUp(seeds.map { RepositoryFixture.chunk(records: 4, of: 200, seed: $0) })
    }

    func pass(_ hours: Double) { store.now += hours * 3600 }

    func prune(
        keep: Policy.Keep? = Policy.Keep(last: 2), history: PruneHistory? = nil, grace: Duration = .seconds(86_400),
        isConfirmed: Bool = true, in other: (any ObjectStore)? = nil, clock: Date? = nil,
        mayDelete: @Sendable () async throws -> Void = {}
    ) async throws -> PruneReport {
        let repository = try await Repository(store: other ?? store, keys: fixture.keys)
        return try await Prune(
            repository, retention: Retention(keep: keep, zone: .gmt), history: history, grace: grace
        ).run(clock: StandingClock(now: clock ?? store.now), isConfirmed: isConfirmed, mayDelete: mayDelete)
    }

    var numbers: [Int] { get async throws { try await fixture.repository.numbers() } }
    func keys(_ folder: String) -> [ObjectKey] { store.keys.filter { $0.parts.count > 2 && $0.parts[1] == folder } }

    /// One index of all packs instead of many.
    func joinIndexes() async throws {
        let repository = fixture.repository
        var packs: [StoredPack] = []
        for key in keys("indexes") {
            packs += try await repository.index(key).packs
            store[key] = nil
        }
        try await repository.put(PackIndex(packs: packs))
    }

    /// Packs that no backup needs.
    func garbage() async throws -> Int {
        let census = try await Census.count(fixture.repository)
        let needs = census.needs(Set(census.backups.map(\.number)))
        return census.packs.indices.count { !needs.contains($0) }
    }
}
