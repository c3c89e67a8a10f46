package import Foundation
internal import GRDB

/// In which stores a backup is: one that not all stores of its policy have is partial.
extension Journal {
    /// The number and hash of the newest backup that any store took.
    /// - Parameter repository: the uuid of the client's repositories: numbers of others are another chain's.
    package func newestBackup(client: ClientID, repository: UUID) async throws -> (number: Int, hash: ContentHash)? {
        try await read { db in
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT number, hash FROM backups
                    WHERE client = ? AND repository = ? AND outcome = 'ok' AND hash IS NOT NULL
                    ORDER BY number DESC, id DESC LIMIT 1
                    """, arguments: [client.text, repository.uuidString.lowercased()])
            guard let row, let number = Int.fromDatabaseValue(row["number"]),
                let bytes = Data.fromDatabaseValue(row["hash"]), let hash = ContentHash(Array(bytes)[...])
            else { return nil }
            return (number, hash)
        }
    }

    /// Says that stores of the policy do not have a backup, and why: `backup.partial`.
    package func recordPartial(
        client: ClientID, repository: UUID, number: Int, stores: [StoreName],
        lacking: [(store: StoreName, why: any Error)]
    ) async throws {
        let now = JournalDate.text(clock.now)
        let reasons = lacking.map { store, why -> JSONValue in
            Fault(why).payload(["store": .text(store.text)])
        }
        try await write { db in
            try self.setLacking(db, client, repository, number, lacking.map(\.store.text), since: now)
            try self.append(
                db, "backup.partial", client: client,
                payload: [
                    "number": .integer(Int64(number)), "stores": .list(stores.map { .text($0.text) }),
                    "lacking": .list(reasons),
                ])
        }
    }

    /// Says that every store of the policy has the backup: `backup.complete`.
    package func recordComplete(
        client: ClientID, repository: UUID, number: Int, stores: [StoreName]
    ) async throws {
        try await write { db in try self.complete(db, client, repository, number, stores) }
    }

    /// Takes note of what stores hold now: a partial backup that nothing lacks any more is complete.
    /// - Parameters:
    ///   - stores: all of the policy.
    ///   - held: of those that could be asked, the numbers that they hold, or need not hold any more.
    ///   - gone: what was let go in any store.
    package func settlePartial(
        client: ClientID, repository: UUID, stores: [StoreName], held: [StoreName: Set<Int>], gone: Set<Int>
    ) async throws {
        let names = Set(stores.map(\.text))
        try await write { db in
            let rows = try Row.fetchAll(
                db,
                sql:
                    "SELECT number, lacking, since FROM partial_backups WHERE client = ? AND repository = ? ORDER BY number",
                arguments: [client.text, repository.uuidString.lowercased()])
            for row in rows {
                guard let number = Int.fromDatabaseValue(row["number"]),
                    let text = String.fromDatabaseValue(row["lacking"]),
                    let since = String.fromDatabaseValue(row["since"])
                else { continue }
                let before = try JSONValue(json: text).list?.compactMap(\.text) ?? []
                let lacking = before.filter { store in
                    names.contains(store) && held[StoreName(unchecked: store)]?.contains(number) != true
                }
                if gone.contains(number) {
                    try self.forget(db, client, repository, number)
                } else if lacking.isEmpty {
                    try self.complete(db, client, repository, number, stores)
                } else if lacking != before {
                    try self.setLacking(db, client, repository, number, lacking, since: since)
                }
            }
        }
    }

    /// Backups that some store lacked when it was last asked: their numbers, and those stores.
    package func partialBackups(client: ClientID, repository: UUID) async throws -> [Int: [StoreName]] {
        try await read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT number, lacking FROM partial_backups WHERE client = ? AND repository = ?",
                arguments: [client.text, repository.uuidString.lowercased()])
            var found: [Int: [StoreName]] = [:]
            for row in rows {
                guard let number = Int.fromDatabaseValue(row["number"]),
                    let text = String.fromDatabaseValue(row["lacking"])
                else { continue }
                found[number] = try JSONValue(json: text).list?.compactMap { $0.text.flatMap { StoreName($0) } } ?? []
            }
            return found
        }
    }

    private func complete(
        _ db: Database, _ client: ClientID, _ repository: UUID, _ number: Int, _ stores: [StoreName]
    ) throws {
        try forget(db, client, repository, number)
        try append(
            db, "backup.complete", client: client,
            payload: ["number": .integer(Int64(number)), "stores": .list(stores.map { .text($0.text) })])
    }

    private func forget(_ db: Database, _ client: ClientID, _ repository: UUID, _ number: Int) throws {
        try db.execute(
            sql: "DELETE FROM partial_backups WHERE client = ? AND repository = ? AND number = ?",
            arguments: [client.text, repository.uuidString.lowercased(), number])
    }

    private func setLacking(
        _ db: Database, _ client: ClientID, _ repository: UUID, _ number: Int, _ lacking: [String], since: String
    ) throws {
        try db.execute(
            sql: """
                INSERT OR REPLACE INTO partial_backups (client, repository, number, lacking, since)
                VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [
                client.text, repository.uuidString.lowercased(), number,
                try JSONValue.list(lacking.map { .text($0) }).json(), since,
            ])
    }
}
