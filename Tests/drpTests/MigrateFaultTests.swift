import DRPKit
import Foundation
import Testing

@Suite("A migration that cannot begin", .serialized, .needsServices, .world())
struct MigrateFaultTests {
    @Test("an unknown step of a runbook is named with its line and the nearest step, and nothing is begun")
    func unknownStep() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let folder = "\(world.folder)/runbooks"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try """
        runbook: migrate
        about: A step that is not known
        for: client
        steps:
          - preflight: {deadline: 2m}
          - deplay: {to: "${target}", deadline: 10m}

        """.write(toFile: "\(folder)/migrate.yaml", atomically: true, encoding: .utf8)
        for verb in [["run", "--confirm", "acme"], ["plan"]] {
            let ended = try await world.drp(
                ["migrate"] + verb + ["acme", "--to", "south", "--identity", world.identity])
            expectError(ended, status: 2, code: .runbookInvalid, naming: ["migrate.yaml:6", "deplay", "deploy"])
        }
        try FileManager.default.removeItem(atPath: folder)
        try await expectUntouched(world)
        let plan = try await world.drp("migrate", "plan", "acme", "--to", "south", "--identity", world.identity)
        #expect(plan.status == 0, "\(plan.stderr)")
    }

    @Test("without the name given once more, nothing is begun")
    func unconfirmed() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        for confirm in [[], ["--confirm", "south"], ["--confirm", ""]] {
            let ended = try await world.drp(
                ["migrate", "run", "acme", "--to", "south", "--identity", world.identity] + confirm)
            expectError(ended, status: 2, code: .confirmationMissing, naming: ["acme", "--confirm acme"])
        }
        try await expectUntouched(world)
    }

    @Test("a site and a client that are not in the fleet are named beside those that are")
    func unknownNames() async throws {
        let world = try DemoWorld.current
        let site = try await world.drp(
            "migrate", "run", "acme", "--to", "mars", "--identity", world.identity, "--confirm", "acme")
        expectError(site, status: 2, code: .usage, naming: ["mars", "north", "south"])
        let client = try await world.drp(
            "migrate", "run", "nobody", "--to", "south", "--identity", world.identity, "--confirm", "nobody")
        expectError(client, status: 2, code: .usage, naming: ["nobody", "acme"])
        try await expectUntouched(world)
    }

    private func expectUntouched(_ world: DemoWorld) async throws {
        let runs = try await world.drp("runs", "list", "--json")
        #expect(runs.status == 0)
        let answer = try JSONDecoder().decode([String: JSONValue].self, from: Data(runs.stdout.utf8))
        #expect(answer["runs"] == .list([]))
        #expect(try await world.sqlite("SELECT id FROM runs").isEmpty)
        #expect(DemoWorld.files(below: "\(world.folder)/sites/south").isEmpty)
        #expect(try await world.addresses(of: "acme") == [world.north])
        try await world.expectJournalAtRest()
    }
}

@Suite("A migration whose place is taken away", .serialized, .needsServices)
struct MigrateInterruptedTests {
    @Test("a step that fails leaves the run waiting with 40, and resume ends it once the cause is mended")
    func failsAndResumes() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            try await world.killNorth()
            let mongod = "\(DemoWorld.programs)/mongod"
            try world.editFleet("{mongod: \(mongod),", "{mongod: \(world.folder)/nowhere/mongod,")
            let failed = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--source-lost", "--identity", world.identity, "--confirm",
                "acme")
            #expect(failed.status == 40 || failed.status == 2, "\(failed.status): \(failed.stdout)\(failed.stderr)")
            #expect((failed.stdout + failed.stderr).contains("next"), "\(failed.stdout)\(failed.stderr)")
            #expect(try await world.addresses(of: "acme") == [world.north])
            let rows = try await world.sqlite("SELECT id, state FROM runs")
            #expect(rows.map { $0[1] } == ["paused"])
            try world.editFleet("{mongod: \(world.folder)/nowhere/mongod,", "{mongod: \(mongod),")
            let id = try #require(rows.first?[0])
            let resumed = try await world.drp("runs", "resume", id, "--identity", world.identity)
            #expect(resumed.status == 0, "\(resumed.stdout)\(resumed.stderr)")
            #expect(try await world.addresses(of: "acme") == [world.south])
            #expect(try await world.answer(of: "acme")?["served_from"] == .text(world.south))
            #expect(try await world.sqlite("SELECT state FROM runs") == [["done"]])
            try await world.expectJournalAtRest()
            try await world.backUp()
        }
    }
}
