package import Foundation
internal import GRDB

/// A backup as its manifest in a store tells it.
package struct CatalogBackup: Sendable, Hashable {
    package var figures: BackupFigures
    package var started: Date
    package var finished: Date

    package init(figures: BackupFigures, started: Date, finished: Date) {
        self.figures = figures
        self.started = started
        self.finished = finished
    }

    fileprivate var key: CatalogKey { CatalogKey(number: figures.number, instant: JournalDate.text(figures.instant)) }
}

/// What tells one backup of a client and store from every other: numbers begin again in a repository made anew.
private struct CatalogKey: Hashable {
    var number: Int
    var instant: String
}

/// How the journal's table differed from one store. Numbers of backups, in order.
package struct CatalogChange: Sendable, Codable, Hashable {
    /// In both.
    package var known: [Int] = []
    /// In the store only: the journal has them now.
    package var adopted: [Int] = []
    /// In the journal only: marked, not deleted.
    package var missing: [Int] = []
    /// Marked as missing earlier, and in the store again.
    package var returned: [Int] = []

    package init() {}
}

extension Journal {
    /// What a process that begins to work on a client has to know of what others left behind in one store.
    package struct CatalogGap: Sendable, Hashable {
        /// Numbers of the backups that the journal has.
        package var known: Set<Int>
        /// Whether a process ended before it could tell what became of its backup.
        package var hasOpenEntries: Bool
    }

    package func catalogGap(client: ClientID, store: StoreName) async throws -> CatalogGap {
        try await read { db in
            let rows = try self.rows(db, client, store)
            return CatalogGap(
                known: Set(rows.filter { $0.outcome == .ok }.compactMap(\.number)),
                hasOpenEntries: rows.contains { $0.finished == nil })
        }
    }

    /// Takes over backups that are in the store and that the journal does not know; each once, however often it is
    /// called. The entry of the try that made it, if there is one, becomes its entry. The caller holds the client's lease.
    /// - Returns: their numbers, in order.
    @discardableResult
    package func adoptBackups(client: ClientID, store: StoreName, _ found: [CatalogBackup]) async throws -> [Int] {
        try await write { db in try self.adopt(db, client, store, found) }
    }

    /// Compares the whole table with the whole store: adopts what it lacks, marks what the store lacks.
    /// The caller holds the client's lease.
    /// - Parameter unreadable: numbers that are in the store and cannot be read: neither adopted nor missing.
    package func reconcileBackups(
        client: ClientID, store: StoreName, found: [CatalogBackup], unreadable: Set<Int>
    ) async throws -> CatalogChange {
        let now = JournalDate.text(clock.now)
        return try await write { db in
            var change = CatalogChange()
            let inStore = Set(found.map(\.key))
            for entry in try self.rows(db, client, store).sorted(by: { ($0.number ?? 0) < ($1.number ?? 0) }) {
                guard let key = entry.catalogKey, !unreadable.contains(key.number) else { continue }
                let facts: JSONValue = [
                    "entry": .integer(entry.id), "store": .text(store.text), "number": .integer(Int64(key.number)),
                ]
                if inStore.contains(key) {
                    change.known.append(key.number)
                    guard entry.missing != nil else { continue }
                    change.returned.append(key.number)
                    try db.execute(sql: "UPDATE backups SET missing = NULL WHERE id = ?", arguments: [entry.id])
                    try self.append(db, "backup.returned", client: client, payload: facts)
                } else {
                    change.missing.append(key.number)
                    guard entry.missing == nil else { continue }
                    try db.execute(sql: "UPDATE backups SET missing = ? WHERE id = ?", arguments: [now, entry.id])
                    try self.append(db, "backup.missing", client: client, payload: facts)
                }
            }
            change.adopted = try self.adopt(db, client, store, found)
            return change
        }
    }

    private func adopt(
        _ db: Database, _ client: ClientID, _ store: StoreName, _ found: [CatalogBackup]
    ) throws -> [Int] {
        let rows = try rows(db, client, store)
        let known = Set(rows.compactMap(\.catalogKey))
        let tries = Dictionary(
            rows.filter { $0.outcome != .ok }.map { (JournalDate.text($0.started), $0.id) },
            uniquingKeysWith: { $1 })
        var adopted: [Int] = []
        for backup in found.sorted(by: { $0.figures.number < $1.figures.number }) where !known.contains(backup.key) {
            let started = JournalDate.text(backup.started)
            let entry = try tries[started] ?? insert(db, client, store, started)
            let figures = backup.figures
            try db.execute(
                sql: """
                    UPDATE backups SET number = ?, finished = ?, instant = ?, source_bytes = ?, new_bytes = ?,
                        stored_bytes = ?, repository = ?, hash = ?, outcome = 'ok', error_code = NULL, error = NULL
                    WHERE id = ?
                    """,
                arguments: [
                    figures.number, JournalDate.text(backup.finished), backup.key.instant, figures.sourceBytes.bytes,
                    figures.newBytes.bytes, figures.storedBytes.bytes, figures.repositoryText, figures.hashBytes, entry,
                ])
            try append(
                db, "backup.adopted", client: client,
                payload: [
                    "entry": .integer(entry), "store": .text(store.text), "number": .integer(Int64(figures.number)),
                    "instant": .text(backup.key.instant),
                ])
            adopted.append(figures.number)
        }
        return adopted
    }

    private func insert(_ db: Database, _ client: ClientID, _ store: StoreName, _ started: String) throws -> Int64 {
        try db.execute(
            sql: "INSERT INTO backups (client, store, started) VALUES (?, ?, ?)",
            arguments: [client.text, store.text, started])
        return db.lastInsertedRowID
    }

    private func rows(_ db: Database, _ client: ClientID, _ store: StoreName) throws -> [BackupEntry] {
        try all(
            db, "SELECT * FROM backups WHERE client = ? AND store = ? ORDER BY id", [client.text, store.text], backup)
    }
}

extension BackupEntry {
    /// nil for a try that made no backup.
    fileprivate var catalogKey: CatalogKey? {
        guard outcome == .ok, let number, let instant else { return nil }
        return CatalogKey(number: number, instant: JournalDate.text(instant))
    }
}
