import DRPKit
import Foundation
import Testing

@Suite("A backup that is killed", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct BackupKillTests {
    /// Around the write, the flush and the naming of each object of a backup: pack, index, manifest.
    @Test(
        "at any moment leaves older backups whole, and the next run works by itself",
        arguments: ["store.written", "store.flushed", "store.placed"])
    func killedWhileStoring(point: String) async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        var kills = 0
        for number in 1...20 {
            // New data each time, so that there is a pack to store.
            try await change(world)
            let before = try await world.backups()
            let ended = try await world.drp(
                "backup", "run", "acme", environment: ["DRP_FAILPOINT": "\(point):\(number)"])
            guard ended.status != 0 else { break }
            kills += 1
            #expect(ended.status == 137, "\(point):\(number): \(ended.stderr)")
            let after = try await world.backups()
            // The manifest is the last object: once it has its name, the backup is there, whoever lives to tell.
            #expect(after.listed.starts(with: before.listed) && after.listed.count <= before.listed.count + 1)
            #expect(after.listed == after.files)
            try await world.expectWhole()
            try await world.backUp()
            #expect(try await world.backups().listed.count == after.listed.count + 1)
            #expect(try await world.backups().open == 0, "the killed try stands in the journal as if it still ran")
            try await world.expectJournalAtRest()
        }
        print("backup run: killed \(kills) times at \(point)")
        #expect(kills >= 3, "a backup stores a pack, an index and a manifest")
        try await world.expectWhole()
    }

    @Test(
        "while another process still runs, a second backup of the client, or a prune, ends with 12 and disturbs nothing"
    )
    func twoAtOnce() async throws {
        let world = try DemoWorld.current
        let before = try await world.backups()
        // The first one waits for an answer of MongoDB, with the client's lease in hand.
        let mongod = try #require(world.pid(of: "north-acme-mongo"))
        kill(mongod, SIGSTOP)
        let first = try world.start(["backup", "run", "acme"])
        var isHeld = false
        for _ in 0..<100 where !isHeld {
            isHeld = try await world.sqlite("SELECT 1 FROM leases WHERE name = 'client/acme' AND held = 1").count == 1
        }
        let second = try await world.drp("backup", "run", "acme")
        let prune = try await world.drp("prune", "run", "acme")
        kill(mongod, SIGCONT)
        expectError(second, status: 12, code: .repositoryLeased, naming: ["client/acme", "\(first.pid)"])
        expectError(prune, status: 12, code: .repositoryLeased, naming: ["client/acme", "\(first.pid)"])
        let ended = try await first.wait()
        #expect(ended.status == 0, "\(ended.stderr)")
        #expect(try await world.backups().listed.count == before.listed.count + 1)
        try await world.expectJournalAtRest()
        try await world.expectWhole()
    }

    private func change(_ world: DemoWorld) async throws {
        _ = try await world.python(
            "import os; mongo('north-acme-mongo').shop.news.insert_one({'text': os.urandom(50000)})")
    }
}
