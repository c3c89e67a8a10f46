package import Foundation
internal import GRDB

/// What people decide about runs that wait, and the way back. Every method demands the lease `run/ID`.
extension Journal {
    /// Leaves out the step at which a run waits; what follows treats it as over.
    /// - Throws: `JournalError.missing` if the run waits at no step of this name.
    package func skip(
        _ id: RunID, step: String, by person: String, reason: String, holding lease: LeaseEntry
    ) async throws {
        let now = JournalDate.text(clock.now)
        let outcome = try JSONValue.object(["skipped": .text(reason)]).json()
        try await write { db in
            let run = try self.openRun(id, lease, db)
            try db.execute(
                sql: """
                    UPDATE steps SET state = 'done', mark = 'skipped', finished = ?, outcome = ?
                    WHERE run = ? AND name = ? AND state IN ('failed', 'active')
                    """,
                arguments: [now, outcome, id.text, step])
            guard db.changesCount == 1 else { throw JournalError(.missing, "a step '\(step)' that run \(id) waits at") }
            try self.append(
                db, "step.skipped", client: run.client, run: id, step: step,
                payload: ["by": .text(person), "reason": .text(reason)])
        }
    }

    /// Makes a step and all behind it pending again; what they did stays, and is observed first.
    /// - Throws: `JournalError.missing` if the run has no such step, or has not come to it.
    package func beginAgain(_ id: RunID, from step: String, by person: String, holding lease: LeaseEntry) async throws {
        try await write { db in
            let run = try self.openRun(id, lease, db)
            try db.execute(
                sql: """
                    UPDATE steps SET state = 'pending', mark = NULL, finished = NULL, applied = NULL, outcome = NULL
                    WHERE run = ?1 AND state <> 'pending' AND ordinal >=
                        (SELECT ordinal FROM steps WHERE run = ?1 AND name = ?2 AND state <> 'pending')
                    """,
                arguments: [id.text, step])
            guard db.changesCount > 0 else { throw JournalError(.missing, "a step '\(step)' that run \(id) has begun") }
            try self.append(
                db, "run.again", client: run.client, run: id, step: step, payload: ["by": .text(person)])
        }
    }

    /// Records that somebody agrees to what a step asks.
    package func approve(_ id: RunID, step: String, by person: String, reason: String?) async throws {
        guard let run = try await self.run(id) else { throw JournalError(.missing, "run \(id)") }
        try await append(
            event: "step.approved", client: run.client, run: id, step: step,
            payload: ["by": .text(person), "reason": reason.map { .text($0) } ?? .null])
    }

    /// Who agreed to a step, and why; nil before that.
    package func approval(of step: String, in id: RunID) async throws -> (by: String, reason: String?)? {
        let events = try await events(run: id, limit: .max).filter { $0.kind == "step.approved" && $0.step == step }
        return events.last.flatMap { event in
            let facts = event.payload.object ?? [:]
            return facts["by"]?.text.map { (by: $0, reason: facts["reason"]?.text) }
        }
    }

    /// Records that a run takes back what it did, from its last step on.
    package func turnBack(_ id: RunID, by person: String, reason: String, holding lease: LeaseEntry) async throws {
        try await write { db in
            let run = try self.openRun(id, lease, db)
            try self.turnBack(db, id, client: run.client, "\(reason) (\(person))", nil)
        }
    }

    func turnBack(_ db: Database, _ id: RunID, client: ClientID, _ why: String, _ code: ErrorCode?) throws {
        try db.execute(
            sql: "UPDATE runs SET direction = 'back', error_code = ?, error = ? WHERE id = ?",
            arguments: [code?.rawValue, why, id.text])
        try append(db, "run.turned-back", client: client, run: id, payload: ["why": .text(why)])
    }

    /// Records that nothing of a step is left.
    package func recordUndone(_ key: AttemptKey, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            try self.require(lease, for: key.run, db)
            try db.execute(
                sql: "UPDATE attempts SET phase = 'outcome', finished = ? WHERE run = ? AND step = ? AND number = ?",
                arguments: [now, key.run.text, key.step, key.number])
            try db.execute(
                sql: "UPDATE steps SET state = 'pending', mark = 'undone', finished = ? WHERE run = ? AND ordinal = ?",
                arguments: [now, key.run.text, key.step])
            try self.append(db, "step.undone", key, [:])
        }
    }

    /// Records that all is taken back.
    package func finishBack(_ id: RunID, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            let run = try self.openRun(id, lease, db)
            let left = try Int.fetchOne(
                db, sql: "SELECT COUNT(*) FROM steps WHERE run = ? AND state <> 'pending'", arguments: [id.text])
            precondition(left == 0 && run.direction == .back, "a way back ends with nothing left")
            try db.execute(sql: "UPDATE runs SET state = 'done', finished = ? WHERE id = ?", arguments: [now, id.text])
            try self.append(db, "run.rolled-back", client: run.client, run: id)
        }
    }
}

/// What a step said while it worked.
package struct RunOutputLine: Sendable, Codable, Hashable {
    /// Rises with each line of the journal.
    package var id: Int64
    package var step: String
    package var at: Date
    package var text: String
}

extension Journal {
    private static let longestLine = 2000

    /// Keeps lines that steps said; those of other runs may come between. A line is cut at 2,000 characters.
    package func appendOutput(_ lines: [(step: String, text: String)], run id: RunID) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            for line in lines {
                try db.execute(
                    sql: "INSERT INTO run_output (run, step, at, text) VALUES (?, ?, ?, ?)",
                    arguments: [id.text, line.step, now, String(line.text.prefix(Self.longestLine))])
            }
        }
    }

    /// In order.
    /// - Parameters:
    ///   - after: the id of the last line that is known.
    ///   - limit: the newest ones of a longer answer.
    package func output(of id: RunID, after: Int64 = 0, limit: Int = 1000) async throws -> [RunOutputLine] {
        try await read { db in
            try self.all(
                db, "SELECT * FROM run_output WHERE run = ? AND id > ? ORDER BY id DESC LIMIT ?",
                [id.text, after, limit]
            ) { columns in
                RunOutputLine(
                    id: try columns.integer("id"), step: try columns.text("step"), at: try columns.date("at"),
                    text: try columns.text("text"))
            }
        }.reversed()
    }
}
