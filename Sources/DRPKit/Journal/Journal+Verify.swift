internal import Foundation
internal import GRDB

/// Where the rounds that verify a share of a repository at a time have come to.
package struct VerifyRound: Sendable, Hashable {
    /// How many rounds there were.
    package var round: Int
    /// Where the next one begins: see `VerifySample`.
    package var position: Int

    package init(round: Int, position: Int) {
        self.round = round
        self.position = position
    }
}

extension Journal {
    /// - Returns: nil before the first round.
    package func verifyRound(client: ClientID, store: StoreName) async throws -> VerifyRound? {
        try await read { db in
            try self.first(
                db, "SELECT round, position FROM verify_rounds WHERE client = ? AND store = ?",
                [client.text, store.text]
            ) { VerifyRound(round: Int(try $0.value32("round")), position: Int(try $0.value32("position"))) }
        }
    }

    /// Records that a round has ended, whatever it found.
    /// - Parameter facts: what it found.
    package func recordVerifyRound(
        _ round: VerifyRound, client: ClientID, store: StoreName, facts: [String: JSONValue]
    ) async throws {
        let now = JournalDate.text(clock.now)
        try await write { db in
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO verify_rounds (client, store, round, position, at) VALUES (?, ?, ?, ?, ?)
                    """,
                arguments: [client.text, store.text, round.round, round.position, now])
            let about: [String: JSONValue] = ["store": .text(store.text), "round": .integer(Int64(round.round))]
            try self.append(
                db, "backup.verified", client: client, payload: .object(facts.merging(about) { $1 }))
        }
    }
}
