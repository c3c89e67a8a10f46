internal import Foundation
internal import GRDB

extension Journal {
    /// Appends an event of the caller's own; the methods that change other tables append theirs themselves.
    package func append(
        event kind: String, client: ClientID? = nil, run: RunID? = nil, step: String? = nil, payload: JSONValue = [:]
    ) async throws {
        try await write { db in
            try self.append(db, kind, client: client, run: run, step: step, payload: payload)
        }
    }

    /// Appends to the chain inside the caller's transaction.
    func append(
        _ db: Database, _ kind: String, client: ClientID?, run: RunID? = nil, step: String? = nil,
        payload: JSONValue = [:]
    ) throws {
        let last = try Row.fetchOne(db, sql: "SELECT id, hash FROM events ORDER BY id DESC LIMIT 1")
        let previous: ContentHash = if let last { try chained(last) } else { EventChain.start }
        let id = (last.flatMap { Int64.fromDatabaseValue($0["id"]) } ?? 0) + 1
        let at = JournalDate.text(clock.now)
        let json = try payload.json()
        let hash = EventChain.hash(
            after: previous, fields: [String(id), at, kind, client?.text, run?.text, step, json])
        try db.execute(
            sql: "INSERT INTO events (id, at, kind, client, run, step, payload, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            arguments: [id, at, kind, client?.text, run?.text, step, json, Data(hash.bytes)])
    }

    /// - Parameters:
    ///   - after: events with a greater id.
    ///   - limit: the most that are returned, oldest first.
    package func events(
        run: RunID? = nil, client: ClientID? = nil, after: Int64 = 0, limit: Int = 1000
    ) async throws -> [EventEntry] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT * FROM events WHERE id > ? AND (? IS NULL OR run = ?) AND (? IS NULL OR client = ?)
                ORDER BY id LIMIT ?
                """, [after, run?.text, run?.text, client?.text, client?.text, limit], self.event)
        }
    }

    /// The newest `limit` events, oldest first.
    package func newestEvents(
        run: RunID? = nil, client: ClientID? = nil, kind: String? = nil, limit: Int
    ) async throws -> [EventEntry] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT * FROM events
                WHERE (? IS NULL OR run = ?) AND (? IS NULL OR client = ?) AND (? IS NULL OR kind = ?)
                ORDER BY id DESC LIMIT ?
                """, [run?.text, run?.text, client?.text, client?.text, kind, kind, limit], self.event
            ).reversed()
        }
    }

    /// Computes every hash again, and looks for holes and for a cut end.
    /// - Parameter noted: what is to be proven too: that the chain up to the event of this hash is the one of then.
    package func verifyEvents(noted: NotedHead? = nil) async throws -> EventVerdict {
        try await read { db in
            var verdict = EventVerdict(count: 0, head: EventChain.start, problems: [])
            var isChainWhole = true
            var lastID: Int64 = 0
            let rows = try Row.fetchCursor(
                db, sql: "SELECT id, at, kind, client, run, step, payload, hash FROM events ORDER BY id")
            while let row = try rows.next() {
                let id = Int64.fromDatabaseValue(row["id"]) ?? 0
                if id <= lastID {
                    verdict.problems.append("event \(id) cannot be in the journal: the first one is 1")
                } else if id != lastID + 1 {
                    verdict.problems.append("events \(lastID + 1) to \(id - 1) are missing")
                }
                let fields = ["at", "kind", "client", "run", "step", "payload"].map {
                    String.fromDatabaseValue(row[$0])
                }
                let hash = try self.chained(row)
                if isChainWhole, EventChain.hash(after: verdict.head, fields: [String(id)] + fields) != hash {
                    verdict.problems.append("event \(id) is not what was written, or the one before it is not")
                    verdict.firstBroken = id
                    isChainWhole = false
                }
                // Only a hash that was computed from the very first event on proves anything.
                if isChainWhole, let noted, noted.fits(id, hash) { verdict.proven = id }
                verdict.head = hash
                verdict.count += 1
                lastID = id
            }
            // SQLite remembers the greatest id ever given out (sqlite.org/autoinc.html).
            let given = try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'events'") ?? 0
            if given > lastID { verdict.problems.append("events \(lastID + 1) to \(given) are missing at the end") }
            if let noted, verdict.proven == nil { verdict.problems.append(noted.absence) }
            return verdict
        }
    }

    private func chained(_ row: Row) throws -> ContentHash {
        guard let data = Data.fromDatabaseValue(row["hash"]), let hash = ContentHash(data) else {
            throw JournalError(.damaged, path, cause: "an event has no hash")
        }
        return hash
    }

    func event(_ columns: Columns) throws -> EventEntry {
        EventEntry(
            id: try columns.integer("id"), at: try columns.date("at"), kind: try columns.text("kind"),
            client: try columns.valueIfAny("client", ClientID.init(_:)),
            run: try columns.valueIfAny("run", RunID.init(_:)), step: columns.textIfAny("step"),
            payload: try columns.json("payload"), hash: try chained(columns.row))
    }
}
