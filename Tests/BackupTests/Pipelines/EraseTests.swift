import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Backup

@Suite("Erasing a client")
struct EraseTests {
    private static let acme = ClientID(unchecked: "acme")

    private func job(_ fixture: BundleFixture, _ open: StoreOpener? = nil, _ journal: Journal? = nil) throws -> EraseJob
    {
        EraseJob(
            fleet: try fixture.fleet(), journal: journal ?? fixture.journal, clock: fixture.clock,
            open: open ?? fixture.open())
    }

    private func replacing(_ fixture: BundleFixture, _ name: String, by store: any ObjectStore) -> StoreOpener {
        { settings in
            if settings.name.text == name { return store }
            return fixture.store(settings.name.text)
        }
    }

    private func keys(_ fixture: BundleFixture, _ machine: String = "old") throws -> WriterKeys {
        try WriterKeys.read(of: Self.acme, state: fixture.folder.path("\(machine)/state"))
    }

    /// Keys, and a backup in both stores.
    private func fixture() async throws -> BundleFixture {
        let fixture = try await BundleFixture()
        #expect(try await fixture.keys.make(try fixture.fleet().clients[0]))
        for name in ["vault", "attic"] {
            let writer = try await Repository(store: fixture.store(name), keys: try keys(fixture)).begin()
            let chunk = RepositoryFixture.chunk(records: 3, of: 400, seed: 1)
            let id = try await OwnThread.run("test") { try writer.store(chunk) }
            let now = fixture.clock.now
            _ = try await writer.commit(
                mongo: RepositoryFixture.mongo([id], [chunk]), redis: nil, started: now, finished: now, instant: now)
        }
        let rebuild = CatalogRebuild(fleet: try fixture.fleet(), journal: fixture.journal, open: fixture.open())
        _ = try await rebuild.run(try fixture.fleet().clients[0])
        return fixture
    }

    /// What is there of the client, but its tombstone.
    private func left(_ store: MemoryStore, _ client: UUID) -> [ObjectKey] {
        let layout = RepositoryLayout(client: client)
        return store.keys.filter { $0.parts[0] == layout.root.text && $0 != layout.erased }
    }

    @Test("in every store all of it goes but a tombstone, the writer's keys too; the receipt counts it and stays")
    func everything() async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        let planned = try await job(fixture).plan(Self.acme)
        #expect(planned.stores.map(\.wraps) == [2, 2, 0] && planned.problems.isEmpty && planned.begun == nil)
        #expect(!left(fixture.vault, keys.client).isEmpty, "a plan changes nothing")
        let (receipt, problems) = try await job(fixture).run(Self.acme)
        #expect(problems.isEmpty && receipt.isComplete && !receipt.isReadable && receipt.goneBy == nil)
        #expect(receipt.stores.map(\.wraps) == [2, 2, 0])
        #expect(receipt.stores[0].objects == planned.stores[0].objects - 2)
        for name in ["vault", "attic"] {
            #expect(left(fixture.store(name), keys.client).isEmpty)
            #expect(try await Repository(unchecked: fixture.store(name), keys: keys).erasure()?.at == receipt.begun)
        }
        #expect(!FileManager.default.fileExists(atPath: fixture.folder.path("old/state/keys/acme")))
        let kept = try #require(try await fixture.journal.erasure(of: Self.acme)?.receipt)
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        #expect(try decoder.decode(EraseReceipt.self, from: Data(try kept.json().utf8)) == receipt)
        // With an identity alone, too.
        let error = await #expect(throws: RepositoryError.self) {
            try await Repository.open(store: fixture.vault, client: keys.client, identity: fixture.identity)
        }
        #expect(error?.code == .clientErased)
        // Another run finds nothing to do.
        let again = try await job(fixture).run(Self.acme).receipt
        #expect(again.stores.allSatisfy { $0.wraps == 0 && $0.objects == 0 } && again.isComplete)
        #expect(again.begun == receipt.begun)
    }

    @Test("nothing goes on with it: no backup, no keys, no catalog, no copy")
    func refused() async throws {
        let fixture = try await fixture()
        _ = try await job(fixture).run(Self.acme)
        let fleet = try fixture.fleet()
        let client = fleet.clients[0]
        let backup = BackupJob(
            fleet: fleet, journal: fixture.journal, clock: fixture.clock, resolver: SecretResolver(environment: [:]),
            open: fixture.open())
        await #expect(throws: ClientErasedError.self) { try await backup.run(client) }
        await #expect(throws: ClientErasedError.self) { try await fixture.keys.make(client) }
        await #expect(throws: ClientErasedError.self) { try await fixture.keys.rotate(client) }
        await #expect(throws: ClientErasedError.self) {
            try await CatalogRebuild(fleet: fleet, journal: fixture.journal, open: fixture.open()).run(client)
        }
        await #expect(throws: ClientErasedError.self) {
            try await StoreSync(fleet: fleet, journal: fixture.journal, clock: fixture.clock, open: fixture.open()).run(
                client)
        }
        let entries = try await fixture.journal.backups(client: Self.acme)
        #expect(entries.count == 2 && entries.allSatisfy { $0.missing != nil })
    }

    @Test("a client that is held, in the journal or in one store alone, is refused and stays as it is")
    func held() async throws {
        let fixture = try await fixture()
        let before = fixture.vault.keys
        try await fixture.journal.setHold(of: Self.acme, reason: "audit")
        for _ in 0..<2 {
            let error = await #expect(throws: PruneError.self) { try await job(fixture).run(Self.acme) }
            #expect(error?.code == .held && error?.message.contains("audit") == true)
            await #expect(throws: PruneError.self) { try await job(fixture).plan(Self.acme) }
            #expect(try await fixture.journal.erasure(of: Self.acme) == nil)
            #expect(left(fixture.vault, try keys(fixture).client) == before)
            if try await fixture.journal.hold(of: Self.acme) != nil {
                try await fixture.journal.releaseHold(of: Self.acme)
            }
            try await Repository(unchecked: fixture.store("attic"), keys: try keys(fixture)).setHold(
                reason: "audit", at: fixture.clock.now)
        }
    }

    @Test("a hold that comes while it works stops it there")
    func heldMeanwhile() async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        let layout = RepositoryLayout(client: keys.client)
        for number in UInt8(1)...60 { fixture.store("attic")[layout.pack(ContentHash(hashing: [number]))] = [1] }
        let holding = HoldingStore(fixture.store("attic"), at: 3) {
            try? await fixture.journal.setHold(of: Self.acme, reason: "stop")
        }
        await #expect(throws: PruneError.self) {
            try await job(fixture, replacing(fixture, "attic", by: holding)).run(Self.acme)
        }
        #expect(left(fixture.store("attic"), keys.client).count > 10)
    }

    @Test("what a lock keeps has a date, which the receipt tells; the rest is gone")
    func locked() async throws {
        let fixture = try await fixture()
        let layout = RepositoryLayout(client: try keys(fixture).client)
        let until = fixture.clock.now + 30 * 86_400
        let wraps = try await fixture.vault.list(layout.wraps).map(\.key)
        fixture.vault.now = fixture.clock.now
        try await fixture.vault.lock(wraps[0], ObjectLock(mode: .compliance, until: until))
        try await fixture.vault.lock(layout.card, ObjectLock(mode: .compliance, until: until + 60))
        let planned = try await job(fixture).plan(Self.acme)
        #expect(planned.stores[0].lockedWraps == 1 && planned.stores[0].wrapsUntil == until)
        let receipt = try await job(fixture).run(Self.acme).receipt
        let vault = receipt.stores[0]
        #expect(vault.wraps == 1 && vault.lockedWraps == 1 && vault.wrapsUntil == until)
        #expect(vault.lockedObjects == 1 && vault.objectsUntil == until + 60)
        #expect(receipt.isReadable && receipt.readableUntil == until && receipt.goneBy == until + 60)
        #expect(!receipt.isComplete && receipt.stores[1].lockedWraps == 0)
    }

    @Test("killed after any change and run again, it ends as if it had never been", arguments: 0...8)
    func killed(after changes: Int) async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        let dying = MortalStore(fixture.vault, changes: changes)
        let first = try await job(fixture, replacing(fixture, "vault", by: dying)).run(Self.acme)
        if first.problems.isEmpty {
            #expect(left(fixture.vault, keys.client).isEmpty)
        } else {
            // The keys stay, to go on with, and nothing is backed up any more.
            #expect(first.receipt.unasked.map { $0.text } == ["vault"] && first.receipt.isReadable)
            #expect(try self.keys(fixture).client == keys.client)
            await #expect(throws: ClientErasedError.self) { try await fixture.journal.requireNotErased(Self.acme) }
        }
        let (receipt, problems) = try await job(fixture).run(Self.acme)
        #expect(problems.isEmpty && receipt.isComplete)
        for store in fixture.stores.values { #expect(left(store, keys.client).isEmpty) }
        #expect(!FileManager.default.fileExists(atPath: fixture.folder.path("old/state/keys/acme")))
    }

    @Test("another machine, whose journal knows nothing, does not copy it back from a store that was away")
    func syncedBack() async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        try FileManager.default.createDirectory(
            atPath: fixture.folder.path("other/state/keys"), withIntermediateDirectories: true)
        try keys.write(to: fixture.folder.path("other/state/keys/acme"))
        let journal = try await Journal.open(folder: fixture.folder.path("other/state"), clock: fixture.clock)
        var fleet = try fixture.fleet()
        fleet.state = fixture.folder.path("other/state")
        let (receipt, problems) = try await job(fixture, fixture.open(broken: "attic")).run(Self.acme)
        #expect(problems.map { $0.store.text } == ["attic"] && receipt.isReadable && !receipt.isComplete)

        let client = fleet.clients[0]
        let sync = StoreSync(fleet: fleet, journal: journal, clock: fixture.clock, open: fixture.open())
        let outcomes = try await sync.run(client)
        #expect(outcomes.count == 2)
        for outcome in outcomes {
            let error = #expect(throws: RepositoryError.self) { try outcome.result.get() }
            #expect(error?.code == .clientErased)
        }
        #expect(left(fixture.vault, keys.client).isEmpty)
        let found = try await CatalogRebuild(fleet: fleet, journal: journal, open: fixture.open()).run(client)
        let vault = try #require(found.first { $0.store.text == "vault" })
        #expect(throws: RepositoryError.self) { try vault.outcome.get() }
        let backup = BackupJob(
            fleet: fleet, journal: journal, clock: fixture.clock, resolver: SecretResolver(environment: [:]),
            open: fixture.open())
        let error = await #expect(throws: RepositoryError.self) { try await backup.run(client) }
        #expect(error?.reason == .erased)

        #expect(try await job(fixture).run(Self.acme).receipt.isComplete)
        #expect(left(fixture.store("attic"), keys.client).isEmpty)
    }

    @Test("a bundle that was made before does not bring its keys back, from whichever store")
    func bootstrapped() async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        _ = await fixture.ship()
        _ = try await job(fixture).run(Self.acme)
        for name in ["vault", "attic"] {
            let report = try #require(try await fixture.bootstrap(fixture.store(name), to: "new-\(name)"))
            #expect(report.erased == [Self.acme] && report.index.keys.count == 1 && report.catalog.isEmpty)
            #expect(!FileManager.default.fileExists(atPath: fixture.folder.path("new-\(name)/state/keys/acme")))
            let journal = try await Journal.open(
                folder: fixture.folder.path("new-\(name)/state"), clock: fixture.clock)
            await #expect(throws: ClientErasedError.self) { try await journal.requireNotErased(Self.acme) }
        }
        // And one that was made after has none.
        _ = await fixture.ship()
        #expect(try await fixture.bootstrap(to: "later")?.index.keys.isEmpty == true)
        #expect(!fixture.vault.keys.contains { $0.text.hasPrefix(keys.client.uuidString.lowercased() + "/keys") })
    }

    @Test("a tombstone that somebody made who has the store alone is not believed")
    func forged() async throws {
        let fixture = try await fixture()
        let keys = try keys(fixture)
        _ = await fixture.ship()
        let stranger = RootKey.generate(client: keys.client, name: Self.acme)
        fixture.vault[RepositoryLayout(client: keys.client).erased] =
            try Erasure(keys: stranger.writerKeys(), at: fixture.clock.now).encoded()
        let report = try #require(try await fixture.bootstrap())
        #expect(report.erased.isEmpty && !report.problems.isEmpty)
        #expect(try self.keys(fixture, "new").client == keys.client)
        _ = try await Repository(store: fixture.vault, keys: keys)
    }

    @Test(
        "a client without keys that was never erased is an error, and one whose store another machine writes to waits")
    func others() async throws {
        let fixture = try await BundleFixture()
        await #expect(throws: WriterKeysError.self) { try await job(fixture).run(Self.acme) }
        #expect(try await fixture.journal.erasure(of: Self.acme) == nil)
        #expect(try await fixture.keys.make(try fixture.fleet().clients[0]))
        let repository = Repository(unchecked: fixture.store("attic"), keys: try keys(fixture))
        try await repository.putLease(SeveralStores.holder(), number: 1)
        let error = await #expect(throws: RepositoryError.self) { try await job(fixture).run(Self.acme) }
        #expect(error?.reason == .leased)
        #expect(try await fixture.journal.erasure(of: Self.acme) == nil)
    }

    @Test(
        "in a bucket with locks every version of a key goes or has its date; when that has come, another run takes the rest",
        .enabled(if: S3Bucket.endpoint != nil, "DRP_TEST_S3 is set by script/test"))
    func bucket() async throws {
        let fixture = try await BundleFixture()
        let bucket = try await S3Bucket(locks: true)
        let clock = SystemClock()
        let until = Date(timeIntervalSince1970: (clock.now.timeIntervalSince1970 + 60).rounded())
        let locking = bucket.store().locking(ObjectLock(mode: .compliance, until: until))
        let open = replacing(fixture, "vault", by: locking)
        let made = ClientKeys(fleet: try fixture.fleet(), journal: fixture.journal, clock: clock, open: open)
        #expect(try await made.make(try fixture.fleet().clients[0]))
        let keys = try keys(fixture)
        let layout = RepositoryLayout(client: keys.client)
        // Somebody put another version over a wrap: none of them may stay.
        let wrap = try await locking.list(layout.wraps)[0].key
        let bytes = try await locking.read(wrap)
        try await bucket.store().put(wrap, bytes, .replace)
        let erase = EraseJob(fleet: try fixture.fleet(), journal: fixture.journal, clock: clock, open: open)
        let receipt = try await erase.run(Self.acme).receipt
        let vault = receipt.stores[0]
        #expect(vault.lockedWraps == 2 && vault.wraps == 0 && vault.wrapsUntil == until)
        #expect(vault.lockedObjects >= 1 && receipt.readableUntil == until && receipt.isReadable)
        #expect(try await locking.list(layout.root).map(\.key) == [layout.erased])
        let kept = try await bucket.hand.versions(prefix: layout.wraps.text).filter { !$0.isMarker }
        #expect(kept.count == 2, "what was not locked is gone, with its versions")
        // Until the gateway's own clock has passed the date.
        var last = receipt
        while !last.isComplete && clock.now < until + 120 { last = try await erase.run(Self.acme).receipt }
        #expect(last.isComplete)
        #expect(try await bucket.hand.versions(prefix: layout.root.text).map(\.key) == [layout.erased])
    }
}

/// Calls something at its n-th deletion.
private final class HoldingStore: ObjectStore {
    private let base: MemoryStore
    private let count = Counter()
    private let turn: Int
    private let then: @Sendable () async -> Void

    private actor Counter {
        private var count = 0
        func next() -> Int {
            count += 1
            return count
        }
    }

    init(_ base: MemoryStore, at turn: Int, then: @escaping @Sendable () async -> Void) {
        self.base = base
        self.turn = turn
        self.then = then
    }

    func delete(_ key: ObjectKey) async throws(StoreError) -> Deletion {
        if await count.next() == turn { await then() }
        return try await base.delete(key)
    }

    func put(_ key: ObjectKey, _ bytes: [UInt8], _ rule: WriteRule) async throws(StoreError) {
        try await base.put(key, bytes, rule)
    }
    func read(_ key: ObjectKey) async throws(StoreError) -> [UInt8] { try await base.read(key) }
    func read(_ key: ObjectKey, range: Range<Int64>) async throws(StoreError) -> [UInt8] {
        try await base.read(key, range: range)
    }
    func list(_ folder: ObjectKey) async throws(StoreError) -> [StoredObject] { try await base.list(folder) }
    func folders() async throws(StoreError) -> [String] { try await base.folders() }
    func size(_ key: ObjectKey) async throws(StoreError) -> Int64? { try await base.size(key) }
}
