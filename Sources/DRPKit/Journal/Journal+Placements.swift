internal import Foundation
internal import GRDB

extension Journal {
    /// Records that a client lives at `site` from now on.
    /// - Parameters:
    ///   - services: addresses and paths of secret files, never a secret; null for those of the fleet file.
    ///   - run: the run that switched; asked a second time for the same run and site, the placement stays as it is.
    ///   - epoch: the owner epoch that the records bear.
    /// - Returns: the placement with its epoch, which is `epoch`, and more than that of the placement before in any case.
    @discardableResult
    package func place(
        client: ClientID, site: SiteName, epoch: Int64 = 0, services: JSONValue, run: RunID?
    ) async throws -> Placement {
        let now = JournalDate.rounded(clock.now)
        return try await write { db in
            let last = try self.latest(client, db)
            if let last, let run, last.run == run, last.site == site { return last }
            let placement = Placement(
                client: client, site: site, epoch: max(epoch, (last?.epoch ?? 0) + 1), services: services, run: run,
                at: now)
            try db.execute(
                sql: "INSERT INTO placements (client, site, epoch, services, run, at) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    client.text, site.text, placement.epoch, try services.json(), run?.text, JournalDate.text(now),
                ])
            try self.append(
                db, "client.placed", client: client, run: run,
                payload: ["site": .text(site.text), "epoch": .integer(placement.epoch)])
            return placement
        }
    }

    /// Where the client lives; nil if it never moved: then the fleet file says it.
    package func placement(of client: ClientID) async throws -> Placement? {
        try await read { db in try self.latest(client, db) }
    }

    /// Where the client lived before a run moved it; nil if the fleet file says it.
    package func placement(of client: ClientID, before run: RunID) async throws -> Placement? {
        try await read { db in
            try self.first(
                db,
                """
                SELECT * FROM placements WHERE client = ? AND run IS NOT ? ORDER BY epoch DESC LIMIT 1
                """, [client.text, run.text], self.placement)
        }
    }

    /// The latest placement of each client that moved, by client.
    package func placements() async throws -> [Placement] {
        try await read { db in
            try self.all(
                db,
                """
                SELECT * FROM placements AS a
                WHERE epoch = (SELECT MAX(epoch) FROM placements AS b WHERE b.client = a.client) ORDER BY client
                """, [], self.placement)
        }
    }

    private func latest(_ client: ClientID, _ db: Database) throws -> Placement? {
        try first(
            db, "SELECT * FROM placements WHERE client = ? ORDER BY epoch DESC LIMIT 1", [client.text], placement)
    }

    private func placement(_ columns: Columns) throws -> Placement {
        Placement(
            client: try columns.value("client", ClientID.init(_:)), site: try columns.value("site", SiteName.init(_:)),
            epoch: try columns.integer("epoch"), services: try columns.json("services"),
            run: try columns.valueIfAny("run", RunID.init(_:)), at: try columns.date("at"))
    }
}
