import DRPKit
import Foundation
import Testing

/// A site is lost, and its clients come back elsewhere: the real binary against real servers.
@Suite("A failover", .serialized, .needsServices)
struct SiteFailoverTests {
    @Test("killed once and run again, with one client broken: the others serve with their data, and it is named")
    func site() async throws {
        try await DemoWorld.run(DemoWorld.Options(clients: ["acme", "birch", "cedar"])) { world in
            for client in ["acme", "cedar"] { try await world.backUp(client) }
            var before: [String: JSONValue] = [:]
            for client in ["acme", "cedar"] { before[client] = try await world.answer(of: client)?["orders"] }
            try await world.killNorth()

            let declared = try await world.drp(
                "failover", "declare", "north", "--reason", "fire", "--confirm", "north")
            #expect(declared.status == 0, "\(declared.stderr)")
            let plan = try await world.drp("failover", "plan", "north")
            #expect(plan.status == 0 && plan.stdout.contains("3 of 3 clients are to be moved"), "\(plan.stdout)")
            #expect(plan.stdout.contains("birch: the journal knows of no backup"), "\(plan.stdout)")
            #expect(try await world.sqlite("SELECT id FROM runs").isEmpty)
            let held = try await world.drp("prune", "run", "acme")
            expectError(held, status: 1, code: .held, naming: ["north is declared lost"])

            let run = ["failover", "run", "north", "--identity", world.identity, "--confirm", "north"]
            let unconfirmed = try await world.drp(Array(run.dropLast(2)))
            expectError(unconfirmed, status: 2, code: .confirmationMissing, naming: ["north", "--confirm north"])
            let killed = try await world.drp(run, environment: ["DRP_FAILPOINT": "run.step.restore.after-outcome"])
            #expect(killed.status == 137, "\(killed.stdout)\(killed.stderr)")
            let ended = try await world.drp(run + ["--json"])
            #expect(ended.status == 3, "\(ended.stdout)\(ended.stderr)")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(ended.stdout.utf8))
            #expect(answer.clients.map(\.client) == ["acme", "birch", "cedar"])
            #expect(answer.clients.map(\.state) == ["serves", "paused", "serves"])
            #expect(answer.clients[1].error?.contains("birch") == true)
            for client in [answer.clients[0], answer.clients[2]] {
                // From the declaration on, the killed attempt included.
                #expect((client.rto?.seconds ?? 0) > 0 && client.data?.hasPrefix("equal: ") == true)
                #expect(try await world.addresses(of: client.client) == [world.south])
                let served = try await world.answer(of: client.client)
                #expect(served?["served_from"] == .text(world.south))
                #expect(served?["orders"] != nil && served?["orders"] == before[client.client])
            }
            #expect(try await world.addresses(of: "birch") == [world.north])
            // What could not be fenced is on record.
            let fences = try await world.sqlite("SELECT client FROM events WHERE kind = 'fence.failed' ORDER BY client")
            #expect(fences.map { $0[0] } == ["acme", "cedar"])

            // Run again, it does nothing to those that serve.
            let again = try await world.drp(run + ["--json"])
            #expect(again.status == 40 || again.status == 3, "\(again.status) \(again.stderr)")
            let moved = try JSONDecoder().decode(Answer.self, from: Data(again.stdout.utf8))
            #expect(moved.clients.map(\.state) == ["moved", "paused", "moved"])
            #expect(try await world.sqlite("SELECT count(*) FROM runs") == [["3"]])
            let back = try await world.drp("failover", "withdraw", "north", "--reason", "mended")
            #expect(back.status == 0, "\(back.stderr)")
            for client in ["acme", "cedar"] { try await world.backUp(client) }
        }
    }

    private struct Answer: Decodable {
        struct Measured: Decodable { var seconds: Double }
        struct Row: Decodable {
            var client: String
            var state: String
            var data: String?
            var error: String?
            var rto: Measured?
        }
        var clients: [Row]
    }
}

@Suite("A drill", .serialized, .needsServices)
struct DrillTests {
    @Test("beside production, from the backups alone, cleaned up; its evidence becomes stale with what it proved")
    func drill() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let drill = ["drill", "run", "acme", "--to", "south", "--identity", world.identity]
            // One that dies leaves what the next one takes away.
            let killed = try await world.drp(drill, environment: ["DRP_FAILPOINT": "run.step.restore.after-outcome"])
            #expect(killed.status == 137, "\(killed.stdout)\(killed.stderr)")
            #expect(!DemoWorld.processes(inside: "\(world.folder)/sites/south/drills").isEmpty)
            let never = try await world.drp("drill", "list")
            #expect(never.stdout.contains("never"), "\(never.stdout)")

            let serial = try await world.sqlite("SELECT count(*) FROM placements")
            let ended = try await world.drp(drill)
            #expect(ended.status == 0 && ended.stdout.contains("proven"), "\(ended.stdout)\(ended.stderr)")
            #expect(ended.stdout.contains("equal: "), "\(ended.stdout)")
            #expect(try await world.sqlite("SELECT count(*) FROM events WHERE kind = 'drill.reaped'") == [["1"]])
            #expect(DemoWorld.processes(inside: "\(world.folder)/sites/south").isEmpty)
            #expect(DemoWorld.files(below: "\(world.folder)/sites/south").filter { !$0.hasSuffix(".lock") }.isEmpty)
            // Production was not touched.
            #expect(try await world.addresses(of: "acme") == [world.north])
            #expect(try await world.answer(of: "acme")?["served_from"] == .text(world.north))
            #expect(try await world.sqlite("SELECT count(*) FROM placements") == serial)

            let proven = try await world.drp("drill", "list")
            #expect(proven.stdout.contains("proven"), "\(proven.stdout)")
            try world.editFleet("priority: 1", "priority: 7")
            let stale = try await world.drp("drill", "list")
            #expect(stale.stdout.contains("stale") && stale.stdout.contains("has changed"), "\(stale.stdout)")
        }
    }

    @Test("a drill whose data differ takes away what it made, and proves nothing")
    func fails() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let drill = ["drill", "run", "acme", "--to", "south", "--identity", world.identity]
            try world.editFleet("{mongod: \(DemoWorld.programs)/mongod,", "{mongod: /bin/false,")
            let ended = try await world.drp(drill)
            #expect(ended.status == 40, "\(ended.status) \(ended.stdout)\(ended.stderr)")
            #expect(ended.stdout.contains("taken back"), "\(ended.stdout)")
            #expect(DemoWorld.processes(inside: "\(world.folder)/sites/south").isEmpty)
            #expect(!DemoWorld.files(below: "\(world.folder)/sites/south").contains { $0.contains("deployment.json") })
            let never = try await world.drp("drill", "list")
            #expect(never.stdout.contains("never"), "\(never.stdout)")
        }
    }
}

@Suite("Decisions about a run", .serialized, .needsServices, .world())
struct RunDecisionTests {
    @Test("a planned move in a client's business hours is refused without a reason, and changes nothing")
    func businessHours() async throws {
        let world = try DemoWorld.current
        let hours = "    hours: {zone: Etc/UTC, business: \"Sun-Sat 00:00-24:00\"}\n    contacts: [ops@acme.example]"
        try world.editFleet("    contacts: [ops@acme.example]", hours)
        let refused = try await world.drp(
            "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
        try world.editFleet(hours, "    contacts: [ops@acme.example]")
        expectError(refused, status: 2, code: .confirmationMissing, naming: ["business hours of acme", "--reason"])
        #expect(try await world.sqlite("SELECT count(*) FROM runs WHERE kind = 'migrate'") == [["0"]])
    }

    @Test("a run waits for an approval, waits out a time, and goes past a step that a person leaves out; all on record")
    func decisions() async throws {
        let world = try DemoWorld.current
        let folder = "\(world.folder)/runbooks"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try """
        runbook: migrate
        about: Decisions of people
        for: client
        steps:
          - approve: {ask: "was the client told?"}
          - wait: {for: 1s}
          - command: {name: works, run: [/bin/sh, -c, "echo \\"$DRP_CLIENT; $0\\" > done.txt", "a b;c"], check: [/usr/bin/test, -s, done.txt]}
          - command: {name: breaks, run: [/bin/sh, -c, "echo out of paper >&2; exit 3"]}
          - command: {name: last, run: [/bin/true]}

        """.write(toFile: "\(folder)/migrate.yaml", atomically: true, encoding: .utf8)
        let waits = try await world.drp(
            "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
        #expect(waits.status == 41, "\(waits.stdout)\(waits.stderr)")
        #expect(waits.stdout.contains("was the client told?") && waits.stdout.contains("drp runs approve"))
        let run = try #require(try await world.sqlite("SELECT id FROM runs").first?[0])
        let approved = try await world.drp("runs", "approve", run, "--reason", "told at nine")
        #expect(approved.status == 0, "\(approved.stderr)")
        let broken = try await world.drp("runs", "resume", run)
        #expect(broken.status == 40 && broken.stdout.contains("out of paper"), "\(broken.stdout)\(broken.stderr)")
        #expect(try String(contentsOfFile: "\(world.folder)/done.txt", encoding: .utf8) == "acme; a b;c\n")
        let early = try await world.drp("runs", "approve", run)
        expectError(early, status: 2, code: .usage, naming: [run])
        let skipped = try await world.drp("runs", "skip", run, "--reason", "no paper needed")
        #expect(skipped.status == 0, "\(skipped.stdout)\(skipped.stderr)")
        let watched = try await world.drp("runs", "watch", run)
        #expect(watched.status == 0 && watched.stderr.contains("breaks: skipped"), "\(watched.stderr)")
        #expect(watched.stderr.split(separator: "\n").allSatisfy { $0.count <= 100 }, "\(watched.stderr)")
        let events = try await world.sqlite(
            "SELECT kind, payload FROM events WHERE kind IN ('step.approved', 'step.skipped') ORDER BY id")
        #expect(events.map { $0[0] } == ["step.approved", "step.skipped"])
        #expect(events[0][1].contains("told at nine") && events[1][1].contains("no paper needed"))
        let verified = try await world.drp("events", "verify")
        #expect(verified.status == 0, "\(verified.stdout)")
    }
}
