package import Foundation
internal import GRDB

/// The best that a store was ever seen to do.
package struct SeenTraits: Sendable, Codable, Hashable {
    package var keepsVersions: Bool
    package var locks: Bool

    package init(keepsVersions: Bool, locks: Bool) {
        self.keepsVersions = keepsVersions
        self.locks = locks
    }
}

/// A backup that a store should hold.
package struct HeldBackup: Sendable, Hashable {
    package var number: Int
    package var instant: Date
    /// SHA-256 of its sealed manifest, if the journal has it.
    package var hash: ContentHash?
}

/// What the journal knows of stores, to compare them with.
extension Journal {
    package func seenTraits(of store: StoreName) async throws -> SeenTraits {
        let last = try await read { db in
            try self.first(
                db,
                """
                SELECT * FROM events WHERE kind = 'store.seen' AND json_extract(payload, '$.store') = ?
                ORDER BY id DESC LIMIT 1
                """, [store.text], self.event)
        }
        guard let last else { return SeenTraits(keepsVersions: false, locks: false) }
        do { return try last.payload.decode(SeenTraits.self) } catch {
            throw JournalError(.damaged, path, cause: "event \(last.id) holds what drp never writes")
        }
    }

    package func recordTraits(_ traits: SeenTraits, of store: StoreName) async throws {
        try await append(
            event: "store.seen",
            payload: [
                "store": .text(store.text), "keepsVersions": .boolean(traits.keepsVersions),
                "locks": .boolean(traits.locks),
            ])
    }

    /// Backups that are in a store as far as the journal knows, by number; of the repository with that uuid.
    package func heldBackups(client: ClientID, store: StoreName, repository: UUID) async throws -> [HeldBackup] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT number, instant, hash FROM backups
                WHERE client = ? AND store = ? AND repository = ? AND outcome = 'ok' AND missing IS NULL
                ORDER BY number
                """, [client.text, store.text, repository.uuidString.lowercased()]
            ) { columns in
                HeldBackup(
                    number: Int(try columns.integer("number")), instant: try columns.date("instant"),
                    hash: Data.fromDatabaseValue(columns.row["hash"]).flatMap { ContentHash(Array($0)[...]) })
            }
        }
    }

    /// When the first of the tries failed that a store has refused since the last one that went well; nil if it did not.
    package func failingSince(client: ClientID, store: StoreName) async throws -> Date? {
        let codes: [ErrorCode] = [
            .storeUnreachable, .storeFull, .storeUnsupported, .repositoryDenied, .repositoryMissing, .repositoryDamaged,
            .clocksDiffer,
        ]
        let list = codes.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        return try await read { db in
            try self.first(
                db,
                """
                SELECT min(started) AS since FROM backups
                WHERE client = ?1 AND store = ?2 AND outcome = 'failed' AND error_code IN (\(list)) AND id > (
                    SELECT coalesce(max(id), 0) FROM backups WHERE client = ?1 AND store = ?2 AND outcome = 'ok')
                """, [client.text, store.text]
            ) { try $0.dateIfAny("since") } ?? nil
        }
    }

    /// When all locks of a client's backups in a store were renewed last.
    package func lastRenewal(of client: ClientID, in store: StoreName) async throws -> Date? {
        try await read { db in
            try self.first(
                db,
                """
                SELECT * FROM events WHERE client = ? AND kind = 'locks.renewed'
                    AND json_extract(payload, '$.store') = ? ORDER BY id DESC LIMIT 1
                """, [client.text, store.text], self.event)?.at
        }
    }
}
