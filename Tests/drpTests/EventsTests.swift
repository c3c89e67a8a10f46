import DRPKit
import Foundation
import Testing

@Suite("The record of events", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct EventsTests {
    private struct Verdict: Decodable {
        var count: Int64
        var head: String
        var firstBroken: Int64?
        var proven: Int64?
        var problems: [String]
        var error: String?
    }

    @Test("a whole chain: count, head, and the proof that an event noted earlier is still there")
    func whole() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let first = try await verify(world)
        #expect(first.problems.isEmpty && first.error == nil && first.count >= 3)
        try await world.backUp()
        let later = try await verify(world, "--head", first.head)
        #expect(later.count > first.count && later.proven == first.count && later.head != first.head)
        #expect(try await verify(world, "--head", "\(first.count):\(first.head)").proven == first.count)
        let check = try await world.drp("check")
        #expect(check.stdout.contains(later.head), "\(check.stdout)")
        let wrong = try await verify(world, "--head", "\(first.count + 1):\(first.head)", status: 1)
        #expect(wrong.error == ErrorCode.evidenceBroken.rawValue && wrong.proven == nil)
        #expect(wrong.problems.count == 1 && wrong.problems[0].contains("event \(first.count + 1)"))
    }

    @Test(
        "whoever edits the file past the triggers is found out",
        arguments: [
            ("UPDATE events SET payload = '{}' WHERE id = 2", "2", 2),
            ("DELETE FROM events WHERE id = 2", "events 2 to 2 are missing", 3),
            ("DELETE FROM events WHERE id > 3", "events 4 to", nil),
            (
                """
                UPDATE events SET id = -2 WHERE id = 2; UPDATE events SET id = 2 WHERE id = 3;
                UPDATE events SET id = 3 WHERE id = -2
                """, "2", 2
            ),
        ] as [(String, String, Int64?)])
    func edited(statements: String, named: String, firstBroken: Int64?) async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        try await world.backUp()
        try await edit(world, statements) {
            let verdict = try await verify(world, status: 1)
            #expect(verdict.error == ErrorCode.evidenceBroken.rawValue)
            #expect(verdict.firstBroken == firstBroken, "\(verdict)")
            #expect(verdict.problems.contains { $0.contains(named) }, "\(verdict.problems)")
            let text = try await world.drp("events", "verify")
            expectError(text, status: 1, code: .evidenceBroken, naming: ["BROKEN", named])
            let check = try await world.drp("check")
            expectError(check, status: 1, code: .evidenceBroken, naming: [])
        }
        #expect(try await verify(world).problems.isEmpty)
    }

    @Test("an end that was cut without a trace shows against a head that was noted before")
    func cutWithoutATrace() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let noted = try await verify(world).head
        let cut = """
            DELETE FROM events WHERE id > 2; UPDATE sqlite_sequence SET seq = 2 WHERE name = 'events'
            """
        try await edit(world, cut) {
            // By itself it is a whole, shorter record.
            #expect(try await verify(world).count == 2)
            let verdict = try await verify(world, "--head", noted, status: 1)
            #expect(verdict.error == ErrorCode.evidenceBroken.rawValue && verdict.proven == nil)
            #expect(verdict.problems.count == 1 && verdict.problems[0].contains(noted))
        }
        #expect(try await verify(world, "--head", noted).proven != nil)
    }

    @Test("events are listed by client and number, the newest without a start")
    func lists() async throws {
        struct List: Decodable {
            struct Event: Decodable {
                var id: Int64
                var kind: String
                var client: String?
            }
            var events: [Event]
        }
        let world = try DemoWorld.current
        try await world.backUp()
        func list(_ arguments: String...) async throws -> [List.Event] {
            let ended = try await world.drp(["events", "list", "--json"] + arguments)
            #expect(ended.status == 0, "\(ended.stderr)")
            return try JSONDecoder().decode(List.self, from: Data(ended.stdout.utf8)).events
        }
        let all = try await list()
        #expect(all.map(\.id) == Array(1...Int64(all.count)))
        #expect(all.suffix(3).map(\.kind) == ["backup.started", "backup.finished", "bootstrap.stored"])
        #expect(try await list("--after", "1", "--limit", "2").map(\.id) == [2, 3])
        #expect(try await list("--limit", "2").map(\.id) == all.suffix(2).map(\.id))
        #expect(try await list("--client", "acme").allSatisfy { $0.client == "acme" })
        #expect(try await list("--client", "nobody").isEmpty)
        let text = try await world.drp("events", "list", "--limit", "1")
        #expect(text.stdout.contains("bootstrap.stored") && text.stdout.contains("\(all.count)"))
    }

    private func verify(_ world: DemoWorld, _ arguments: String..., status: Int32 = 0) async throws -> Verdict {
        let ended = try await world.drp(["events", "verify", "--json"] + arguments)
        #expect(ended.status == status, "\(ended.stdout)\(ended.stderr)")
        return try JSONDecoder().decode(Verdict.self, from: Data(ended.stdout.utf8))
    }

    /// Drops the triggers, edits, and puts the journal back afterwards.
    private func edit(_ world: DemoWorld, _ statements: String, _ body: () async throws -> Void) async throws {
        let kept = "\(world.folder)/kept.sqlite"
        try FileManager.default.copyItem(atPath: world.journal, toPath: kept)
        try await world.writeJournal(
            """
            DROP TRIGGER events_keep_update; DROP TRIGGER events_keep_delete; DROP TRIGGER events_keep_replace;
            \(statements)
            """)
        try await body()
        try FileManager.default.removeItem(atPath: world.journal)
        try FileManager.default.moveItem(atPath: kept, toPath: world.journal)
    }
}

extension DemoWorld {
    /// Changes the journal by Python, past drp.
    func writeJournal(_ statements: String) async throws {
        let program = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
        let ended = try await shell([Self.python, "-c", program, journal, statements])
        guard ended.status == 0 else { throw WorldError("sqlite: \(ended.stderr)") }
    }
}
