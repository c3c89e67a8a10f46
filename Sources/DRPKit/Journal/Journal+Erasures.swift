package import Foundation
internal import GRDB

/// That a client was erased, as the journal knows it.
package struct ErasureEntry: Sendable, Codable, Hashable {
    /// When it began: from then on nothing of the client is written any more.
    package var begun: Date
    /// Of its repositories.
    package var repository: UUID
    /// The newest receipt; nil before the first run ended.
    package var receipt: JSONValue?
}

extension Journal {
    /// Says that a client is erased from now on: its backups are no longer there for anybody who asks the journal. Once said,
    /// it is never taken back; a second call changes nothing.
    /// - Returns: as it stands in the journal.
    @discardableResult
    package func beginErasure(of client: ClientID, repository: UUID) async throws -> ErasureEntry {
        let now = JournalDate.text(clock.now)
        try await write { db in
            if try self.erasureEvent(db, "erase.begun", client) != nil { return }
            try self.append(
                db, "erase.begun", client: client,
                payload: ["repository": .text(repository.uuidString.lowercased())])
            try db.execute(
                sql: "UPDATE backups SET missing = ? WHERE client = ? AND missing IS NULL",
                arguments: [now, client.text])
        }
        guard let entry = try await erasure(of: client) else {
            preconditionFailure("an event that was appended is lost")
        }
        return entry
    }

    /// Keeps the receipt of a run that ended.
    package func recordErasure(of client: ClientID, receipt: JSONValue) async throws {
        try await append(event: "erase.done", client: client, payload: receipt)
    }

    /// nil for a client that was not erased.
    package func erasure(of client: ClientID) async throws -> ErasureEntry? {
        let (begun, done) = try await read { db in
            (try self.erasureEvent(db, "erase.begun", client), try self.erasureEvent(db, "erase.done", client))
        }
        guard let begun else { return nil }
        guard let repository = begun.payload.object?["repository"]?.text.flatMap({ UUID(uuidString: $0) }) else {
            throw JournalError(.damaged, path, cause: "event \(begun.id) holds what drp never writes")
        }
        return ErasureEntry(begun: begun.at, repository: repository, receipt: done?.payload)
    }

    /// - Throws: `ClientErasedError` for a client that was erased.
    package func requireNotErased(_ client: ClientID) async throws {
        if let erasure = try await erasure(of: client) {
            throw ClientErasedError(client: client, begun: erasure.begun)
        }
    }

    private func erasureEvent(_ db: Database, _ kind: String, _ client: ClientID) throws -> EventEntry? {
        try first(
            db, "SELECT * FROM events WHERE kind = ? AND client = ? ORDER BY id DESC LIMIT 1", [kind, client.text],
            event)
    }
}

/// Something was asked for a client that was erased.
package struct ClientErasedError: DRPError, Equatable {
    package var client: ClientID
    package var begun: Date

    package var code: ErrorCode { .clientErased }
    package var message: String { "client \(client) was erased on \(begun.formatted(.iso8601))" }
}
