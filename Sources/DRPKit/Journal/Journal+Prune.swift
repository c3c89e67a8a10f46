package import Foundation
internal import GRDB

/// A hold as the journal knows it.
package struct HoldEntry: Sendable, Codable, Hashable {
    package var at: Date
    package var reason: String
}

/// What the last prune of a repository left: see `prune.done` in `docs/journal.md`.
package struct PruneHistory: Sendable, Codable, Hashable {
    /// The newest whole backup when backups were last marked.
    package var newest: Int?
    /// The rules by which it pruned; nil for none.
    package var keep: Policy.Keep?

    package init(newest: Int?, keep: Policy.Keep?) {
        self.newest = newest
        self.keep = keep
    }
}

extension Journal {
    package func setHold(of client: ClientID, reason: String) async throws {
        try await append(event: "hold.set", client: client, payload: ["reason": .text(reason)])
    }

    package func releaseHold(of client: ClientID) async throws {
        try await append(event: "hold.released", client: client)
    }

    /// The client's hold; nil if none was set, or the last one was released.
    package func hold(of client: ClientID) async throws -> HoldEntry? {
        guard let event = try await newestEvent(["hold.set", "hold.released"], of: client), event.kind == "hold.set"
        else { return nil }
        return HoldEntry(at: event.at, reason: event.payload.object?["reason"]?.text ?? "")
    }

    package func recordPrune(
        of client: ClientID, in store: StoreName, _ entry: PruneHistory, removed: JSONValue
    ) async throws {
        var fields = try JSONValue(encoding: entry).object ?? [:]
        fields["store"] = .text(store.text)
        fields["removed"] = removed
        try await append(event: "prune.done", client: client, payload: .object(fields))
    }

    package func lastPrune(of client: ClientID, in store: StoreName) async throws -> PruneHistory? {
        guard let event = try await newestEvent(["prune.done"], of: client, store: store) else { return nil }
        do { return try event.payload.decode(PruneHistory.self) } catch {
            throw JournalError(.damaged, path, cause: "event \(event.id) holds what drp never writes")
        }
    }

    private func newestEvent(
        _ kinds: [String], of client: ClientID, store: StoreName? = nil
    ) async throws -> EventEntry? {
        try await read { db in
            try self.first(
                db,
                """
                SELECT * FROM events WHERE client = ? AND kind IN (?, ?)
                    AND (? IS NULL OR json_extract(payload, '$.store') = ?) ORDER BY id DESC LIMIT 1
                """,
                [client.text, kinds.first, kinds.last, store?.text, store?.text], self.event)
        }
    }
}
