import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite("Shipping bundles")
struct BundleShipperTests {
    @Test("every store of every policy gets one, once, until something has happened")
    func once() async throws {
        let fixture = try await BundleFixture()
        #expect(try await fixture.keys.make(try fixture.fleet().clients[0]))
        let first = await fixture.ship()
        #expect(first.stored.map(\.key.text).sorted() == ["attic", "vault"] && first.problems.isEmpty)
        #expect(first.lacks.isEmpty)
        let second = await fixture.ship()
        #expect(second.stored.isEmpty && second.unchanged.map(\.text).sorted() == ["attic", "vault"])
        // A secret that was changed is something, too.
        try fixture.write("old/redis.uri", "redis://:another@127.0.0.1:1")
        #expect(await fixture.ship().stored.values.sorted() == [2, 2])
        try await fixture.journal.append(event: "backup.finished")
        #expect(await fixture.ship().stored.values.sorted() == [3, 3])
        #expect(await fixture.ship().stored.isEmpty)
        // One that somebody took away is made again.
        fixture.vault[BundleShelf.key(3)] = nil
        #expect(await fixture.ship().stored == [StoreName(unchecked: "vault"): 4])
    }

    @Test("a store that cannot be reached fails alone, is remembered, and gets the next one")
    func broken() async throws {
        let fixture = try await BundleFixture()
        let report = await fixture.ship(broken: "attic")
        #expect(report.stored.map(\.key.text) == ["vault"] && report.problems.map(\.store?.text) == ["attic"])
        let attic = try await fixture.journal.bundleState(in: StoreName(unchecked: "attic"))
        #expect(attic.entry == nil && attic.failure?.contains("it is broken") == true)
        #expect(await fixture.ship().stored == [StoreName(unchecked: "attic"): 1])
        #expect(try await fixture.journal.bundleState(in: StoreName(unchecked: "attic")).failure == nil)
    }

    @Test("a store that had bundles and is empty now, as a disk that is not mounted, gets none, and that is told")
    func unmounted() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        for key in fixture.vault.keys { fixture.vault[key] = nil }
        try await fixture.journal.append(event: "backup.finished")
        let report = await fixture.ship()
        #expect(report.problems.map(\.store?.text) == ["vault"] && report.stored.map(\.key.text) == ["attic"])
        #expect(fixture.vault.keys.isEmpty)
        // With a repository in it, it is the store again.
        #expect(try await fixture.keys.make(try fixture.fleet().clients[0]))
        #expect(await fixture.ship().stored.count == 2)
    }

    @Test("a secret that cannot be read is named, and does not keep the rest from being shipped")
    func lacks() async throws {
        let fixture = try await BundleFixture()
        #expect(await fixture.ship().lacks.isEmpty)
        try FileManager.default.removeItem(atPath: fixture.folder.path("old/redis.uri"))
        let report = await fixture.ship()
        #expect(report.lacks.count == 1 && report.lacks[0].contains("redis.uri"))
        #expect(report.stored.count == 2)
        #expect(try await fixture.journal.newestWholeBundle(in: StoreName(unchecked: "vault")) == 1)
    }

    @Test("a fleet file with an error fails whole, and says so in the journal")
    func wrongFleet() async throws {
        let fixture = try await BundleFixture()
        try fixture.write("old/fleet.yaml", "fleet: x\n")
        let report = await fixture.ship()
        #expect(report.stored.isEmpty && report.problems.count == 1 && report.problems[0].store == nil)
        #expect(try await fixture.journal.bundleState(in: StoreName(unchecked: "vault")).failure != nil)
    }

    @Test("no secret and no copy of the journal is left in any file")
    func nothingLeft() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        #expect(fixture.files("old").filter { $0.contains("bundle") }.isEmpty)
        let canary = Data("canary-of-a-secret".utf8)
        for name in fixture.files("old") where name != "redis.uri" {
            let bytes = FileManager.default.contents(atPath: fixture.folder.path("old/\(name)")) ?? Data()
            #expect(bytes.range(of: canary) == nil, "\(name)")
        }
        for key in fixture.vault.keys { #expect(Data(fixture.vault[key] ?? []).range(of: canary) == nil) }
    }

    @Test("the newest ten stay, and of each of 30 days the last")
    func retention() {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        // Four a day, for 50 days.
        let numbers = Array(1...200)
        let written = Dictionary(
            uniqueKeysWithValues: numbers.map { ($0, now - TimeInterval(200 - $0) * 21_600) })
        let gone = Set(BundleShelf.superfluous(numbers, written: written, now: now))
        let kept = numbers.filter { !gone.contains($0) }
        #expect(kept.suffix(10) == numbers.suffix(10))
        let days = kept.dropLast(10).map { Int((written[$0] ?? now).timeIntervalSince1970 / 86_400) }
        #expect(Set(days).count == days.count && days.count >= 27 && days.count <= 31, "\(days)")
        #expect(kept.allSatisfy { now.timeIntervalSince(written[$0] ?? now) < 32 * 86_400 })
        // What the store tells no time of is never removed.
        #expect(BundleShelf.superfluous(numbers, written: [:], now: now).isEmpty)
        #expect(BundleShelf.superfluous([1, 2, 3], written: [1: .distantPast], now: now).isEmpty)
    }

    @Test("old bundles go, but not while a client is held, and not the last one that lacked nothing")
    func tidies() async throws {
        let fixture = try await BundleFixture()
        _ = await fixture.ship()
        try FileManager.default.removeItem(atPath: fixture.folder.path("old/redis.uri"))
        try await fixture.journal.setHold(of: ClientID(unchecked: "acme"), reason: "audit")
        for _ in 1...14 {
            try await fixture.journal.append(event: "backup.finished")
            _ = await fixture.ship()
        }
        let shelf = BundleShelf(store: fixture.vault)
        #expect(try await shelf.numbers() == Array(1...15))
        try await fixture.journal.releaseHold(of: ClientID(unchecked: "acme"))
        // By the store's clock alone.
        for store in fixture.stores.values { store.now += 90 * 86_400 }
        _ = await fixture.ship()
        #expect(try await shelf.numbers() == [1] + Array(7...16))
    }
}
