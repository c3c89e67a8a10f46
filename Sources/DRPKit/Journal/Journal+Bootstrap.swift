package import Foundation
internal import GRDB

/// A bundle that was stored, as the journal remembers it.
package struct BundleEntry: Sendable, Codable, Hashable {
    package var store: StoreName
    package var number: Int
    /// SHA-256 over what it is made from; equal for bundles that bring the same back.
    package var content: ContentHash
    package var bytes: Int64
    /// What the fleet file names and could not be read then.
    package var lacks: [String]

    package init(store: StoreName, number: Int, content: ContentHash, bytes: Int64, lacks: [String]) {
        self.store = store
        self.number = number
        self.content = content
        self.bytes = bytes
        self.lacks = lacks
    }
}

/// How the newest bundle of a store stands.
package struct BundleState: Sendable, Hashable {
    /// nil before the first one.
    package var entry: BundleEntry?
    package var stored: Date?
    /// Why the newest try failed; nil if it did not.
    package var failure: String?
}

extension Journal {
    package func recordBundle(_ entry: BundleEntry) async throws {
        try await append(event: "bootstrap.stored", payload: try JSONValue(encoding: entry))
    }

    /// - Parameter store: nil if no bundle could be made at all.
    package func recordBundleFailure(in store: StoreName?, _ error: any Error) async throws {
        var facts: [String: JSONValue] = [:]
        if let store { facts["store"] = .text(store.text) }
        try await append(event: "bootstrap.failed", payload: Fault(error).payload(facts))
    }

    package func bundleState(in store: StoreName) async throws -> BundleState {
        let (stored, failed) = try await read { db in
            (
                try self.newest(db, "bootstrap.stored", store, orNone: false),
                try self.newest(db, "bootstrap.failed", store, orNone: true)
            )
        }
        var state = BundleState()
        do { state.entry = try stored?.payload.decode(BundleEntry.self) } catch {
            throw JournalError(.damaged, path, cause: "an event holds what drp never writes")
        }
        state.stored = stored?.at
        if let failed, failed.id > stored?.id ?? 0 { state.failure = failed.payload.object?["error"]?.text ?? "" }
        return state
    }

    /// The number of the newest bundle that lacked nothing.
    package func newestWholeBundle(in store: StoreName) async throws -> Int? {
        try await read { db in
            try Int.fetchOne(
                db,
                sql: """
                    SELECT json_extract(payload, '$.number') FROM events WHERE kind = 'bootstrap.stored'
                        AND json_extract(payload, '$.store') = ? AND json_array_length(payload, '$.lacks') = 0
                    ORDER BY id DESC LIMIT 1
                    """, arguments: [store.text])
        }
    }

    /// - Parameter orNone: whether an event that names no store is about this one too.
    private func newest(_ db: Database, _ kind: String, _ store: StoreName, orNone: Bool) throws -> EventEntry? {
        try first(
            db,
            """
            SELECT * FROM events WHERE kind = ?
                AND (json_extract(payload, '$.store') = ? OR (? AND json_extract(payload, '$.store') IS NULL))
            ORDER BY id DESC LIMIT 1
            """, [kind, store.text, orNone], event)
    }

    /// Takes over what a machine that is lost left open in a copy of its journal: nobody holds a lease any more, and runs
    /// that it was at work on wait, so that they can be resumed.
    /// - Parameter payload: of the event `bootstrap.opened`.
    /// - Returns: the runs that can be resumed, those that waited already among them.
    package func takeOver(payload: JSONValue) async throws -> [RunID] {
        let now = JournalDate.text(clock.now)
        let fault = Fault(code: .failed, text: "the machine that worked on it was lost")
        return try await write { db in
            try self.append(db, "bootstrap.opened", client: nil, payload: payload)
            try db.execute(sql: "UPDATE leases SET held = 0")
            let running = try self.all(db, "SELECT * FROM runs WHERE state = 'running' ORDER BY id", []) {
                (try $0.value("id", RunID.init(_:)), try $0.value("client", ClientID.init(_:)))
            }
            for (id, client) in running {
                try db.execute(
                    sql: """
                        UPDATE attempts SET finished = ?, error_code = ?, error = ? WHERE run = ? AND finished IS NULL
                        """, arguments: [now, fault.code.rawValue, fault.text, id.text])
                try db.execute(
                    sql: "UPDATE steps SET state = 'failed', finished = ? WHERE run = ? AND state = 'active'",
                    arguments: [now, id.text])
                try db.execute(
                    sql: "UPDATE runs SET state = 'paused', error_code = ?, error = ? WHERE id = ?",
                    arguments: [fault.code.rawValue, fault.text, id.text])
                try self.append(db, "run.interrupted", client: client, run: id)
            }
            return try self.all(db, "SELECT id FROM runs WHERE state = 'paused' ORDER BY id", []) {
                try $0.value("id", RunID.init(_:))
            }
        }
    }

    /// Says that the files of a client's last placement lie elsewhere now: not that the client has moved.
    package func relocate(_ client: ClientID, services: JSONValue) async throws {
        try await write { db in
            try db.execute(
                sql: """
                    UPDATE placements SET services = ? WHERE client = ?
                        AND epoch = (SELECT MAX(epoch) FROM placements WHERE client = ?)
                    """, arguments: [try services.json(), client.text, client.text])
            try self.append(db, "client.relocated", client: client, payload: ["services": services])
        }
    }
}
