package import Foundation
internal import GRDB

/// One attempt at one step: what a row of `attempts` is about.
package struct AttemptKey: Sendable, Hashable {
    package var run: RunID
    package var client: ClientID
    package var step: Int
    package var name: String
    package var number: Int
}

/// What follows a failed attempt.
package enum AfterFailure: Sendable, Hashable {
    /// The step is tried again.
    case retry
    /// All that the run did is taken back.
    case turnBack
    /// The run waits for a person.
    case pause
}

/// Writing runs. Every method that changes one demands the lease `run/ID`, and checks it in the same transaction.
extension Journal {
    /// The lease that the methods below demand.
    package static func leaseName(of run: RunID) -> String { "run/\(run)" }

    /// Records a new run with all its steps, still pending.
    package func begin(_ run: RunEntry, steps: [StepEntry], holding lease: LeaseEntry) async throws {
        let inputs = try JSONValue(encoding: run.inputs)
        try await write { db in
            try self.require(lease, for: run.id, db)
            try db.execute(
                sql: """
                    INSERT INTO runs
                        (id, kind, client, runbook, runbook_hash, mode, inputs, state, declared, started, pid)
                    VALUES (?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?)
                    """,
                arguments: [
                    run.id.text, run.kind, run.client.text, run.runbook, run.runbookHash.description,
                    run.mode.rawValue, try inputs.json(), JournalDate.text(run.declared),
                    JournalDate.text(run.started), run.pid,
                ])
            for step in steps {
                try db.execute(
                    sql: """
                        INSERT INTO steps (run, ordinal, kind, name, settings, state)
                        VALUES (?, ?, ?, ?, ?, 'pending')
                        """,
                    arguments: [run.id.text, step.ordinal, step.kind, step.name, try step.settings.json()])
            }
            try self.append(
                db, "run.started", client: run.client, run: run.id,
                payload: [
                    "kind": .text(run.kind), "runbook": .text(run.runbook),
                    "sha256": .text(run.runbookHash.description), "mode": .text(run.mode.rawValue), "inputs": inputs,
                    "declared": .text(JournalDate.text(run.declared)),
                ])
        }
    }

    /// Records that this process goes on with a run that is not finished.
    package func reopen(_ id: RunID, holding lease: LeaseEntry) async throws {
        try await write { db in
            let run = try self.openRun(id, lease, db)
            try db.execute(
                sql: "UPDATE runs SET state = 'running', pid = ?, error_code = NULL, error = NULL WHERE id = ?",
                arguments: [lease.pid, id.text])
            try self.append(db, "run.resumed", client: run.client, run: id, payload: ["was": .text(run.state.rawValue)])
        }
    }

    /// Records that a step is about to begin. Written before anything is done.
    /// - Parameter direction: `back` if it is taken back.
    package func recordIntent(
        run id: RunID, step: Int, _ direction: RunDirection = .forward, holding lease: LeaseEntry
    ) async throws -> AttemptKey {
        let now = JournalDate.text(clock.now)
        return try await write { db in
            let run = try self.openRun(id, lease, db)
            guard
                let name = try String.fetchOne(
                    db, sql: "SELECT name FROM steps WHERE run = ? AND ordinal = ?", arguments: [id.text, step])
            else { throw JournalError(.missing, "step \(step) of run \(id)") }
            let number = try Int.fetchOne(
                db, sql: "SELECT COALESCE(MAX(number), 0) + 1 FROM attempts WHERE run = ? AND step = ?",
                arguments: [id.text, step])
            let key = AttemptKey(run: id, client: run.client, step: step, name: name, number: number ?? 1)
            try db.execute(
                sql: """
                    INSERT INTO attempts (run, step, number, direction, phase, started) VALUES (?, ?, ?, ?, 'intent', ?)
                    """,
                arguments: [id.text, step, key.number, direction.rawValue, now])
            try db.execute(
                sql: """
                    UPDATE steps SET state = 'active', started = COALESCE(started, ?), finished = NULL
                    WHERE run = ? AND ordinal = ?
                    """,
                arguments: [now, id.text, step])
            try self.append(db, direction == .back ? "step.undo-intent" : "step.intent", key, [:])
            return key
        }
    }

    /// Records what the engine is about to do. Written before it does it.
    package func record(phase: AttemptPhase, of key: AttemptKey, holding lease: LeaseEntry) async throws {
        try await write { db in
            try self.require(lease, for: key.run, db)
            try db.execute(
                sql: "UPDATE attempts SET phase = ? WHERE run = ? AND step = ? AND number = ?",
                arguments: [phase.rawValue, key.run.text, key.step, key.number])
            try self.append(db, "step.\(phase.rawValue)", key, [:])
        }
    }

    /// Records what `apply` returned, before it is observed.
    package func recordApplied(_ facts: JSONValue, of key: AttemptKey, holding lease: LeaseEntry) async throws {
        try await write { db in
            try self.require(lease, for: key.run, db)
            try db.execute(
                sql: "UPDATE steps SET applied = ? WHERE run = ? AND ordinal = ?",
                arguments: [try facts.json(), key.run.text, key.step])
            try self.append(db, "step.applied", key, ["facts": facts])
        }
    }

    /// Keeps something that a step must know after a crash (the old records before they are changed).
    package func note(_ name: String, _ value: JSONValue, of key: AttemptKey, holding lease: LeaseEntry) async throws {
        try await write { db in
            try self.require(lease, for: key.run, db)
            let old = try String.fetchOne(
                db, sql: "SELECT notes FROM steps WHERE run = ? AND ordinal = ?", arguments: [key.run.text, key.step])
            var notes = try JSONValue(json: old ?? "{}").object ?? [:]
            notes[name] = value
            try db.execute(
                sql: "UPDATE steps SET notes = ? WHERE run = ? AND ordinal = ?",
                arguments: [try JSONValue.object(notes).json(), key.run.text, key.step])
            try self.append(db, "step.note", key, ["name": .text(name), "value": value])
        }
    }

    /// Records that a step is done, and what came of it.
    package func recordOutcome(_ outcome: JSONValue, of key: AttemptKey, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            try self.require(lease, for: key.run, db)
            try db.execute(
                sql: "UPDATE attempts SET phase = 'outcome', finished = ? WHERE run = ? AND step = ? AND number = ?",
                arguments: [now, key.run.text, key.step, key.number])
            try db.execute(
                sql: "UPDATE steps SET state = 'done', finished = ?, outcome = ? WHERE run = ? AND ordinal = ?",
                arguments: [now, try outcome.json(), key.run.text, key.step])
            try self.append(db, "step.done", key, ["outcome": outcome])
        }
    }

    /// Records that an attempt failed and, in the same transaction, that the run waits, if it does.
    package func recordFailure(
        _ fault: Fault, of key: AttemptKey, then next: AfterFailure, holding lease: LeaseEntry
    ) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            try self.require(lease, for: key.run, db)
            try db.execute(
                sql: """
                    UPDATE attempts SET finished = ?, error_code = ?, error = ?
                    WHERE run = ? AND step = ? AND number = ?
                    """,
                arguments: [now, fault.code.rawValue, fault.text, key.run.text, key.step, key.number])
            try self.append(db, "step.failed", key, ["code": .text(fault.code.rawValue), "error": .text(fault.text)])
            if next == .retry { return }
            try db.execute(
                sql: "UPDATE steps SET state = 'failed', finished = ? WHERE run = ? AND ordinal = ?",
                arguments: [now, key.run.text, key.step])
            if next == .turnBack {
                let why = "step \(key.name): \(fault.text)"
                return try self.turnBack(db, key.run, client: key.client, why, fault.code)
            }
            try db.execute(
                sql: "UPDATE runs SET state = 'paused', error_code = ?, error = ? WHERE id = ?",
                arguments: [fault.code.rawValue, "step \(key.name): \(fault.text)", key.run.text])
            try self.append(db, "run.paused", client: key.client, run: key.run, step: key.name)
        }
    }

    /// Records that the process was asked to stop: the run waits, its current attempt has failed. Without effect on a
    /// run that has ended or waits already.
    package func interrupt(_ id: RunID, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        let fault = Fault(CancellationError())
        try await write { db in
            try self.require(lease, for: id, db)
            guard let run = try self.find(id, db), run.state == .running else { return }
            try db.execute(
                sql: """
                    UPDATE attempts SET finished = ?, error_code = ?, error = ?
                    WHERE run = ? AND finished IS NULL
                        AND step = (SELECT ordinal FROM steps WHERE run = attempts.run AND state = 'active')
                        AND number = (SELECT MAX(number) FROM attempts AS a
                                      WHERE a.run = attempts.run AND a.step = attempts.step)
                    """,
                arguments: [now, fault.code.rawValue, fault.text, id.text])
            try db.execute(
                sql: "UPDATE steps SET state = 'failed', finished = ? WHERE run = ? AND state = 'active'",
                arguments: [now, id.text])
            try db.execute(
                sql: "UPDATE runs SET state = 'paused', error_code = ?, error = ? WHERE id = ?",
                arguments: [fault.code.rawValue, fault.text, id.text])
            try self.append(db, "run.interrupted", client: run.client, run: id)
        }
    }

    /// Records that all steps are done.
    package func finish(_ id: RunID, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            let run = try self.openRun(id, lease, db)
            let missing = try Int.fetchOne(
                db, sql: "SELECT COUNT(*) FROM steps WHERE run = ? AND state <> 'done'", arguments: [id.text])
            precondition(missing == 0, "a run ends with all its steps done")
            try db.execute(sql: "UPDATE runs SET state = 'done', finished = ? WHERE id = ?", arguments: [now, id.text])
            try self.append(db, "run.done", client: run.client, run: id)
        }
    }

    /// Records that nobody will go on with a run; what its steps did stays as it is.
    package func cancel(_ id: RunID, reason: String, holding lease: LeaseEntry) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            let run = try self.openRun(id, lease, db)
            try db.execute(
                sql: "UPDATE runs SET state = 'cancelled', finished = ?, error = ? WHERE id = ?",
                arguments: [now, reason, id.text])
            try self.append(db, "run.cancelled", client: run.client, run: id, payload: ["reason": .text(reason)])
        }
    }

    func append(_ db: Database, _ kind: String, _ key: AttemptKey, _ facts: [String: JSONValue]) throws {
        try append(
            db, kind, client: key.client, run: key.run, step: key.name,
            payload: .object(facts.merging(["attempt": .integer(Int64(key.number))]) { $1 }))
    }

    func require(_ lease: LeaseEntry, for id: RunID, _ db: Database) throws {
        precondition(lease.name == Self.leaseName(of: id), "lease \(lease.name) is not that of run \(id)")
        try require(lease, db)
    }

    func openRun(_ id: RunID, _ lease: LeaseEntry, _ db: Database) throws -> RunEntry {
        try require(lease, for: id, db)
        guard let run = try find(id, db), run.state.isOpen else { throw JournalError(.missing, "unfinished run \(id)") }
        return run
    }
}

/// Reading runs.
extension Journal {
    /// - Returns: nil if there is no such run.
    package func run(_ id: RunID) async throws -> RunEntry? {
        try await read { db in try self.find(id, db) }
    }

    /// The run that was declared last first.
    package func runs(client: ClientID? = nil, limit: Int = 1000) async throws -> [RunEntry] {
        try await read { db in
            try self.all(
                db, "SELECT * FROM runs WHERE ? IS NULL OR client = ? ORDER BY declared DESC, id DESC LIMIT ?",
                [client?.text, client?.text, limit], self.run)
        }
    }

    /// Runs that wait or whose process works or died.
    package func openRuns(client: ClientID? = nil) async throws -> [RunEntry] {
        try await runs(client: client, limit: .max).filter { $0.state.isOpen }
    }

    /// In order.
    package func steps(of id: RunID) async throws -> [StepEntry] {
        try await read { db in
            try self.all(db, "SELECT * FROM steps WHERE run = ? ORDER BY ordinal", [id.text], self.step)
        }
    }

    /// In order of steps, then of attempts.
    package func attempts(of id: RunID) async throws -> [AttemptEntry] {
        try await read { db in
            try self.all(db, "SELECT * FROM attempts WHERE run = ? ORDER BY step, number", [id.text], self.attempt)
        }
    }

    /// How long the newest finished steps of a kind took, newest first: what a prediction is made from.
    package func durations(ofStepKind kind: String, limit: Int = 20) async throws -> [TimeInterval] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT * FROM steps WHERE kind = ? AND state = 'done' ORDER BY finished DESC LIMIT ?
                """, [kind, limit], self.step)
        }.compactMap { step in
            guard let started = step.started, let finished = step.finished else { return nil }
            return finished.timeIntervalSince(started)
        }
    }

    private func find(_ id: RunID, _ db: Database) throws -> RunEntry? {
        try first(db, "SELECT * FROM runs WHERE id = ?", [id.text], run)
    }

    private func run(_ columns: Columns) throws -> RunEntry {
        var run = RunEntry(
            id: try columns.value("id", RunID.init(_:)), kind: try columns.text("kind"),
            client: try columns.value("client", ClientID.init(_:)), runbook: try columns.text("runbook"),
            runbookHash: try columns.value("runbook_hash", ContentHash.init(hex:)),
            mode: try columns.value("mode", RunMode.init(rawValue:)),
            inputs: (try columns.json("inputs").object ?? [:]).compactMapValues(\.text),
            state: try status(columns), declared: try columns.date("declared"),
            started: try columns.date("started"), finished: try columns.dateIfAny("finished"),
            pid: try columns.value32("pid"), errorCode: columns.errorCode, error: columns.textIfAny("error"))
        run.direction = try direction(columns)
        return run
    }

    private func status(_ columns: Columns) throws -> RunStatus {
        let state = try columns.value("state", RunStatus.init(rawValue:))
        let isBack = try direction(columns) == .back
        return state == .done && isBack ? .rolledBack : state
    }

    private func direction(_ columns: Columns) throws -> RunDirection {
        try columns.value("direction", RunDirection.init(rawValue:))
    }

    private func step(_ columns: Columns) throws -> StepEntry {
        var step = StepEntry(
            run: try columns.value("run", RunID.init(_:)), ordinal: Int(try columns.value32("ordinal")),
            kind: try columns.text("kind"), name: try columns.text("name"), settings: try columns.json("settings"))
        // A mark belongs to one state alone; a step that has left it is what its state says.
        let state = try columns.value("state", StepStatus.init(rawValue:))
        step.state =
            switch (state, columns.textIfAny("mark")) {
            case (.done, "skipped"?): .skipped
            case (.pending, "undone"?): .undone
            default: state
            }
        step.started = try columns.dateIfAny("started")
        step.finished = try columns.dateIfAny("finished")
        step.notes = try columns.json("notes")
        step.applied = try columns.jsonIfAny("applied")
        step.outcome = try columns.jsonIfAny("outcome")
        return step
    }

    private func attempt(_ columns: Columns) throws -> AttemptEntry {
        AttemptEntry(
            run: try columns.value("run", RunID.init(_:)), step: Int(try columns.value32("step")),
            number: Int(try columns.value32("number")), direction: try direction(columns),
            phase: try columns.value("phase", AttemptPhase.init(rawValue:)),
            started: try columns.date("started"), finished: try columns.dateIfAny("finished"),
            errorCode: columns.errorCode, error: columns.textIfAny("error"))
    }
}
