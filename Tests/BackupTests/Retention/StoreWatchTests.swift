import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct StoreWatchTests {
    private static let client = ClientID(unchecked: "acme")
    private static let vault = StoreName(unchecked: "vault")

    /// A journal, a clock that is set, and a repository whose backups the journal knows.
    private struct World {
        let folder: TemporaryFolder
        let clock = HandClock(RepositoryFixture.created)
        let journal: Journal
        let store = MemoryStore()
        let fixture: RepositoryFixture
        var watch: StoreWatch { StoreWatch(journal: journal, clock: clock) }

        init() async throws {
            folder = try TemporaryFolder()
            journal = try await Journal.open(folder: folder.path, clock: clock)
            fixture = try await RepositoryFixture(store)
        }

        func backUp(_ seed: UInt64, at began: Date? = nil) async throws {
            let began = began ?? clock.now
            let id = try await journal.beginBackup(
                client: StoreWatchTests.client, store: StoreWatchTests.vault, started: began)
            let manifest = try await fixture.backUp(
                [RepositoryFixture.chunk(records: 2, of: 100, seed: seed)], at: began)
            let list = try await fixture.repository.backups()
            try await journal.finishBackup(
                id,
                BackupFigures(
                    number: manifest.number, instant: manifest.instant, sourceBytes: ByteCount(1),
                    newBytes: ByteCount(1),
                    storedBytes: ByteCount(1), repository: fixture.keys.client, hash: list.hashes[manifest.number]))
        }

        func look() async throws -> [Alarm.Kind] {
            try await watch.look(
                at: StoreWatchTests.vault, try await fixture.repository.holdings(), of: StoreWatchTests.client,
                fixture.keys.client, try await fixture.repository.backups())
            return try await journal.alarms().map(\.kind)
        }

        func fail(_ error: StoreError.Reason) async throws {
            let id = try await journal.beginBackup(
                client: StoreWatchTests.client, store: StoreWatchTests.vault, started: clock.now)
            try await journal.failBackup(id, StoreError(error, nil))
        }
    }

    @Test("backups that are gone without a prune raise an alarm, which ends when they are back")
    func vanished() async throws {
        let world = try await World()
        for seed in UInt64(1)...3 {
            try await world.backUp(seed)
            world.clock.advance(60)
        }
        #expect(try await world.look().isEmpty)
        let keys = [1, 2].map { world.fixture.repository.layout.backup($0) }
        let bytes = keys.map { world.store[$0] }
        for key in keys { world.store[key] = nil }
        #expect(try await world.look() == [.vanished])
        let alarm = try #require(try await world.journal.alarms().first)
        #expect(alarm.text.contains("2 of 3") && alarm.text.contains("backups 1, 2") && alarm.kind.stopsRetention)
        for (key, bytes) in zip(keys, bytes) { world.store[key] = bytes }
        #expect(try await world.look().isEmpty)
    }

    @Test("what a prune let go raises none")
    func pruned() async throws {
        let world = try await World()
        for seed in UInt64(1)...3 { try await world.backUp(seed) }
        let repository = world.fixture.repository
        let prune = Prune(
            repository, retention: Retention(keep: Policy.Keep(last: 1), zone: .gmt), history: nil, grace: .zero)
        for _ in 0..<2 { _ = try await prune.run(clock: world.clock, isConfirmed: true, mayDelete: {}) }
        #expect(try await repository.numbers() == [3])
        #expect(try await world.look().isEmpty)
    }

    @Test("a backup that says that it is older than the one before it raises an alarm, and one that was replaced")
    func fakes() async throws {
        let world = try await World()
        world.clock.advance(86_400 * 30)
        try await world.backUp(1)
        // Clocks differ by so much.
        try await world.backUp(2, at: world.clock.now - 299)
        #expect(try await world.look().isEmpty)
        try await world.backUp(3, at: world.clock.now - 86_400 * 20)
        #expect(try await world.look() == [.backDated])
        #expect(try #require(try await world.journal.alarms().first).text.hasSuffix("backup 3"))
        // A whole backup of the same client, under a number that is taken.
        let other = RepositoryFixture(copying: world.fixture, to: MemoryStore())
        for key in world.store.keys where !["packs", "indexes", "backups"].contains(key.parts[1]) {
            try await other.store.put(key, try #require(world.store[key]), .createOnly)
        }
        try await other.backUp([RepositoryFixture.chunk(records: 1, of: 50, seed: 9)])
        let key = world.fixture.repository.layout.backup(1)
        world.store[key] = try await other.store.read(key)
        #expect(try await Set(world.look()) == [.backDated, .replaced])
    }

    @Test("versions and locks that were switched off raise alarms, and a lifecycle rule; what never was there does not")
    func traits() async throws {
        let world = try await World()
        func look(versions: Bool?, locks: Bool?, expires: Bool? = false) async throws -> Set<Alarm.Kind> {
            try await world.watch.look(
                at: Self.vault,
                StoreGuards(keepsVersions: versions, locks: locks, expires: expires))
            return Set(try await world.journal.alarms().map(\.kind))
        }
        #expect(try await look(versions: false, locks: false, expires: nil).isEmpty)
        #expect(try await look(versions: true, locks: true).isEmpty)
        #expect(try await look(versions: nil, locks: nil, expires: nil).isEmpty)
        #expect(try await look(versions: false, locks: true) == [.versionsOff])
        #expect(try await look(versions: nil, locks: nil, expires: nil) == [.versionsOff])
        #expect(try await look(versions: false, locks: false, expires: true) == [.versionsOff, .locksOff, .lifecycle])
        #expect(try await look(versions: true, locks: true).isEmpty)
    }

    @Test("a store that took nothing for 24 hours is away, until it takes a backup")
    func absence() async throws {
        let world = try await World()
        try await world.backUp(1)
        func look() async throws -> [Alarm.Kind] {
            try await world.watch.look(atAbsenceOf: Self.vault, client: Self.client)
            return try await world.journal.alarms().map(\.kind)
        }
        try await world.fail(.unreachable)
        world.clock.advance(86_399)
        try await world.fail(.unreachable)
        #expect(try await look().isEmpty)
        world.clock.advance(1)
        try await world.fail(.full)
        #expect(try await look() == [.away])
        try await world.backUp(2)
        #expect(try await look().isEmpty)
    }
}
