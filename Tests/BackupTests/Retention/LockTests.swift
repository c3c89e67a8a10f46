import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

/// Locks that follow what kept backups need. The store is in memory, so that its clock can be set; the locks of a real
/// gateway are in `RansomTests` and `S3StoreServiceTests`.
@Suite struct LockTests {
    private static let day: TimeInterval = 86_400

    /// Of 40 days: locks are set for 50, renewed every 5.
    private func term(_ world: PruneFixture) -> LockTerm {
        LockTerm(Policy.Lock(lasts: .seconds(40 * Int64(Self.day)), mode: .compliance), now: world.store.now)
    }

    private func backUp(_ world: PruneFixture, _ seeds: UInt64...) async throws {
        try await world.fixture.backUp(
            seeds.map { RepositoryFixture.chunk(records: 4, of: 200, seed: $0) }, lock: term(world))
    }

    private func renew(_ world: PruneFixture, last: Int) async throws -> LockRenewal.Report {
        let repository = try await Repository(store: world.store, keys: world.fixture.keys, lock: term(world))
        return try await LockRenewal(
            repository, term: term(world), retention: Retention(keep: Policy.Keep(last: last), zone: .gmt)
        ).run(now: world.store.now)
    }

    /// Days from now until which an object is locked.
    private func days(_ world: PruneFixture, _ key: ObjectKey) async throws -> Double? {
        try await world.store.lockedUntil(key).map { $0.timeIntervalSince(world.store.now) / Self.day }
    }

    @Test("a backup is stored under lock, and renews the lock of what it builds on before it is visible")
    func backups() async throws {
        let world = try await PruneFixture(MemoryStore(locks: true))
        try await backUp(world, 1)
        for folder in ["packs", "indexes", "backups"] {
            for key in world.keys(folder) { #expect(try await days(world, key) == 50) }
        }
        let pack = try #require(world.keys("packs").first)
        world.pass(24 * 9)
        // Locked for longer than the policy asks for: left alone.
        try await backUp(world, 1, 2)
        #expect(try await days(world, pack) == 41)
        world.pass(24 * 2)
        try await backUp(world, 1, 2, 3)
        #expect(try await days(world, pack) == 50)
    }

    @Test("a renewal locks all that kept backups need, keys included, and nothing that no kept one needs")
    func renewal() async throws {
        let world = try await PruneFixture(MemoryStore(locks: true))
        for own in UInt64(2)...5 { try await backUp(world, 1, own) }
        world.pass(24 * 6)
        let report = try await renew(world, last: 2)
        #expect(report.renewed == report.objects && report.until == world.store.now + 50 * Self.day)
        let locked = try await world.store.keys.asyncFilter { try await days(world, $0) == 50 }
        let census = try await Census.count(world.fixture.repository)
        let needs = census.needs([3, 4])
        let layout = world.fixture.repository.layout
        let dropped =
            census.packs.enumerated().filter { !needs.contains($0.offset) }.map { layout.pack($0.element.name) }
            + [1, 2].map { layout.backup($0) }
        // Backup 1 brought the chunk that all need: one pack, that of backup 2, is needed by none.
        #expect(dropped.count == 3)
        #expect(Set(locked) == Set(world.store.keys).subtracting(dropped))
        for key in dropped { #expect(try await days(world, key) == 44) }
        #expect(try await renew(world, last: 2).renewed == 0)
    }

    @Test("prune touches nothing that is locked: it stays in sight, and the mark waits for the end of the lock")
    func prune() async throws {
        let world = try await PruneFixture(MemoryStore(locks: true))
        for own in UInt64(2)...5 { try await backUp(world, 1, own) }
        #expect(try await world.prune().marked?.backups == [1, 2])
        let before = world.store.keys
        world.pass(24 * 3)
        let early = try await world.prune()
        #expect(early.removed == nil && early.waiting.map(\.number) == [1])
        #expect(early.waiting.first?.due == world.store.now + 47 * Self.day)
        #expect(world.store.keys == before)
        world.pass(24 * 47)
        let late = try await world.prune()
        #expect(late.removed?.backups == [1, 2] && late.removed?.packs == 1)
        #expect(world.keys("marks").isEmpty)
        #expect(try await world.fixture.verify().isWhole)
    }
}

extension Sequence {
    fileprivate func asyncFilter(_ isIncluded: (Element) async throws -> Bool) async rethrows -> [Element] {
        var result: [Element] = []
        for element in self where try await isIncluded(element) { result.append(element) }
        return result
    }
}
