import DRPKit
import Foundation
import Testing

@Suite(
    "Several stores a policy", .serialized, .needsServices,
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false, moreStores: ["attic", "cellar"])))
struct StoreTests {
    private struct List: Decodable {
        struct Row: Decodable {
            struct Summary: Decodable { var number: Int }
            var store: String
            var backup: Summary
        }
        struct Lacking: Decodable {
            var store: String
            var numbers: [Int]
        }
        var backups: [Row]
        var lacking: [Lacking]
    }

    @Test("a backup is the same bytes in every store, and complete")
    func everyStore() async throws {
        let world = try DemoWorld.current
        try await change(world)
        try await world.backUp()
        try await expectLevel(world)
        let number = try await newest(world)
        #expect(try await events(world, "backup.complete").contains(number))
        let list = try await list(world)
        #expect(list.lacking.isEmpty)
        #expect(list.backups.filter { $0.backup.number == number }.map(\.store) == ["vault", "attic", "cellar"])
        let stores = try await world.drp("store", "list")
        #expect(stores.status == 0 && stores.stdout.contains("\(world.folder)/attic"), "\(stores.stdout)")
        #expect(try await world.drp("store", "check").status == 0)
    }

    @Test("one store away: the backup is partial and says so everywhere, until it is synced")
    func oneAway() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        try await change(world)
        try moveAway(world, "cellar")
        let partial = try await world.drp("backup", "run", "acme")
        expectError(
            partial, status: 3, code: .storeUnreachable, naming: ["acme in cellar", "PARTIAL", "vault", "attic"])
        let number = try await newest(world)
        #expect(try await events(world, "backup.partial").last == number)
        expectError(
            try await world.drp("backup", "list", "acme"), status: 3, code: .storeUnreachable, naming: ["cellar"])
        expectError(
            try await world.drp("store", "check", "cellar"), status: 13, code: .storeUnreachable, naming: ["cellar"])
        let stores = try await world.drp("store", "list")
        #expect(stores.status == 0 && stores.stdout.contains("no [E1301]"), "\(stores.stdout)")
        // With the missing store it cannot be levelled; the others have nothing to copy.
        expectError(
            try await world.drp("store", "sync", "acme"), status: 3, code: .storeUnreachable, naming: ["acme in cellar"]
        )

        try moveBack(world, "cellar")
        let list = try await list(world)
        #expect(list.lacking.map(\.store) == ["cellar"] && list.lacking.first?.numbers == [number])
        let check = try await world.drp("check", "acme")
        #expect(check.status == 0 && check.stdout.contains("it lacks \(number)"), "\(check.stdout)")
        let stats = try await world.drp("store", "stats", "acme", "--json")
        #expect(stats.status == 0 && stats.stdout.contains("\"lacking\" : [\n        \(number)"), "\(stats.stdout)")

        let sync = try await world.drp("store", "sync", "acme")
        #expect(sync.status == 0, "\(sync.stdout)\(sync.stderr)")
        try await expectLevel(world)
        #expect(try await events(world, "backup.complete").last == number)
        #expect(try await self.list(world).lacking.isEmpty)
        try await world.expectWhole()
        try await world.expectJournalAtRest()
        #expect(try await world.drp("events", "verify").status == 0)
        // Nothing is left to do, and nothing is told again.
        #expect(try await world.drp("store", "sync", "acme", "--from", "vault", "--to", "cellar").status == 0)
        #expect(try await events(world, "backup.complete").filter { $0 == number }.count == 1)
    }

    @Test("the next backup levels the stores by itself, and no number comes twice whichever store is away")
    func nextRun() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let before = try await newest(world)
        for (index, store) in ["cellar", "vault", "attic"].enumerated() {
            try await change(world)
            try moveAway(world, store)
            let partial = try await world.drp("backup", "run", "acme")
            try moveBack(world, store)
            #expect(partial.status == 3, "\(partial.stdout)\(partial.stderr)")
            #expect(try await newest(world) == before + index + 1)
        }
        try await change(world)
        try await world.backUp()
        #expect(try await newest(world) == before + 4)
        try await expectLevel(world)
        #expect(try await list(world).lacking.isEmpty)
        try await world.expectWhole()
        let partial = Set(try await events(world, "backup.partial")).intersection([before + 1, before + 2, before + 3])
        #expect(partial.count == 3)
        #expect(partial.isSubset(of: try await events(world, "backup.complete")))
    }

    @Test("killed at any write of a sync and run again, it ends right")
    func killedSync() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        var kills = 0
        for number in 1...20 {
            try await change(world)
            try moveAway(world, "cellar")
            #expect(try await world.drp("backup", "run", "acme").status == 3)
            try moveBack(world, "cellar")
            let ended = try await world.drp(
                ["store", "sync", "acme"], environment: ["DRP_FAILPOINT": "store.flushed:\(number)"])
            guard ended.status != 0 else { break }
            kills += 1
            #expect(ended.status == 137, "\(ended.stderr)")
            try await world.expectWhole()
            #expect(try await world.drp("store", "sync", "acme").status == 0)
            try await expectLevel(world)
        }
        // Pack, index, manifest.
        #expect(kills == 3)
        try await world.expectWhole()
        try await world.expectJournalAtRest()
    }

    @Test("a store that is new in the policy gets everything")
    func newStore() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        try moveAway(world, "attic")
        try FileManager.default.createDirectory(atPath: "\(world.folder)/attic", withIntermediateDirectories: false)
        // A backup makes no repository by itself: an empty folder may be a disk that is not mounted.
        #expect(try await world.drp("backup", "run", "acme").status == 3)
        #expect(DemoWorld.files(below: "\(world.folder)/attic").isEmpty)
        let sync = try await world.drp("store", "sync")
        #expect(sync.status == 0 && sync.stdout.contains("attic (new)"), "\(sync.stdout)\(sync.stderr)")
        try await expectLevel(world)
        try await world.expectWhole()
        try await world.backUp()
        try FileManager.default.removeItem(atPath: "\(world.folder)/attic.away")
    }

    @Test("two backups under one number are named by the sync, which ends with 11 and changes neither")
    func diverged() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let number = try await newest(world)
        // The same number, taken twice by two machines that did not see each other's store.
        let name = String(repeating: "0", count: 10 - "\(number + 1)".count) + "\(number + 1)"
        let uuid = (try world.repository(of: "acme") as NSString).lastPathComponent
        try copyState(world, to: "before")
        try moveAway(world, "cellar")
        #expect(try await world.drp("backup", "run", "acme").status == 3)
        try moveBack(world, "cellar")
        try moveAway(world, "vault")
        try moveAway(world, "attic")
        try copyState(world, to: "after")
        try putState(world, "before")
        #expect(try await world.drp("backup", "run", "acme").status == 3)
        try putState(world, "after")
        try moveBack(world, "vault")
        try moveBack(world, "attic")
        let paths = ["store", "attic", "cellar"].map { "\(world.folder)/\($0)/\(uuid)/backups/\(name)" }
        let before = paths.map { FileManager.default.contents(atPath: $0) }
        #expect(before[0] != before[2] && before[2] != nil)
        let sync = try await world.drp("store", "sync", "acme")
        expectError(sync, status: 11, code: .repositoryDamaged, naming: ["backup \(number + 1)", "cellar", "vault"])
        #expect(paths.map { FileManager.default.contents(atPath: $0) } == before)
        // The way out of the how-to: the store that is wrong is made anew.
        try moveAway(world, "cellar")
        try FileManager.default.removeItem(atPath: "\(world.folder)/cellar.away")
        try FileManager.default.createDirectory(atPath: "\(world.folder)/cellar", withIntermediateDirectories: false)
        #expect(try await world.drp("store", "sync", "acme").status == 0)
        try await expectLevel(world)
        try await world.backUp()
        try await world.expectWhole()
    }

    @Test("a restore reads from the next store where one is away or damaged, and tells so")
    func restores() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let target = try await world.makeTarget("failover", mongo: "admin")
        let command = ["restore", "run", "acme", "--target", target, "--identity", world.identity]
        let again = ["--replace", "--confirm", "acme"]
        try moveAway(world, "vault")
        let away = try await world.drp(command)
        try moveBack(world, "vault")
        #expect(away.status == 0 && away.stdout.contains("from store attic"), "\(away.stdout)\(away.stderr)")
        #expect(away.stderr.contains("store vault does not give all"), "\(away.stderr)")

        // Every pack of the nearest one is damaged.
        let packs = "\(try world.repository(of: "acme"))/packs"
        for pack in DemoWorld.files(below: packs) {
            let path = "\(packs)/\(pack)"
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
            for index in stride(from: 20, to: bytes.count, by: 200) { bytes[index] ^= 1 }
            try bytes.write(to: URL(fileURLWithPath: path))
        }
        let alone = try await world.drp(command + again + ["--store", "vault"])
        #expect(alone.status == 11, "\(alone.stdout)\(alone.stderr)")
        let damaged = try await world.drp(command + again)
        #expect(damaged.status == 0 && damaged.stderr.contains("another one is asked"), "\(damaged.stderr)")
        let other = try await world.drp(command + again + ["--store", "cellar"])
        #expect(other.status == 0 && other.stdout.contains("from store cellar"), "\(other.stdout)\(other.stderr)")
        #expect(try await world.sqlite("SELECT 1 FROM events WHERE kind = 'restore.fellover'").count == 2)
        // The damaged store is made anew from the others.
        try FileManager.default.removeItem(atPath: try world.repository(of: "acme"))
        #expect(try await world.drp("store", "sync", "acme").status == 0)
        try await expectLevel(world)
        try await world.expectWhole()
    }

    // MARK: -

    private func change(_ world: DemoWorld) async throws {
        _ = try await world.python(
            "import os; mongo('north-acme-mongo').shop.news.insert_one({'text': os.urandom(50000)})")
    }

    private func path(_ world: DemoWorld, _ store: String) -> String {
        store == "vault" ? world.store : "\(world.folder)/\(store)"
    }

    private func moveAway(_ world: DemoWorld, _ store: String) throws {
        let path = path(world, store)
        try FileManager.default.moveItem(atPath: path, toPath: "\(path).away")
    }

    private func moveBack(_ world: DemoWorld, _ store: String) throws {
        let path = path(world, store)
        // No backup may make a store anew where its disk is not mounted.
        #expect(!FileManager.default.fileExists(atPath: path))
        try FileManager.default.moveItem(atPath: "\(path).away", toPath: path)
    }

    private func copyState(_ world: DemoWorld, to name: String) throws {
        try FileManager.default.copyItem(atPath: world.journal, toPath: "\(world.folder)/\(name).sqlite")
    }

    private func putState(_ world: DemoWorld, _ name: String) throws {
        try FileManager.default.removeItem(atPath: world.journal)
        try FileManager.default.moveItem(atPath: "\(world.folder)/\(name).sqlite", toPath: world.journal)
    }

    private func list(_ world: DemoWorld) async throws -> List {
        let ended = try await world.drp("backup", "list", "acme", "--json")
        return try JSONDecoder().decode(List.self, from: Data(ended.stdout.utf8))
    }

    private func newest(_ world: DemoWorld) async throws -> Int {
        try #require(try await list(world).backups.map(\.backup.number).max())
    }

    private func events(_ world: DemoWorld, _ kind: String) async throws -> [Int] {
        let rows = try await world.sqlite(
            "SELECT json_extract(payload, '$.number') FROM events WHERE kind = '\(kind)' ORDER BY id")
        return rows.compactMap { Int($0[0]) }
    }

    /// Packs, indexes and backups are the same files with the same bytes in every store.
    private func expectLevel(_ world: DemoWorld, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let uuid = (try world.repository(of: "acme") as NSString).lastPathComponent
        func content(_ store: String) throws -> [String: Data] {
            let root = "\(path(world, store))/\(uuid)"
            var found: [String: Data] = [:]
            for folder in ["packs", "indexes", "backups"] {
                for file in DemoWorld.files(below: "\(root)/\(folder)") {
                    found["\(folder)/\(file)"] = FileManager.default.contents(atPath: "\(root)/\(folder)/\(file)")
                }
            }
            return found
        }
        let first = try content("vault")
        for store in ["attic", "cellar"] {
            #expect(try content(store) == first, "\(store) is not what vault is", sourceLocation: sourceLocation)
        }
    }
}
