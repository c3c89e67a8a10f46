import DRPKit
import Foundation
import Testing

/// The way back of a migration, by the real binary against real servers.
@Suite("A migration that is taken back", .serialized, .needsServices)
struct MigrateRollbackTests {
    /// Steps after which it is killed, and whether the source takes no writes then.
    private static let steps = [
        ("deploy", false), ("freeze", true), ("catch-up", true), ("switch", true), ("fence", true),
    ]

    @Test(
        "whatever step it had come to, the client lives where it did, serves and can write; nothing is left elsewhere")
    func anyStep() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            for (step, isFrozen) in Self.steps {
                let run = try await Self.killed(world, behind: step)
                #expect(try await Self.writes(world) == (isFrozen ? "refused refused" : "taken taken"), "\(step)")
                let back = try await Self.rollBack(world, run)
                #expect(back.status == 0, "\(step): \(back.stdout)\(back.stderr)")
                #expect(back.stdout.contains("rolled-back"), "\(step): \(back.stdout)")
                try await Self.expectAtHome(world, step)
                let again = try await Self.rollBack(world, run)
                expectError(again, status: 2, code: .usage, naming: [run])
            }
            // And the road is free.
            let moved = try await world.drp(
                "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme")
            #expect(moved.status == 0, "\(moved.stdout)\(moved.stderr)")
            #expect(try await world.addresses(of: "acme") == [world.south])
            try await world.backUp()
            try await world.expectJournalAtRest()
        }
    }

    @Test("a target that does not hold what the source holds takes all back by itself, and the source serves again")
    func differs() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let run = try await Self.killed(world, behind: "catch-up")
            #expect(try await Self.writes(world) == "refused refused")
            try await Self.atTarget(world, "c.shop.users.delete_one({})")
            let ended = try await world.drp("runs", "resume", run, "--identity", world.identity)
            #expect(ended.status == 40, "\(ended.stdout)\(ended.stderr)")
            #expect(ended.stdout.contains("shop.users") && ended.stdout.contains("taken back"), "\(ended.stdout)")
            try await Self.expectAtHome(world, "verify")
        }
    }

    @Test("after the switch, what clients wrote at the new side is counted, and lost only if a person says so")
    func losses() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let run = try await Self.killed(world, behind: "switch")
            try await Self.atTarget(world, "c.app.orders.insert_many([{'n': 1}, {'n': 2}])")
            let refused = try await Self.rollBack(world, run)
            expectError(refused, status: 2, code: .confirmationMissing, naming: ["writes to MongoDB", "--lose-writes"])
            #expect(try await world.addresses(of: "acme") == [world.south])
            let back = try await Self.rollBack(world, run, "--lose-writes")
            #expect(back.status == 0, "\(back.stdout)\(back.stderr)")
            try await Self.expectAtHome(world, "switch")
        }
    }

    @Test("records that somebody else has changed meanwhile stop the way back before the target goes")
    func foreignRecords() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let run = try await Self.killed(world, behind: "switch")
            let domain = world.domain("acme")
            try await world.changeRecords(["update delete \(domain) A", "update add \(domain) 5 A 127.0.0.99"])
            let refused = try await Self.rollBack(world, run)
            #expect(refused.status == 40, "\(refused.stdout)\(refused.stderr)")
            #expect(refused.stdout.contains("not as this run left them"), "\(refused.stdout)")
            #expect(try await world.addresses(of: "acme") == ["127.0.0.99"])
            #expect(!DemoWorld.files(below: "\(world.folder)/sites/south/acme").isEmpty)
            #expect(!DemoWorld.processes(inside: "\(world.folder)/sites/south").isEmpty)
        }
    }

    @Test("a source that was opened by hand meanwhile stops the switch, and drp opens none while a run waits")
    func opened() async throws {
        try await DemoWorld.run { world in
            try await world.backUp()
            let run = try await Self.killed(world, behind: "verify")
            let refused = try await world.drp("unfence", "acme", "--reason", "test", "--confirm", "acme")
            #expect(refused.status != 0 && refused.stderr.contains(run), "\(refused.stdout)\(refused.stderr)")
            #expect(try await Self.writes(world) == "refused refused")
            _ = try await world.python(
                "mongo('north-acme-mongo').admin.command('setUserWriteBlockMode', 1, **{'global': False})")
            let resumed = try await world.drp("runs", "resume", run, "--identity", world.identity)
            #expect(resumed.status == 40 && resumed.stdout.contains("takes writes again"), "\(resumed.stdout)")
            #expect(try await world.addresses(of: "acme") == [world.north])
            let back = try await Self.rollBack(world, run)
            #expect(back.status == 0, "\(back.stdout)\(back.stderr)")
            try await Self.expectAtHome(world, "verify")
            // By hand, and on record.
            let fenced = try await world.drp("fence", "acme", "--reason", "test", "--confirm", "acme")
            #expect(
                fenced.status == 0 && fenced.stdout.contains("databases refuse"), "\(fenced.stdout)\(fenced.stderr)")
            #expect(try await Self.writes(world) == "refused refused")
            let elsewhere = try await world.drp(
                "unfence", "acme", "--site", "south", "--reason", "test", "--confirm", "acme")
            expectError(elsewhere, status: 2, code: .usage, naming: ["does not live at south"])
            let open = try await world.drp("unfence", "acme", "--reason", "test", "--confirm", "acme")
            #expect(open.status == 0, "\(open.stdout)\(open.stderr)")
            #expect(try await Self.writes(world) == "taken taken")
            let events = try await world.sqlite("SELECT kind FROM events WHERE kind LIKE 'client.%fenced' ORDER BY id")
            #expect(events == [["client.fenced"], ["client.unfenced"]])
        }
    }

    // MARK: -

    /// - Returns: the run, which was killed behind the outcome of a step.
    private static func killed(_ world: DemoWorld, behind step: String) async throws -> String {
        let ended = try await world.drp(
            "migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme",
            environment: ["DRP_FAILPOINT": "run.step.\(step).after-outcome"])
        #expect(ended.status == 137, "\(step): \(ended.status) \(ended.stdout)\(ended.stderr)")
        let rows = try await world.sqlite("SELECT id FROM runs ORDER BY started DESC, id DESC LIMIT 1")
        return try #require(rows.first?.first)
    }

    private static func rollBack(_ world: DemoWorld, _ run: String, _ more: String...) async throws -> Ended {
        try await world.drp(
            ["runs", "rollback", run, "--reason", "test", "--identity", world.identity, "--confirm", "acme"] + more)
    }

    /// Whether the source takes an application's write into MongoDB, and into Redis.
    private static func writes(_ world: DemoWorld) async throws -> String {
        try await world.python(
            """
            from pymongo.errors import PyMongoError
            try:
                c = MongoClient(connections.first_line("\(world.uriFile("acme", "mongo", user: "app"))"))
                c.app.written.insert_one({"by": "application"})
                print("taken", end=" ")
            except PyMongoError as e:
                print("refused" if e.code == 371 else e, end=" ")
            try:
                redis("north-acme-redis").call("SET", "app:written", "1")
                print("taken", end="")
            except Exception as e:
                print("refused" if "NOREPLICAS" in str(e) else e, end="")
            """)
    }

    private static func expectAtHome(_ world: DemoWorld, _ step: String) async throws {
        #expect(try await writes(world) == "taken taken", "\(step)")
        #expect(try await world.addresses(of: "acme") == [world.north], "\(step)")
        #expect(try await world.answer(of: "acme")?["served_from"] == .text(world.north), "\(step)")
        let place = try await world.sqlite("SELECT site FROM placements ORDER BY epoch DESC LIMIT 1")
        #expect(place.isEmpty || place == [["north"]], "\(step)")
        #expect(DemoWorld.files(below: "\(world.folder)/sites/south/acme").isEmpty, "\(step)")
        #expect(DemoWorld.processes(inside: "\(world.folder)/sites/south").isEmpty, "\(step)")
        try await world.backUp()
    }

    /// Runs Python with `c`, a client of the target's MongoDB.
    private static func atTarget(_ world: DemoWorld, _ body: String) async throws {
        let secrets = "\(world.folder)/sites/south/acme/secrets"
        let file = try #require(
            try FileManager.default.contentsOfDirectory(atPath: secrets)
                .first { $0.hasPrefix("mongo") && $0.contains("drp") && $0.hasSuffix(".uri") })
        _ = try await world.python("c = MongoClient(connections.first_line(\"\(secrets)/\(file)\"))\n\(body)\n")
    }
}
