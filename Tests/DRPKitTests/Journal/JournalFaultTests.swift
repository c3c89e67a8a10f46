import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("Journal under faults", .enabled(if: RawDatabase.isAvailable, "needs /usr/bin/python3"))
struct JournalFaultTests {
    @Test("the schema of a newer drp is refused and left alone")
    func newer() async throws {
        try await withJournal { journal, clock, folder in
            try RawDatabase(path: journal.path).run("db.execute('PRAGMA user_version = 99')")
            let error = await #expect(throws: JournalError.self) {
                try await Journal.open(folder: folder, clock: clock)
            }
            #expect(error?.reason == .newer(version: 99))
            #expect(error?.code == .journalUnusable)
            #expect(try RawDatabase(path: journal.path).run("print(*db.execute('PRAGMA user_version'))") == "(99,)\n")
        }
    }

    @Test(
        "a file that is no journal is refused", arguments: ["no database at all, but long enough to be one", "other"])
    func foreign(kind: String) async throws {
        let folder = NSTemporaryDirectory() + "drp-journal-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/journal.sqlite"
        if kind == "other" {
            try RawDatabase(path: path).run("db.execute('CREATE TABLE theirs (x)')")
        } else {
            try Data(String(repeating: kind, count: 100).utf8).write(to: URL(fileURLWithPath: path))
        }
        let error = await #expect(throws: JournalError.self) {
            try await Journal.open(folder: folder, clock: HandClock())
        }
        #expect(error?.reason == .damaged)
    }

    @Test("an event that was edited, deleted or cut off shows; without it the chain is whole")
    func chain() async throws {
        for (edit, expected) in [
            ("", []),
            (
                "db.execute(\"UPDATE events SET payload = '{}' WHERE id = 3\")",
                ["event 3 is not what was written, or the one before it is not"]
            ),
            (
                "db.execute(\"UPDATE events SET at = '2026-11-25T09:30:12.346Z' WHERE id = 1\")",
                ["event 1 is not what was written, or the one before it is not"]
            ),
            (
                "db.execute('DELETE FROM events WHERE id = 2')",
                ["events 2 to 2 are missing", "event 3 is not what was written, or the one before it is not"]
            ),
            ("db.execute('DELETE FROM events WHERE id > 4')", ["events 5 to 6 are missing at the end"]),
        ] as [(String, [String])] {
            try await withJournal { journal, _, _ in
                for number in 1...6 {
                    try await journal.append(event: "test", client: acme, payload: ["n": .integer(Int64(number))])
                }
                let drop =
                    "[db.execute('DROP TRIGGER ' + t) for t, in db.execute("
                    + "\"SELECT name FROM sqlite_schema WHERE type = 'trigger'\").fetchall()]\n"
                try RawDatabase(path: journal.path).run(drop + edit)
                #expect(try await journal.verifyEvents().problems == expected)
            }
        }
    }

    @Test(
        "events refuse to be changed, deleted or replaced",
        arguments: [
            "UPDATE events SET kind = 'x'", "DELETE FROM events",
            "INSERT OR REPLACE INTO events SELECT id, at, 'x', client, run, step, payload, hash FROM events",
        ])
    func appendOnly(statement: String) async throws {
        try await withJournal { journal, _, _ in
            try await journal.append(event: "test")
            let answer = try RawDatabase(path: journal.path).run(
                "try: db.execute(\"\(statement)\")\nexcept sqlite3.IntegrityError as e: print(e)")
            #expect(answer == "events are append-only\n")
            #expect(
                try await journal.verifyEvents()
                    == EventVerdict(
                        count: 1, head: try await journal.events()[0].hash, problems: []))
        }
    }

    @Test("the known hash of a known event")
    func knownHash() {
        // SHA-256 of 32 zero bytes, then 01 01000000 00000000 "1", 00, 01 00000000 00000000; by Python's hashlib.
        let hash = EventChain.hash(after: EventChain.start, fields: ["1", nil, ""])
        #expect(hash.description == "14991cf4cc0e820e8df306bb82a305727928153d695420aa2a997eb74cdc7bcb")
    }

    @Test("two connections and another process write at once, and nothing is lost")
    func concurrency() async throws {
        try await withJournal { journal, clock, folder in
            let other = try await Journal.open(folder: folder, clock: clock)
            let child = try RawDatabase(path: journal.path).start(
                """
                for n in range(25):
                    db.execute("BEGIN IMMEDIATE")
                    db.execute("INSERT INTO jobs (client, kind, due, started) VALUES ('c', 'k', ?, '')",
                        ("2026-11-25T09:30:%02d.000Z" % n,))
                    db.execute("COMMIT")
                """)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in [journal, other] {
                    group.addTask { for _ in 0..<25 { try await writer.append(event: "test") } }
                }
                try await group.waitForAll()
            }
            child.process.waitUntilExit()
            #expect(child.process.terminationStatus == 0)
            let verdict = try await other.verifyEvents()
            #expect(verdict.count == 50)
            #expect(verdict.problems.isEmpty)
            #expect(
                try RawDatabase(path: journal.path).run("print(*db.execute('SELECT COUNT(*) FROM jobs'))") == "(25,)\n")
        }
    }

    @Test("many processes that open a new journal at once make its tables once")
    func openingAtOnce() async throws {
        let folder = NSTemporaryDirectory() + "drp-journal-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { try await Journal.open(folder: folder, clock: HandClock()).append(event: "test") }
            }
            try await group.waitForAll()
        }
        #expect(try await Journal.open(folder: folder, clock: HandClock()).verifyEvents().count == 8)
    }

    @Test("a process that is killed inside a transaction, with half of it on disk, leaves the journal as it was")
    func killedInTransaction() async throws {
        try await withJournal { journal, clock, folder in
            try await journal.append(event: "before")
            let child = try RawDatabase(path: journal.path).start(
                """
                db.execute("PRAGMA cache_size = 5")
                db.execute("BEGIN IMMEDIATE")
                for n in range(2000):
                    db.execute("INSERT INTO jobs (client, kind, due, started) VALUES (?, 'k', 'd', 's')", ("x" * 500,))
                print("ready", flush=True)
                sys.stdin.read()
                """)
            #expect(child.waitForLine() == "ready")
            // The pages that did not fit its cache are in the file, and their old content in the rollback journal.
            let size = try FileManager.default.attributesOfItem(atPath: journal.path)[.size] as? Int ?? 0
            #expect(size > 500_000)
            child.kill()
            let again = try await Journal.open(folder: folder, clock: clock)
            #expect(try await again.jobs().isEmpty)
            #expect(try await again.verifyEvents().count == 1)
            try await again.append(event: "after")
            #expect(try await journal.verifyEvents().count == 2)
        }
    }

    @Test(
        "a full disk is named, what was on record stays, and the journal goes on when there is room",
        .enabled(if: SmallDisk.isPossible, "needs root and a mount of its own"))
    func fullDisk() async throws {
        let disk = try SmallDisk()
        defer { disk.remove() }
        let journal = try await Journal.open(folder: disk.path + "/state", clock: HandClock())
        let text = JSONValue.text(String(repeating: "x", count: 20_000))
        var count: Int64 = 0
        let error = await #expect(throws: JournalError.self) {
            for _ in 0..<1000 {
                try await journal.append(event: "test", payload: ["text": text])
                count += 1
            }
        }
        #expect(error?.reason == .full)
        #expect(count > 3)
        let verdict = try await journal.verifyEvents()
        #expect(verdict.count == count)
        #expect(verdict.problems.isEmpty)
        try disk.grow()
        try await journal.append(event: "test", payload: ["text": text])
        #expect(try await journal.verifyEvents().problems.isEmpty)
    }

    @Test(
        "on a disk that can only be read, the journal can be read, and a write says why it fails",
        .enabled(if: SmallDisk.isPossible, "needs root and a mount of its own"))
    func readOnlyDisk() async throws {
        let disk = try SmallDisk()
        defer { disk.remove() }
        _ = try await Journal.open(folder: disk.path + "/state", clock: HandClock())
        try disk.makeReadOnly()
        // What is on record can still be read there.
        let journal = try await Journal.open(folder: disk.path + "/state", clock: HandClock())
        #expect(try await journal.runs().isEmpty)
        let write = await #expect(throws: JournalError.self) { try await journal.append(event: "test") }
        #expect(write?.reason == .readOnly)
        let open = await #expect(throws: JournalError.self) {
            try await Journal.open(folder: disk.path + "/other", clock: HandClock())
        }
        #expect(open?.reason == .denied)
    }
}

/// A file system of half a megabyte in memory.
private struct SmallDisk {
    let path: String

    static let isPossible: Bool = {
        // Not being allowed to is what is asked here.
        guard let disk = try? SmallDisk() else { return false }
        disk.remove()
        return true
    }()

    init() throws {
        path = NSTemporaryDirectory() + "drp-disk-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        do { try Self.run("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", path]) } catch {
            try FileManager.default.removeItem(atPath: path)
            throw error
        }
    }

    func grow() throws { try Self.run("mount", ["-o", "remount,size=4m", path]) }
    /// Refused for as long as somebody has a file open to write: a queue of GRDB that was let go closes its file a moment later.
    func makeReadOnly() throws {
        for _ in 0..<500 {
            do { return try Self.run("mount", ["-o", "remount,ro", path]) } catch { usleep(20_000) }
        }
        try Self.run("mount", ["-o", "remount,ro", path])
    }

    func remove() {
        // A mount that stays is a test machine's matter; nothing else can be done here.
        try? Self.run("umount", ["-l", path])
        try? FileManager.default.removeItem(atPath: path)
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/\(program)")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CocoaError(.fileWriteNoPermission) }
    }
}
