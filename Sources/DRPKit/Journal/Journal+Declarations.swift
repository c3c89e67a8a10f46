package import Foundation
internal import GRDB

/// A site that somebody has declared lost: the clock of its clients' recovery time runs from then on.
package struct Declaration: Sendable, Codable, Hashable {
    package var site: SiteName
    package var at: Date
    package var by: String
    package var reason: String?
}

extension Journal {
    /// Declares a site lost. Said a second time it changes nothing: the clock started with the first.
    package func declare(_ site: SiteName, by person: String, reason: String?) async throws -> Declaration {
        let now = JournalDate.rounded(clock.now)
        let facts: [String: JSONValue] = [
            "site": .text(site.text), "by": .text(person), "reason": reason.map { .text($0) } ?? .null,
        ]
        return try await write { db -> Declaration in
            if let known = try self.declaration(site, db) { return known }
            let declaration = Declaration(site: site, at: now, by: person, reason: reason)
            try db.execute(
                sql: "INSERT INTO declarations (site, at, person, reason) VALUES (?, ?, ?, ?)",
                arguments: [site.text, JournalDate.text(now), person, reason])
            try self.append(db, "failover.declared", client: nil, payload: .object(facts))
            return declaration
        }
    }

    /// Takes a declaration back: the site is there again, or was never lost.
    /// - Returns: nil if there was none.
    package func withdraw(_ site: SiteName, by person: String, reason: String) async throws -> Declaration? {
        let now = JournalDate.text(clock.now)
        return try await write { db -> Declaration? in
            guard let known = try self.declaration(site, db) else { return nil }
            try db.execute(
                sql: "UPDATE declarations SET ended = ? WHERE site = ? AND ended IS NULL", arguments: [now, site.text])
            try self.append(
                db, "failover.withdrawn", client: nil,
                payload: ["site": .text(site.text), "by": .text(person), "reason": .text(reason)])
            return known
        }
    }

    /// - Returns: nil unless the site is declared lost.
    package func declaration(of site: SiteName) async throws -> Declaration? {
        try await read { db in try self.declaration(site, db) }
    }

    /// All sites that are declared lost.
    package func declarations() async throws -> [Declaration] {
        try await read { db in
            try self.all(db, "SELECT * FROM declarations WHERE ended IS NULL ORDER BY at", [], self.declaration)
        }
    }

    private func declaration(_ site: SiteName, _ db: Database) throws -> Declaration? {
        try first(
            db, "SELECT * FROM declarations WHERE site = ? AND ended IS NULL", [site.text], self.declaration)
    }

    private func declaration(_ columns: Columns) throws -> Declaration {
        Declaration(
            site: try columns.value("site", SiteName.init(_:)), at: try columns.date("at"),
            by: try columns.text("person"), reason: columns.textIfAny("reason"))
    }
}

/// The newest backup that a client can come back from.
package struct RestorePoint: Sendable, Codable, Hashable {
    package var number: Int
    package var instant: Date
    package var sourceBytes: ByteCount
}

extension Journal {
    /// For each client its newest backup that some store still has, by what the journal knows.
    /// - Parameter limit: not younger than this.
    package func restorePoints(until limit: Date? = nil) async throws -> [ClientID: RestorePoint] {
        let text = limit.map(JournalDate.text)
        return try await read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT client, number, instant, source_bytes, MAX(instant) FROM backups
                    WHERE outcome = 'ok' AND missing IS NULL AND (?1 IS NULL OR instant <= ?1)
                    GROUP BY client
                    """, arguments: [text])
            var points: [ClientID: RestorePoint] = [:]
            for row in rows {
                let columns = Columns(row: row, path: self.path)
                points[try columns.value("client", ClientID.init(_:))] = RestorePoint(
                    number: Int(try columns.value32("number")), instant: try columns.date("instant"),
                    sourceBytes: try columns.bytes("source_bytes"))
            }
            return points
        }
    }
}
