import DRPKit
import Foundation
import Testing

@Suite(
    "A journal that was lost", .serialized, .needsServices,
    .world(DemoWorld.Options(clients: ["acme", "birch"], hasAPI: false, hasDNS: false)))
struct CatalogTests {
    private struct Catalog: Decodable {
        struct Row: Decodable {
            struct Change: Decodable {
                var known: [Int]
                var adopted: [Int]
                var missing: [Int]
                var returned: [Int]
            }
            var client: String
            var change: Change
        }
        var catalog: [Row]
        var notInStores: [String]
    }

    @Test("gone altogether: the table comes back from the manifests, once, and numbers go on")
    func lost() async throws {
        let world = try DemoWorld.current
        for client in ["acme", "acme", "birch"] { try await world.backUp(client) }
        let before = try await table(world)
        let list = try await world.drp("backup", "list", "--json").stdout
        try FileManager.default.removeItem(atPath: world.journal)
        #expect(try await world.drp("backup", "list", "--json").stdout == list)

        let plain = try await world.drp("catalog", "rebuild", "--all")
        #expect(plain.status == 0 && plain.stdout.contains("Placements and runs cannot come"), "\(plain.stdout)")
        #expect(try await table(world) == before)
        #expect(try await world.drp("backup", "list", "--json").stdout == list)
        try await expectNothingToDo(world)
        let numbers = try await world.backups().listed
        try await world.backUp()
        #expect(try await world.backups().listed == numbers + [numbers.count + 1])
        #expect(try await world.backups().succeeded == numbers + [numbers.count + 1])
        try await world.expectJournalAtRest()
    }

    @Test("an older copy put back: what it does not know is taken over, and numbers do not go back")
    func olderCopy() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let kept = "\(world.folder)/older.sqlite"
        try FileManager.default.copyItem(atPath: world.journal, toPath: kept)
        try await world.backUp()
        try await world.backUp("birch")
        let before = try await table(world)
        try FileManager.default.removeItem(atPath: world.journal)
        try FileManager.default.moveItem(atPath: kept, toPath: world.journal)
        #expect(try await table(world).count == before.count - 2)

        let answer = try await rebuild(world)
        #expect(answer.catalog.map(\.change.adopted.count) == [1, 1])
        #expect(answer.notInStores.contains("placements"))
        #expect(try await table(world) == before)
        try await expectNothingToDo(world)
        let last = try #require(try await world.backups().listed.last)
        try await world.backUp()
        #expect(try await world.backups().listed.last == last + 1)
    }

    @Test("a backup that the store has lost is marked, not deleted, and loses the mark when it is back")
    func missing() async throws {
        let world = try DemoWorld.current
        try await world.backUp("birch")
        let number = try #require(try await world.backups(of: "birch").listed.last)
        let name = String(number)
        let path =
            "\(try world.repository(of: "birch"))/backups/" + String(repeating: "0", count: 10 - name.count) + name
        let aside = "\(world.folder)/manifest"
        try FileManager.default.moveItem(atPath: path, toPath: aside)
        #expect(try await rebuild(world, "birch").catalog[0].change.missing == [number])
        let mark = "SELECT number FROM backups WHERE client = 'birch' AND missing IS NOT NULL"
        #expect(try await world.sqlite(mark) == [["\(number)"]])
        let events = try await count(of: "events", world)
        #expect(try await rebuild(world, "birch").catalog[0].change.missing == [number])
        #expect(try await count(of: "events", world) == events)

        try FileManager.default.moveItem(atPath: aside, toPath: path)
        #expect(try await rebuild(world, "birch").catalog[0].change.returned == [number])
        #expect(try await world.sqlite(mark).isEmpty)
        try await expectNothingToDo(world)
    }

    @Test("a store that is not there is named, and nothing of it counts as missing")
    func storeGone() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        try world.editFleet("folder: \(world.store)", "folder: \(world.folder)/elsewhere")
        let ended = try await world.drp("catalog", "rebuild", "acme")
        try world.editFleet("folder: \(world.folder)/elsewhere", "folder: \(world.store)")
        expectError(ended, status: 13, code: .storeUnreachable, naming: ["acme", "vault"])
        #expect(try await world.sqlite("SELECT 1 FROM backups WHERE missing IS NOT NULL").isEmpty)
    }

    @Test("killed between manifest and journal: the next backup takes the finished one over, once")
    func killedBeforeTheJournalKnew() async throws {
        let world = try DemoWorld.current
        let before = try await world.backups()
        let ended = try await world.drp(
            "backup", "run", "acme", environment: ["DRP_FAILPOINT": "backup.committed"])
        #expect(ended.status == 137, "\(ended.stderr)")
        let killed = try await world.backups()
        #expect(killed.listed.count == before.listed.count + 1 && killed.open == 1)
        try await world.backUp()
        let after = try await world.backups()
        #expect(after.succeeded == after.listed && after.listed.count == before.listed.count + 2)
        #expect(after.open == 0 && after.failures == before.failures, "the killed try is the adopted backup")
        try await expectNothingToDo(world)
        try await world.expectWhole()
    }

    @Test("killed between manifest and journal: serve takes the finished backup over when it starts")
    func serveAdopts() async throws {
        let world = try DemoWorld.current
        _ = try await world.drp("backup", "run", "birch", environment: ["DRP_FAILPOINT": "backup.committed"])
        #expect(try await world.backups(of: "birch").open == 1)
        let last = try await world.sqlite("SELECT max(id) FROM events")[0][0]
        let serve = try world.start(["serve"])
        while try await world.backups(of: "birch").open > 0 { try #require(serve.isRunning) }
        serve.signal(SIGTERM)
        #expect(try await serve.wait().status == 0)
        let after = try await world.backups(of: "birch")
        #expect(after.succeeded == after.listed)
        let kinds = try await world.sqlite("SELECT kind FROM events WHERE id > \(last) ORDER BY id").map { $0[0] }
        let adopted = try #require(kinds.firstIndex(of: "backup.adopted"))
        #expect(adopted < kinds.firstIndex(of: "job.started") ?? kinds.count, "\(kinds)")
        try await expectNothingToDo(world)
    }

    @Test("killed before the manifest: the try is closed as failed, and nothing is adopted")
    func killedBeforeTheManifest() async throws {
        let world = try DemoWorld.current
        let before = try await world.backups()
        let ended = try await world.drp("backup", "run", "acme", environment: ["DRP_FAILPOINT": "store.flushed"])
        #expect(ended.status == 137, "\(ended.stderr)")
        let answer = try await rebuild(world, "acme")
        #expect(answer.catalog[0].change.adopted.isEmpty)
        let after = try await world.backups()
        #expect(after.open == 0 && after.failures.count == before.failures.count + 1)
        #expect(after.succeeded == before.succeeded)
    }

    /// What the table says of backups, without what only their process knew.
    private func table(_ world: DemoWorld) async throws -> [[String]] {
        try await world.sqlite(
            """
            SELECT client, store, number, started, instant, source_bytes, new_bytes, stored_bytes, outcome, missing
            FROM backups WHERE outcome = 'ok' ORDER BY client, store, number
            """)
    }

    private func rebuild(_ world: DemoWorld, _ client: String? = nil) async throws -> Catalog {
        let ended = try await world.drp(["catalog", "rebuild", client ?? "--all", "--json"])
        #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        return try JSONDecoder().decode(Catalog.self, from: Data(ended.stdout.utf8))
    }

    private func expectNothingToDo(_ world: DemoWorld, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let (rows, events) = (try await table(world), try await count(of: "events", world))
        let changes = try await rebuild(world).catalog.map(\.change)
        let isNothing = changes.allSatisfy { $0.adopted.isEmpty && $0.missing.isEmpty && $0.returned.isEmpty }
        #expect(isNothing, "\(changes)", sourceLocation: sourceLocation)
        #expect(try await table(world) == rows, sourceLocation: sourceLocation)
        #expect(try await count(of: "events", world) == events, sourceLocation: sourceLocation)
    }

    private func count(of table: String, _ world: DemoWorld) async throws -> String {
        try await world.sqlite("SELECT count(*) FROM \(table)")[0][0]
    }
}
