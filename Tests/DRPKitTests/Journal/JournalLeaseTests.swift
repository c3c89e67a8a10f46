import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("Leases")
struct JournalLeaseTests {
    @Test("one holder at a time, also within one process; given back, the next one gets a higher number")
    func exclusive() async throws {
        try await withJournal { journal, clock, folder in
            let other = try await Journal.open(folder: folder, clock: clock)
            let first = try await journal.acquireLease("client/acme")
            let error = await #expect(throws: JournalError.self) { try await other.acquireLease("client/acme") }
            #expect(error?.reason == .leased(by: first))
            #expect(error?.code == .repositoryLeased)
            #expect(error?.message.contains("process \(first.pid)") == true)
            _ = try await other.acquireLease("client/birch")
            try await journal.release(first)
            let second = try await other.acquireLease("client/acme")
            #expect(second.fence == first.fence + 1)
            await #expect(throws: JournalError(.leaseLost, "client/acme")) { try await journal.beat(first) }
            // Given back a second time by the one who lost it: the holder keeps it.
            try await journal.release(first)
            try await other.beat(second)
            #expect(try await journal.leases().map(\.name) == ["client/acme", "client/birch"])
        }
    }

    @Test(
        "the lease of a dead process is taken over, that of a living one is not",
        .enabled(if: RawDatabase.isAvailable, "needs /usr/bin/python3"))
    func deadHolder() async throws {
        try await withJournal { journal, _, _ in
            let raw = RawDatabase(path: journal.path)
            let child = try raw.start("print('ready', flush=True); sys.stdin.read()")
            #expect(child.waitForLine() == "ready")
            defer { child.kill() }
            let pid = child.process.processIdentifier
            let ticks = try #require(ProcessIdentity.startTicks(of: pid))
            let lease = try await journal.acquireLease("run/x")
            try raw.run("db.execute(\"UPDATE leases SET pid = \(pid), pid_started = '\(ticks)'\")")
            let error = await #expect(throws: JournalError.self) { try await journal.acquireLease("run/x") }
            #expect(error?.message.contains("process \(pid)") == true)
            child.kill()
            #expect(try await journal.leases().isEmpty)
            let next = try await journal.acquireLease("run/x")
            #expect(next.fence == lease.fence + 1)
            #expect(try await journal.events().map(\.kind) == ["lease.taken-over"])
        }
    }

    @Test(
        "a process that got the pid of a dead one does not hold its lease; one that cannot be seen has 5 minutes",
        .enabled(if: RawDatabase.isAvailable, "needs /usr/bin/python3"))
    func pidReuse() async throws {
        try await withJournal { journal, clock, _ in
            let raw = RawDatabase(path: journal.path)
            _ = try await journal.acquireLease("run/x")
            try raw.run("db.execute(\"UPDATE leases SET pid_started = '1'\")")
            _ = try await journal.acquireLease("run/x")
            try raw.run("db.execute(\"UPDATE leases SET machine = 'elsewhere'\")")
            clock.advance(299)
            await #expect(throws: JournalError.self) { try await journal.acquireLease("run/x") }
            clock.advance(2)
            _ = try await journal.acquireLease("run/x")
        }
    }

    @Test("a living holder keeps its lease for ever, unless it said how long it lasts in silence")
    func silence() async throws {
        try await withJournal { journal, clock, folder in
            let other = try await Journal.open(folder: folder, clock: clock)
            _ = try await journal.acquireLease("run/x")
            let lease = try await journal.acquireLease("client/acme", lasts: .seconds(300))
            clock.advance(299)
            await #expect(throws: JournalError.self) { try await other.acquireLease("client/acme") }
            try await journal.beat(lease)
            clock.advance(299)
            await #expect(throws: JournalError.self) { try await other.acquireLease("client/acme") }
            clock.advance(2)
            let next = try await other.acquireLease("client/acme")
            #expect(next.fence == lease.fence + 1)
            await #expect(throws: JournalError(.leaseLost, "client/acme")) { try await journal.beat(lease) }
            await #expect(throws: JournalError.self) { try await other.acquireLease("run/x") }
            #expect(try await journal.events().map(\.kind) == ["lease.taken-over"])
        }
    }

    @Test("work under a lease beats while it goes on, and gives the lease back however it ends")
    func heartbeat() async throws {
        try await withJournal { journal, _, _ in
            try await journal.holding("client/acme") { lease in
                // The clock of this test passes by itself while somebody sleeps.
                while try await journal.leases()[0].beat == lease.since {}
            }
            #expect(try await journal.leases().isEmpty)
            await #expect(throws: CancellationError.self) {
                try await journal.holding("client/acme") { _ in throw CancellationError() }
            }
            #expect(try await journal.leases().isEmpty)
        }
    }

    @Test("who lost the lease of a client can write nothing more about its backup, and its work is cancelled")
    func lostBackup() async throws {
        try await withJournal { journal, clock, folder in
            let other = try await Journal.open(folder: folder, clock: clock)
            let error = await #expect(throws: JournalError.self) {
                try await journal.holding("client/acme", lasts: .seconds(300)) { lease in
                    // Of its own, since this one is cancelled as soon as the heartbeat sees it.
                    try await Task {
                        let id = try await journal.beginBackup(client: acme, store: paris)
                        try await journal.release(lease)
                        _ = try await other.acquireLease("client/acme")
                        let figures = BackupFigures(
                            number: 1, instant: clock.now, sourceBytes: ByteCount(1), newBytes: ByteCount(1),
                            storedBytes: ByteCount(1))
                        do {
                            try await journal.finishBackup(id, figures, holding: lease)
                            Issue.record("a result was written without the lease")
                        } catch let error as JournalError {
                            #expect(error.reason == .leaseLost)
                        }
                    }.value
                    while true { try await clock.sleep(for: .seconds(1)); try Task.checkCancellation() }
                }
            }
            #expect(error?.reason == .leaseLost)
            #expect(try await other.leases().map(\.name) == ["client/acme"])
            #expect(try await journal.backups()[0].outcome == nil)
        }
    }

    @Test("who lost the lease of a run can write nothing more about it")
    func fencing() async throws {
        try await withJournal { journal, clock, _ in
            let id = RunID(declared: clock.now, client: acme, runbook: "migrate", salt: 1)
            let lease = try await journal.acquireLease(Journal.leaseName(of: id))
            let run = RunEntry(
                id: id, kind: "migrate", client: acme, runbook: "migrate", runbookHash: ContentHash(hashing: []),
                mode: .real, inputs: ["target": "dc5"], declared: clock.now, started: clock.now)
            let step = StepEntry(run: id, ordinal: 0, kind: "deploy", name: "deploy", settings: [:])
            try await journal.begin(run, steps: [step], holding: lease)
            let key = try await journal.recordIntent(run: id, step: 0, holding: lease)
            try await journal.release(lease)
            let other = try await journal.acquireLease(Journal.leaseName(of: id))
            await #expect(throws: JournalError(.leaseLost, lease.name)) {
                try await journal.recordOutcome([:], of: key, holding: lease)
            }
            #expect(try await journal.steps(of: id)[0].state == .active)
            try await journal.recordOutcome(["a": 1], of: key, holding: other)
            try await journal.finish(id, holding: other)
            #expect(try await journal.run(id)?.state == .done)
            #expect(try await journal.run(id)?.inputs == ["target": "dc5"])
            #expect(try await journal.steps(of: id)[0].outcome == ["a": 1])
        }
    }
}

@Suite("JSONValue")
struct JSONValueTests {
    @Test("every value comes back from its text, and equal values have equal texts")
    func roundTrip() throws {
        let value: JSONValue = [
            "b": [1, -2, .number(1.5), .null, true], "a": "é\n\"/", "c": .integer(.max), "d": [:],
        ]
        let text = try value.json()
        #expect(text == #"{"a":"é\n\"/","b":[1,-2,1.5,null,true],"c":9223372036854775807,"d":{}}"#)
        #expect(try JSONValue(json: text) == value)
        #expect(throws: (any Error).self) { try JSONValue(json: "{") }
        #expect(throws: (any Error).self) { try JSONValue.number(.infinity).json() }
    }
}

@Suite("Failpoint")
struct FailpointTests {
    @Test(
        "a failpoint is a name and the number of the hit",
        arguments: [
            ("a.b", Failpoint.Armed(name: "a.b", count: 1)), ("a.b:3", Failpoint.Armed(name: "a.b", count: 3)),
            ("", nil), (nil, nil), ("a:0", nil), ("a:x", nil),
        ] as [(String?, Failpoint.Armed?)])
    func parsing(text: String?, armed: Failpoint.Armed?) {
        #expect(Failpoint.parse(text) == armed)
    }
}
