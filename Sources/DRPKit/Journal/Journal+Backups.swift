package import Foundation
internal import GRDB

/// What a capture knows when its manifest is written.
package struct BackupFigures: Sendable, Hashable {
    package var number: Int
    package var instant: Date
    package var sourceBytes: ByteCount
    package var newBytes: ByteCount
    package var storedBytes: ByteCount
    /// The uuid of the client's repositories, and the SHA-256 of the sealed manifest; nil where they are not known.
    package var repository: UUID?
    package var hash: ContentHash?

    package init(
        number: Int, instant: Date, sourceBytes: ByteCount, newBytes: ByteCount, storedBytes: ByteCount,
        repository: UUID? = nil, hash: ContentHash? = nil
    ) {
        self.repository = repository
        self.hash = hash
        self.number = number
        self.instant = instant
        self.sourceBytes = sourceBytes
        self.newBytes = newBytes
        self.storedBytes = storedBytes
    }
}

extension BackupFigures {
    var repositoryText: String? { repository?.uuidString.lowercased() }
    var hashBytes: Data? { hash.map { Data($0.bytes) } }
}

extension Journal {
    /// Records that a capture begins.
    /// - Parameter started: what the manifest will say too: by it a manifest whose process died finds its entry again.
    /// - Returns: the entry's id, for `finishBackup` or `failBackup`.
    package func beginBackup(client: ClientID, store: StoreName, started: Date? = nil) async throws -> Int64 {
        let now = JournalDate.text(started ?? clock.now)
        return try await write { db in
            try db.execute(
                sql: "INSERT INTO backups (client, store, started) VALUES (?, ?, ?)",
                arguments: [client.text, store.text, now])
            let id = db.lastInsertedRowID
            try self.append(
                db, "backup.started", client: client, payload: ["entry": .integer(id), "store": .text(store.text)])
            return id
        }
    }

    /// - Throws: `JournalError.leaseLost` if another process has taken over.
    package func finishBackup(_ id: Int64, _ figures: BackupFigures, holding lease: LeaseEntry? = nil) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            if let lease { try self.require(lease, db) }
            let entry = try self.openBackup(id, db)
            try db.execute(
                sql: """
                    UPDATE backups SET number = ?, finished = ?, instant = ?, source_bytes = ?, new_bytes = ?,
                        stored_bytes = ?, repository = ?, hash = ?, outcome = 'ok'
                    WHERE id = ?
                    """,
                arguments: [
                    figures.number, now, JournalDate.text(figures.instant), figures.sourceBytes.bytes,
                    figures.newBytes.bytes, figures.storedBytes.bytes, figures.repositoryText, figures.hashBytes, id,
                ])
            try self.append(
                db, "backup.finished", client: entry.client,
                payload: [
                    "entry": .integer(id), "store": .text(entry.store.text), "number": .integer(Int64(figures.number)),
                    "instant": .text(JournalDate.text(figures.instant)),
                    "source": .integer(figures.sourceBytes.bytes), "new": .integer(figures.newBytes.bytes),
                    "stored": .integer(figures.storedBytes.bytes),
                ])
        }
    }

    /// - Throws: `JournalError.leaseLost` if another process has taken over; it has closed the entry, too.
    package func failBackup(_ id: Int64, _ error: any Error, holding lease: LeaseEntry? = nil) async throws {
        let now = JournalDate.text(clock.now)
        let fault = Fault(error)
        try await write { db in
            if let lease { try self.require(lease, db) }
            let entry = try self.openBackup(id, db)
            try db.execute(
                sql: "UPDATE backups SET finished = ?, outcome = 'failed', error_code = ?, error = ? WHERE id = ?",
                arguments: [now, fault.code.rawValue, fault.text, id])
            try self.append(
                db, "backup.failed", client: entry.client,
                payload: fault.payload(["entry": .integer(id), "store": .text(entry.store.text)]))
        }
    }

    /// Closes the entries of captures whose process died. The caller holds the client's lease, so nobody is at work on them.
    package func closeAbandonedBackups(client: ClientID) async throws {
        let now = JournalDate.text(clock.now)
        let fault = Fault(
            code: .failed, text: "its process ended before it could tell; `drp backup list` shows what the store has")
        try await write { db in
            let open = try self.all(
                db, "SELECT * FROM backups WHERE client = ? AND finished IS NULL ORDER BY id", [client.text],
                self.backup)
            for entry in open {
                try db.execute(
                    sql: "UPDATE backups SET finished = ?, outcome = 'failed', error_code = ?, error = ? WHERE id = ?",
                    arguments: [now, fault.code.rawValue, fault.text, entry.id])
                try self.append(
                    db, "backup.failed", client: client,
                    payload: fault.payload(["entry": .integer(entry.id), "store": .text(entry.store.text)]))
            }
        }
    }

    /// Newest first; all clients without `client`.
    package func backups(client: ClientID? = nil, limit: Int = 1000) async throws -> [BackupEntry] {
        try await read { db in
            try self.all(
                db, "SELECT * FROM backups WHERE ? IS NULL OR client = ? ORDER BY id DESC LIMIT ?",
                [client?.text, client?.text, limit], self.backup)
        }
    }

    private func openBackup(_ id: Int64, _ db: Database) throws -> BackupEntry {
        guard let entry = try first(db, "SELECT * FROM backups WHERE id = ?", [id], backup), entry.finished == nil
        else {
            throw JournalError(.missing, "unfinished backup entry \(id)")
        }
        return entry
    }

    func backup(_ columns: Columns) throws -> BackupEntry {
        BackupEntry(
            id: try columns.integer("id"), client: try columns.value("client", ClientID.init(_:)),
            store: try columns.value("store", StoreName.init(_:)), number: columns.integerIfAny("number").map(Int.init),
            started: try columns.date("started"), finished: try columns.dateIfAny("finished"),
            instant: try columns.dateIfAny("instant"), sourceBytes: try columns.bytes("source_bytes"),
            newBytes: try columns.bytes("new_bytes"), storedBytes: try columns.bytes("stored_bytes"),
            outcome: try columns.valueIfAny("outcome", EntryOutcome.init(rawValue:)),
            errorCode: columns.errorCode, error: columns.textIfAny("error"),
            missing: try columns.dateIfAny("missing"))
    }
}

extension Journal {
    /// Records that a scheduled job begins.
    /// - Returns: the entry's id, for `finishJob`.
    package func beginJob(client: ClientID, kind: String, due: Date) async throws -> Int64 {
        let now = JournalDate.text(clock.now)
        return try await write { db in
            try db.execute(
                sql: "INSERT INTO jobs (client, kind, due, started) VALUES (?, ?, ?, ?)",
                arguments: [client.text, kind, JournalDate.text(due), now])
            let id = db.lastInsertedRowID
            try self.append(
                db, "job.started", client: client,
                payload: ["entry": .integer(id), "kind": .text(kind), "due": .text(JournalDate.text(due))])
            return id
        }
    }

    /// - Parameter error: nil if the job succeeded.
    package func finishJob(_ id: Int64, error: (any Error)? = nil) async throws {
        let now = JournalDate.text(clock.now)
        let fault = error.map { Fault($0) }
        try await write { db in
            guard let entry = try self.first(db, "SELECT * FROM jobs WHERE id = ?", [id], self.job),
                entry.finished == nil
            else { throw JournalError(.missing, "unfinished job entry \(id)") }
            try db.execute(
                sql: "UPDATE jobs SET finished = ?, outcome = ?, error_code = ?, error = ? WHERE id = ?",
                arguments: [now, fault == nil ? "ok" : "failed", fault?.code.rawValue, fault?.text, id])
            let facts: [String: JSONValue] = ["entry": .integer(id), "kind": .text(entry.kind)]
            try self.append(
                db, fault == nil ? "job.finished" : "job.failed", client: entry.client,
                payload: fault?.payload(facts) ?? .object(facts))
        }
    }

    /// For each client and kind the job that was due last: what the scheduler goes on from.
    package func lastJobs() async throws -> [JobEntry] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT * FROM jobs AS a WHERE id = (
                    SELECT id FROM jobs AS b WHERE b.client = a.client AND b.kind = a.kind
                    ORDER BY id DESC LIMIT 1)
                ORDER BY client, kind
                """, [], self.job)
        }
    }

    /// Newest first.
    package func jobs(client: ClientID? = nil, limit: Int = 1000) async throws -> [JobEntry] {
        try await read { db in
            try self.all(
                db, "SELECT * FROM jobs WHERE ? IS NULL OR client = ? ORDER BY id DESC LIMIT ?",
                [client?.text, client?.text, limit], self.job)
        }
    }

    private func job(_ columns: Columns) throws -> JobEntry {
        JobEntry(
            id: try columns.integer("id"), client: try columns.value("client", ClientID.init(_:)),
            kind: try columns.text("kind"), due: try columns.date("due"), started: try columns.date("started"),
            finished: try columns.dateIfAny("finished"),
            outcome: try columns.valueIfAny("outcome", EntryOutcome.init(rawValue:)),
            errorCode: columns.errorCode, error: columns.textIfAny("error"))
    }
}

/// An error as the journal keeps it.
package struct Fault: Sendable, Codable, Hashable {
    package var code: ErrorCode
    /// One sentence, at most 2,000 characters.
    package var text: String

    package init(code: ErrorCode, text: String) {
        self.code = code
        self.text = String(text.prefix(2000))
    }

    package init(_ error: any Error) {
        switch error {
        case let error as any DRPError: self.init(code: error.code, text: error.message)
        case is CancellationError: self.init(code: .busy, text: "it was interrupted")
        // Only the type: the text of a foreign error may hold anything, also a password.
        default: self.init(code: .failed, text: "an unexpected error of type \(type(of: error))")
        }
    }

    func payload(_ facts: [String: JSONValue]) -> JSONValue {
        .object(facts.merging(["code": .text(code.rawValue), "error": .text(text)]) { $1 })
    }
}

extension Columns {
    /// nil also for a code that only a newer version knows.
    var errorCode: ErrorCode? { textIfAny("error_code").flatMap(ErrorCode.init(rawValue:)) }
}
