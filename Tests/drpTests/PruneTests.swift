import DRPKit
import Foundation
import Testing

@Suite("Prune and hold", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct PruneCommandTests {
    private struct Plan: Decodable {
        struct Store: Decodable {
            struct Backup: Decodable {
                var number: Int
                var isKept: Bool
                var reasons: [String]
            }
            var backups: [Backup]
            var drop: [Int]
        }
        var plans: [Store]
    }

    @Test("old backups go in two runs, a hold stops both, and what stays restores")
    func oldBackupsGo() async throws {
        let world = try DemoWorld.current
        try await change(world, backups: 4)
        let none = try await world.drp("prune", "run", "acme", "--grace", "0s")
        #expect(none.status == 0 && none.stdout.contains("nothing to do"), "\(none.stdout)\(none.stderr)")
        try world.editFleet(
            "schedule: \"daily 02:30 Europe/Paris\"", "schedule: \"daily 02:30 Europe/Paris\"\n    keep: {last: 2}")
        try await expectHolds(world)

        let stored = DemoWorld.files(below: world.store)
        let planned = try await world.drp("prune", "plan", "acme", "--json")
        let plan = try #require(try JSONDecoder().decode(Plan.self, from: Data(planned.stdout.utf8)).plans.first)
        #expect(plan.drop == [1, 2] && plan.backups.map(\.isKept) == [true, true, false, false])
        #expect(plan.backups[0].reasons == ["newest good", "last 1 of 2"])
        #expect(DemoWorld.files(below: world.store) == stored, "a plan changes nothing")

        // The policy kept everything before.
        let refused = try await world.drp("prune", "run", "acme", "--grace", "0s")
        expectError(refused, status: 2, code: .confirmationMissing, naming: ["acme", "kept everything"])
        #expect(DemoWorld.files(below: world.store) == stored)
        let marked = try await world.drp("prune", "run", "acme", "--grace", "0s", "--confirm", "acme")
        #expect(marked.status == 0 && marked.stdout.contains("marked 2 backups (1, 2)"), "\(marked.stdout)")
        #expect(try await world.backups().listed == [1, 2, 3, 4])
        try await world.expectWhole()
        try await killUntilDone(world)
        let after = try await world.backups()
        #expect(after.listed == [3, 4] && after.files == [3, 4])
        try await world.expectWhole()
        expectError(
            try await world.drp("backup", "show", "acme/1"), status: 10, code: .repositoryMissing, naming: ["backup 1"])
        let target = try await world.makeTarget("pruned")
        let restored = try await world.drp("restore", "run", "acme", "--target", target, "--identity", world.identity)
        #expect(restored.status == 0, "\(restored.stdout)\(restored.stderr)")
        let kinds = try await world.sqlite(
            "SELECT DISTINCT kind FROM events WHERE kind LIKE 'prune.%' OR kind LIKE 'hold.%' ORDER BY kind")
        #expect(kinds == [["hold.released"], ["hold.set"], ["prune.done"], ["prune.marked"]])
        try await world.expectJournalAtRest()
    }

    @Test("a plan that drops more than half wants the client's name")
    func moreThanHalf() async throws {
        let world = try DemoWorld.current
        // Two stay of the test before.
        try await change(world, backups: 3)
        let refused = try await world.drp("prune", "run", "--all")
        expectError(refused, status: 2, code: .confirmationMissing, naming: ["3 of 5", "--confirm acme"])
        let marked = try await world.drp("prune", "run", "acme", "--confirm", "acme")
        #expect(marked.status == 0 && marked.stdout.contains("marked 3 backups (3, 4, 5)"), "\(marked.stdout)")
        // The usual grace.
        let early = try await world.drp("prune", "run", "acme")
        #expect(early.status == 0 && !early.stdout.contains("  deleted") && early.stdout.contains("mark 1"))
        #expect(try await world.backups().listed == [3, 4, 5, 6, 7])
    }

    /// Held by the journal alone, by the store alone, by both: nothing is marked.
    private func expectHolds(_ world: DemoWorld) async throws {
        let prune = ["prune", "run", "acme", "--grace", "0s", "--confirm", "acme"]
        #expect(try await world.drp("hold", "set", "acme", "--reason", "legal request 117").status == 0)
        let stored = DemoWorld.files(below: world.store)
        let path = "\(try world.repository(of: "acme"))/hold"
        let hold = try Data(contentsOf: URL(fileURLWithPath: path))
        expectError(try await world.drp(prune), status: 1, code: .held, naming: ["acme", "legal request 117"])
        #expect(DemoWorld.files(below: world.store) == stored)
        try await world.expectWhole()
        let shown = try await world.drp("hold", "show")
        #expect(shown.stdout.contains("journal") && shown.stdout.contains("store vault"), "\(shown.stdout)")
        try FileManager.default.removeItem(atPath: path)
        expectError(try await world.drp(prune), status: 1, code: .held, naming: ["the journal"])
        #expect(try await world.drp("hold", "release", "acme", "--confirm", "acme").status == 0)
        try hold.write(to: URL(fileURLWithPath: path))
        expectError(try await world.drp(prune), status: 1, code: .held, naming: ["store vault", "legal request 117"])
        #expect(DemoWorld.files(below: world.store) == stored)
        let released = try await world.drp("hold", "release", "acme", "--confirm", "acme")
        #expect(released.status == 0 && released.stdout.contains("not held: acme"), "\(released.stdout)")
    }

    /// Kills the second run after its first deletion, then after that of the next run, and so on.
    private func killUntilDone(_ world: DemoWorld) async throws {
        var kills = 0
        for _ in 0..<20 {
            // The first deletion of each run is that of the probe.
            let ended = try await world.drp(
                "prune", "run", "acme", "--grace", "0s", environment: ["DRP_FAILPOINT": "store.deleted:2"])
            guard ended.status == 137 else {
                #expect(ended.status == 0, "\(ended.stderr)")
                break
            }
            kills += 1
            let listed = try await world.backups().listed
            #expect(listed.suffix(2) == [3, 4], "\(listed)")
            try await world.expectWhole()
        }
        #expect(kills >= 4, "two manifests, indexes, packs and a mark go")
    }

    private func change(_ world: DemoWorld, backups: Int) async throws {
        for _ in 0..<backups {
            _ = try await world.python(
                """
                import os
                mongo('north-acme-mongo').shop.news.drop()
                mongo('north-acme-mongo').shop.news.insert_one({'text': os.urandom(50000)})
                """)
            try await world.backUp()
        }
    }
}
