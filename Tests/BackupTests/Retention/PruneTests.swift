import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite struct PruneTests {
    @Test("a first run marks, and a later one deletes: older backups go, the others stay whole")
    func twoPhases() async throws {
        let world = try await PruneFixture()
        for own in UInt64(2)...5 { try await world.backUp(1, own) }
        let first = try await world.prune()
        // The pack of backup 1 holds chunk 1, which all need.
        #expect(first.marked?.backups == [1, 2] && first.marked?.packs == 1 && first.removed == nil)
        #expect(try await world.numbers == [1, 2, 3, 4])
        world.pass(23.9)
        let early = try await world.prune()
        #expect(early.removed == nil && early.marked == nil && early.waiting.map(\.number) == [1])
        #expect(try await world.numbers == [1, 2, 3, 4])
        world.pass(0.1)
        let second = try await world.prune()
        #expect(second.removed?.backups == [1, 2] && second.removed?.packs == 1 && second.removed?.spared == 0)
        #expect(try await world.numbers == [3, 4])
        #expect(world.keys("marks").isEmpty && world.keys("packs").count == 3)
        #expect(try await world.garbage() == 0)
        #expect(try await world.fixture.verify().isWhole)
        #expect(try await world.prune().marked == nil)
        #expect(try await world.backUp(1, 9).number == 5)
        #expect(try await world.fixture.verify().isWhole)
    }

    @Test("without rules no backup is marked, whatever there is")
    func noRules() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...30 { try await world.backUp(own) }
        #expect(try await world.prune(keep: nil).marked == nil)
        #expect(try await world.prune(keep: Policy.Keep()).marked == nil)
    }

    @Test("a prune that dies at any change leaves all whole, backups go on, and the next run finishes")
    func dies() async throws {
        let world = try await PruneFixture()
        for own in UInt64(2)...6 { try await world.backUp(1, own) }
        try await world.joinIndexes()
        var deaths = 0
        for phase in ["mark", "delete"] {
            for changes in 0... {
                let copy = world.copy()
                var isDead = false
                do { _ = try await copy.prune(in: MortalStore(copy.store, changes: changes)) } catch is StoreError {
                    isDead = true
                }
                guard isDead else { break }
                deaths += 1
                let report = try await copy.fixture.verify()
                #expect(report.isWhole, "\(phase), \(changes) changes: \(report.problems)")
                #expect(try await copy.numbers.suffix(2) == [4, 5])
                try await expectEnd(copy, "\(phase), \(changes) changes")
            }
            _ = try await world.prune()
            world.pass(25)
        }
        Swift.print("prune was killed \(deaths) times")
        // Probe (2), tombstones (3), manifests (3), an index for another, packs (2), the mark; the probe and the mark before.
        #expect(deaths == 3 + 13)
    }

    /// A backup that needs again what is marked, then all of prune: nothing is missing, nothing is left over.
    private func expectEnd(_ world: PruneFixture, _ place: Comment) async throws {
        #expect(try await world.backUp(1, 3, 7).number == 6)
        #expect(try await world.fixture.verify().isWhole, place)
        for _ in 0..<3 {
            _ = try await world.prune()
            world.pass(25)
        }
        #expect(try await world.numbers == [5, 6], place)
        #expect(try await world.garbage() == 0, place)
        #expect(world.keys("marks").isEmpty, place)
        #expect(world.keys("tombstones").map(\.name).compactMap { Int($0) } == [1, 2, 3, 4], place)
        let report = try await world.fixture.verify()
        #expect(report.isWhole, "\(place): \(report.problems)")
        #expect(report.chunksRead == 4, place)
    }

    @Test("a backup does not build on what is marked: it stores that again")
    func marked() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...3 { try await world.backUp(own) }
        _ = try await world.prune(keep: Policy.Keep(last: 1))
        #expect(try await world.backUp(1, 3).counters.newChunks == 1)
        #expect(try await world.fixture.verify().isWhole)
        world.pass(25)
        let removed = try await world.prune(keep: Policy.Keep(last: 1)).removed
        #expect(removed?.backups == [1, 2] && removed?.packs == 2 && removed?.spared == 0)
        #expect(try await world.fixture.verify().isWhole)
    }

    @Test("a backup that began before the mark is not committed once what it builds on is marked, or gone")
    func beside() async throws {
        for isGone in [false, true] {
            let world = try await PruneFixture()
            for own in UInt64(1)...3 { try await world.backUp(own) }
            let chunks = [RepositoryFixture.chunk(records: 4, of: 200, seed: 1)]
            let writer = try await world.fixture.repository.begin()
            let ids = try await OwnThread.run("test") { try chunks.map { try writer.store($0) } }
            #expect(writer.counters.newChunks == 0)
            _ = try await world.prune(keep: Policy.Keep(last: 1))
            if isGone {
                world.pass(25)
                _ = try await world.prune(keep: Policy.Keep(last: 1))
            }
            let date = RepositoryFixture.created
            let error = await #expect(throws: RepositoryError.self) {
                _ = try await writer.commit(
                    mongo: RepositoryFixture.mongo(ids, chunks), redis: nil, started: date, finished: date,
                    instant: date)
            }
            #expect(error?.reason == .aborted && error?.message.contains("prune") == true)
            #expect(try await world.backUp(1).counters.newChunks == 1)
            #expect(try await world.fixture.verify().isWhole)
        }
    }

    @Test("a backup that is committed while prune deletes stops it before a pack goes")
    func committedBeside() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...3 { try await world.backUp(own) }
        _ = try await world.prune(keep: Policy.Keep(last: 1))
        world.pass(25)
        let packs = world.keys("packs")
        let error = await #expect(throws: RepositoryError.self) {
            _ = try await world.prune(
                keep: Policy.Keep(last: 1),
                mayDelete: { if try await world.numbers == [2, 3] { try await world.backUp(8) } })
        }
        #expect(error?.reason == .overtaken)
        #expect(Set(packs).isSubset(of: world.keys("packs")))
        _ = try await world.prune(keep: Policy.Keep(last: 1))
        #expect(try await world.fixture.verify().isWhole)
        #expect(try await world.numbers == [3, 4])
    }

    @Test("rules that keep more than when it was marked spare the backup and its packs")
    func spared() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...3 { try await world.backUp(own) }
        _ = try await world.prune(keep: Policy.Keep(last: 1))
        world.pass(25)
        let removed = try await world.prune(keep: Policy.Keep(last: 2)).removed
        #expect(removed == PruneReport.Removed(backups: [1], packs: 1, bytes: removed?.bytes ?? 0, logs: 0, spared: 1))
        #expect(world.keys("marks").isEmpty)
        #expect(try await world.numbers == [2, 3])
        #expect(try await world.fixture.verify().isWhole)
    }

    @Test("packs of an interrupted backup go, but not before they have the age of the grace")
    func orphans() async throws {
        let world = try await PruneFixture()
        try await world.backUp(1)
        await #expect(throws: StoreError.self) {
            try await world.fixture.backUp(
                [RepositoryFixture.chunk(records: 4, of: 200, seed: 2)],
                to: FaultyStore(world.store, puts: 1, then: .full))
        }
        #expect(try await world.prune().marked == nil)
        world.pass(25)
        #expect(try await world.prune().marked?.packs == 1)
        world.pass(25)
        #expect(try await world.prune().removed?.packs == 1)
        #expect(try await world.garbage() == 0)
        #expect(try await world.fixture.verify().isWhole)
    }

    @Test("a backup that lacks a pack takes no place from one that is whole")
    func notWhole() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...3 {
            let before = Set(world.keys("packs"))
            try await world.backUp(own)
            if own == 3 { for pack in world.keys("packs") where !before.contains(pack) { world.store[pack] = nil } }
        }
        let report = try await world.prune(keep: Policy.Keep(last: 1))
        #expect(report.marked?.backups == [1] && report.newestGood == 2)
    }

    // MARK: What stops it

    @Test("clocks that differ by more than five minutes stop it, and a hold at any moment")
    func stopped() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...4 { try await world.backUp(own) }
        let before = world.store.keys
        for difference in [-301.0, 301] {
            let error = await #expect(throws: PruneError.self) {
                _ = try await world.prune(clock: world.store.now + difference)
            }
            #expect(error?.code == .clocksDiffer)
        }
        #expect(world.store.keys == before)
        _ = try await world.prune(clock: world.store.now + 299)
        world.pass(25)
        try await world.fixture.repository.setHold(reason: "an audit", at: world.store.now)
        #expect(try await world.fixture.repository.hold()?.reason == "an audit")
        let held = world.store.keys
        await #expect(throws: PruneError.self) {
            _ = try await world.prune(mayDelete: {
                if try await world.fixture.repository.isHeld() { throw PruneError(.noClock, "acme") }
            })
        }
        #expect(world.store.keys == held)
        #expect(try await world.fixture.verify().isWhole)
        try await world.fixture.repository.releaseHold()
        #expect(try await world.fixture.repository.hold() == nil)
        #expect(try await world.prune().removed?.backups == [1, 2])
    }

    @Test("a manifest that cannot be read stops it: what that backup needs is not known")
    func unreadable() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...4 { try await world.backUp(own) }
        _ = try await world.prune()
        world.pass(25)
        let key = try #require(world.keys("backups").first)
        world.store[key] = Array(repeating: 7, count: 100)
        let before = world.store.keys
        await #expect(throws: RepositoryError.self) { _ = try await world.prune() }
        #expect(world.store.keys == before)
    }

    @Test("a damaged mark deletes nothing, stops no backup, and is swept")
    func damagedMark() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...4 { try await world.backUp(own) }
        _ = try await world.prune()
        let mark = try #require(world.keys("marks").first)
        world.store[mark]?[40] ^= 1
        #expect(try await world.fixture.verify().problems.map(\.subject) == [mark.text])
        #expect(try await world.backUp(1, 5).counters.newChunks == 1)
        world.pass(25)
        let next = try await world.prune()
        #expect(next.removed == nil && next.marked?.backups == [1, 2, 3])
        #expect(try await world.fixture.verify().isWhole)
    }

    @Test("nothing expires without a new backup since backups were last marked")
    func noNewBackup() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...4 { try await world.backUp(own) }
        let history = PruneHistory(newest: 4, keep: Policy.Keep(last: 2))
        let report = try await world.prune(history: history)
        #expect(report.marked == nil && report.blocked?.contains("4") == true)
        try await world.backUp(5)
        #expect(try await world.prune(history: history).marked?.backups == [1, 2, 3])
    }

    @Test(
        "more than half, more than ten, or a policy that shrank wants the client's name; without it nothing is marked")
    func confirmation() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...24 { try await world.backUp(own) }
        func wants(_ last: Int, _ history: PruneHistory? = nil) async throws -> [String] {
            let report = try await world.prune(
                keep: Policy.Keep(last: last), history: history, isConfirmed: false)
            #expect((report.marked == nil) == !report.unconfirmed.isEmpty)
            for mark in world.keys("marks") { world.store[mark] = nil }
            return report.unconfirmed
        }
        #expect(try await wants(14) == [])
        #expect(try await wants(13) == ["it drops 11 backups at once"])
        #expect(try await wants(11).count == 2)
        let shrunk = try await wants(20, PruneHistory(newest: 1, keep: Policy.Keep(last: 21)))
        #expect(shrunk == ["the policy keeps less than at the last prune: last 21 to 20"])
        #expect(try await wants(20, PruneHistory(newest: 1, keep: Policy.Keep(last: 20))) == [])
        #expect(try await world.prune(keep: Policy.Keep(last: 11)).marked?.backups.count == 13)
    }

    @Test("a policy shrinks when a rule has fewer places, is gone, or when there was none before")
    func shrunk() {
        func shrunk(_ old: Policy.Keep?, _ new: Policy.Keep?) -> Bool { PruneRules.shrunk(from: old, to: new) != nil }
        #expect(shrunk(nil, Policy.Keep(last: 9)) && shrunk(Policy.Keep(), Policy.Keep(last: 9)))
        #expect(shrunk(Policy.Keep(daily: 7, weekly: 4), Policy.Keep(daily: 30)))
        #expect(shrunk(Policy.Keep(daily: 7), Policy.Keep(daily: 6)))
        #expect(!shrunk(Policy.Keep(daily: 7), Policy.Keep(daily: 7, weekly: 1)))
        #expect(
            !shrunk(Policy.Keep(daily: 7), nil) && !shrunk(nil, nil) && !shrunk(Policy.Keep(last: 1), Policy.Keep()))
    }

    // MARK: What verify tells

    @Test("verify tells a pruned backup from a lost one")
    func lost() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...5 { try await world.backUp(own) }
        _ = try await world.prune()
        world.pass(25)
        _ = try await world.prune()
        #expect(try await world.fixture.verify().isWhole)
        for name in ["tombstones/0000000002", "tombstones/0000000003", "backups/0000000004"] {
            let key = try #require(world.store.keys.first { $0.text.hasSuffix(name) })
            let bytes = world.store[key]
            world.store[key] = nil
            let problems = try await world.fixture.verify().problems
            #expect(problems.count == 1 && problems[0].text.contains("missing"), "\(name): \(problems)")
            world.store[key] = bytes
        }
        // A tombstone under another backup's number.
        let key = try #require(world.store.keys.first { $0.text.hasSuffix("tombstones/0000000003") })
        let other = try #require(world.store.keys.first { $0.text.hasSuffix("tombstones/0000000002") })
        world.store[key] = world.store[other]
        #expect(try await !world.fixture.verify().isWhole)
    }

    @Test("every byte that is flipped in a mark, a tombstone or a hold is found")
    func flipped() async throws {
        let world = try await PruneFixture()
        for own in UInt64(1)...3 { try await world.backUp(own) }
        _ = try await world.prune()
        world.pass(25)
        _ = try await world.prune()
        try await world.backUp(9)
        _ = try await world.prune()
        try await world.fixture.repository.setHold(reason: "an audit", at: world.store.now)
        #expect(try await world.fixture.verify().isWhole)
        let keys = world.keys("marks") + world.keys("tombstones") + world.store.keys.filter { $0.name == "hold" }
        #expect(keys.count == 3)
        for key in keys {
            let bytes = try #require(world.store[key])
            for position in bytes.indices {
                world.store[key]?[position] ^= 1
                let isWhole = try await world.fixture.verify(readData: false).isWhole
                #expect(!isWhole, "\(key) at \(position)")
                world.store[key] = bytes
            }
            #expect(!String(decoding: bytes, as: UTF8.self).contains("audit"))
        }
    }
}
