import Foundation
import TestSupport
import Testing

@testable import Backup
@testable import DRPKit

/// The lease in a store, as two machines see it that share no journal. The store's clock is the test's own.
@Suite("The lease in a store") struct StoreLeaseTests {
    private let store = MemoryStore()

    private func holder(machine: String = "elsewhere", pid: Int32 = 7, started: String = "1") -> LeaseEntry {
        LeaseEntry(
            name: "client/acme", instance: UUID(), fence: 1, pid: pid, pidStarted: started, machine: machine,
            since: RepositoryFixture.created, beat: RepositoryFixture.created, lasts: 300)
    }

    private func commit(_ writer: BackupWriter, seed: UInt64) async throws -> Manifest {
        let chunk = RepositoryFixture.chunk(records: 2, of: 100, seed: seed)
        let id = try await OwnThread.run("test") { try writer.store(chunk) }
        let date = RepositoryFixture.created
        return try await writer.commit(
            mongo: RepositoryFixture.mongo([id], [chunk]), redis: nil, started: date, finished: date, instant: date)
    }

    @Test("a holder that says that it lives keeps others out; one that is silent for 5 minutes loses number and backup")
    func silent() async throws {
        let fixture = try await RepositoryFixture(store)
        _ = try await commit(try await fixture.repository.begin(), seed: 1)
        let sleeper = holder()
        let first = try await fixture.repository.begin(holder: sleeper)
        #expect(first.number == 2)
        store.now += 200
        try await BackupTargets(fixture.repository).beat(sleeper, number: 2)
        store.now += 299
        let refused = await #expect(throws: RepositoryError.self) {
            _ = try await fixture.repository.begin(holder: holder())
        }
        #expect(refused?.reason == .leased && refused?.code == .repositoryLeased)
        #expect(refused?.message.contains("process 7 on machine elsewhere") == true)

        store.now += 2
        let second = try await fixture.repository.begin(holder: holder(pid: 8))
        #expect(second.number == 3)
        // It wakes up, before and after the other one has committed.
        let early = await #expect(throws: RepositoryError.self) {
            try await BackupTargets(fixture.repository).beat(sleeper, number: 2)
        }
        #expect(early?.reason == .overtaken)
        let late = await #expect(throws: RepositoryError.self) { _ = try await commit(first, seed: 2) }
        #expect(late?.reason == .overtaken)
        #expect(try await commit(second, seed: 3).number == 3)
        #expect(try await fixture.repository.backups().backups.map(\.number) == [1, 3])
        let missing = await #expect(throws: RepositoryError.self) { _ = try await fixture.repository.manifest(2) }
        #expect(missing?.reason == .missing)
        #expect(try await fixture.verify().isWhole)
        #expect(!store.keys.contains { $0.name == "lease" })
    }

    @Test("one that lost its lease cannot commit under its number although nobody asks the lease: a void stands there")
    func void() async throws {
        let fixture = try await RepositoryFixture(store)
        // As between its last look at the lease and the manifest.
        let sleeper = try await fixture.repository.begin()
        _ = try await fixture.repository.begin(holder: holder())
        store.now += 301
        let taker = try await fixture.repository.begin(holder: holder(pid: 8))
        #expect(sleeper.number == 1 && taker.number == 2)
        let late = await #expect(throws: RepositoryError.self) { _ = try await commit(sleeper, seed: 1) }
        #expect(late?.reason == .overtaken)
        #expect(try await commit(taker, seed: 2).number == 2)
        #expect(try await fixture.repository.latest()?.number == 2)
        #expect(try await fixture.verify().isWhole)
    }

    @Test("a lease of a process that has ended, or one that is damaged, holds nobody up and costs no number")
    func gone() async throws {
        let fixture = try await RepositoryFixture(store)
        let machine = ProcessIdentity.current.machine
        // No process has this start.
        _ = try await fixture.repository.begin(holder: holder(machine: machine, pid: getpid(), started: "never"))
        #expect(try await fixture.repository.begin(holder: holder()).number == 1)
        let key = try #require(store.keys.first { $0.name == "lease" })
        store[key] = [1, 2, 3]
        let writer = try await fixture.repository.begin(holder: holder())
        #expect(try await commit(writer, seed: 1).number == 1)
    }

    @Test("what a capture that may still run builds on is kept by every prune")
    func pins() async throws {
        let fixture = try await RepositoryFixture(store)
        for seed in UInt64(1)...3 { _ = try await commit(try await fixture.repository.begin(), seed: seed) }
        _ = try await fixture.repository.begin(holder: holder())
        _ = try await commit(try await fixture.repository.begin(), seed: 4)
        let prune = Prune(
            fixture.repository, retention: Retention(keep: Policy.Keep(last: 1), zone: .gmt), history: nil, grace: .zero
        )
        let plan = try await prune.plan(now: RepositoryFixture.created + 3600)
        #expect(plan.backups == [1, 2])
        let kept = try #require(plan.decisions.first { $0.backup.number == 3 })
        #expect(kept.reasons == [.leased])
    }
}
